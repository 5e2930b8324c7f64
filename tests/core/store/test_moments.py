from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.store.moments import Moments, from_half


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float32", "float64", "complex64"])
def test_moments_equal_numpy_on_the_components(dtype):
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((70_001, 2)) * 5 + 3).astype(dtype)
    if dtype == "complex64":
        values += 2j * values[::-1]
    moments = Moments()
    moments.update(values[:123])
    rest = Moments()
    rest.update(np.ascontiguousarray(values[123:]))
    moments.merge(rest)
    parts = [values.real, values.imag] if dtype == "complex64" else [values]
    flat = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    found = moments.summary()
    assert found["count"] == flat.size
    assert found["mean"] == pytest.approx(flat.mean(), rel=1e-7)
    assert found["std"] == pytest.approx(flat.std(), rel=1e-7)
    assert (found["min"], found["max"]) == (flat.min(), flat.max())
    assert moments.finite
    assert Moments.from_json(moments.to_json()) == moments


@pytest.mark.parametrize("scale", [1e-25, 1e-13, 1e14, 1e25])
def test_squares_that_single_precision_cannot_hold(scale):
    values = (np.random.default_rng(0).standard_normal(1 << 17) * scale).astype(np.float32)
    moments = Moments()
    moments.update(values)
    assert moments.summary()["std"] == pytest.approx(values.astype(np.float64).std(), rel=1e-7)


def test_nans_are_counted_and_left_out():
    values = np.array([1.0, np.nan, 3.0, np.nan], np.float32)
    moments = Moments()
    moments.update(values)
    found = moments.summary()
    assert (found["nan"], found["mean"], found["min"], found["max"]) == (2, 2.0, 1.0, 3.0)
    assert not moments.finite


@pytest.mark.parametrize("bad", [[np.inf], [-np.inf], [np.inf, -np.inf], [np.nan]])
def test_what_is_not_finite_is_noticed_without_a_warning(bad):
    moments = Moments()
    moments.update(np.array([0.0, *bad]))
    assert not moments.finite


def test_every_number_of_half_precision_is_converted_exactly():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = np.isfinite(every)
    made = from_half(every)
    np.testing.assert_array_equal(made[finite].view(np.uint32), every[finite].astype(np.float32).view(np.uint32))
    assert (np.abs(made[~finite]) >= 65536).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_half_precision_that_is_not_finite_is_noticed(bad):
    moments = Moments()
    moments.update(np.array([1.0, bad, 65504.0, -65504.0], np.float16))
    assert not moments.finite
    assert moments.nan == int(np.isnan(bad))
