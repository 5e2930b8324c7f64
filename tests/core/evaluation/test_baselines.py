"""Features that need no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.evaluation import ANTENNAS, SUBCARRIERS, store_of, street
from wfm_cli.core.evaluation.baselines import BASELINES, BaselineSource, misfit
from wfm_cli.core.evaluation.features import extract
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import InputError

DIMS = {
    "raw": 2 * ANTENNAS * SUBCARRIERS,
    "log_power": 1,
    "dft_32": 32,
    "dft_64": 64,
    "angular_32": 32,
    "angular_64": 64,
    "angle_delay": ANTENNAS * SUBCARRIERS,
    "classical": 2 * ANTENNAS + SUBCARRIERS + 1,
    "iq_spectrum": 64 + 8,
    "pulse": 4 * ANTENNAS,
    "majority": 1,
}


@pytest.mark.parametrize("name", DIMS)
def test_every_baseline_has_features(store: Store, name: str) -> None:
    source = BaselineSource(name, store)
    features = extract(source, store, np.arange(10))
    assert features.shape == (10, DIMS[name]) == (10, source.dim)
    assert features.dtype == np.float32
    assert source.role == ("reference" if name == "majority" else "baseline")


def test_raw_input_is_real_and_imaginary_parts(store: Store) -> None:
    h = store.read("channel")[:3]
    raw = extract(BaselineSource("raw", store), store, np.arange(3)).reshape(3, ANTENNAS, SUBCARRIERS, 2)
    np.testing.assert_array_equal(raw[..., 0] + 1j * raw[..., 1], h)


def test_log_power_survives_normalisation(tmp_path: Path, store: Store) -> None:
    arrays = street()
    power = extract(BaselineSource("log_power", store), store, np.arange(240))[:, 0]
    np.testing.assert_array_equal(power, arrays["meta/log_power_db"])
    del arrays["meta/log_power_db"]
    bare = store_of(tmp_path / "bare.zarr", arrays)
    measured = extract(BaselineSource("log_power", bare), bare, np.arange(240))[:, 0]
    np.testing.assert_allclose(measured, power + 120, atol=1e-3)  # the channel is in the published scale


def test_angular_bins_point_at_the_path(store: Store) -> None:
    """The strongest bin of a single path is that of its angle: bin / bins = - sin(angle) / 2 modulo 1."""
    y = street()["meta/position"]
    angle = np.arctan2(y[:, 1], y[:, 0])
    for name, bins in (("angular_64", 64), ("dft_64", 64)):
        peak = extract(BaselineSource(name, store), store, np.arange(240)).argmax(1)
        distance = (peak / bins + np.sin(angle) / 2 + 0.5) % 1 - 0.5
        assert np.abs(distance).max() <= 0.51 / bins


def test_the_delay_profile_points_at_the_delay(tmp_path: Path) -> None:
    arrays = street(30)
    ramp = np.exp(-2j * np.pi * 5 * np.arange(SUBCARRIERS) / SUBCARRIERS)
    arrays["channel"] = np.broadcast_to(ramp, (30, ANTENNAS, SUBCARRIERS)).astype(np.complex64)
    other = store_of(tmp_path / "delay.zarr", arrays)
    delay = extract(BaselineSource("classical", other), other, np.arange(2))[:, 2 * ANTENNAS : -1]
    assert ((delay == 0).sum(1) == 1).all()  # 0 dB at one delay, nothing elsewhere
    assert delay.argmax(1).tolist() == [SUBCARRIERS - 5] * 2


def test_a_baseline_that_does_not_fit_says_why(tmp_path: Path) -> None:
    arrays = street(30)
    arrays["channel"] = np.ascontiguousarray(np.tile(arrays["channel"], (1, 6, 1)))
    wide = store_of(tmp_path / "wide.zarr", arrays)
    with pytest.raises(InputError, match="dft_32 cuts off elements of an array of 48 antennas"):
        BaselineSource("dft_32", wide)
    assert misfit("dft_64", (48, 16)) is None
    assert misfit("angular_32", (1000,)) is not None
    assert misfit("raw", (1000,)) is None
    assert misfit("profiles", (48, 16)) == (
        "profiles needs samples (channel, row, column), not samples of shape (48, 16)"
    )
    assert set(DIMS) == {name for name, b in BASELINES.items() if name != "profiles" and b.array is None}


def test_profiles_are_means_over_rows_and_columns() -> None:
    images = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    got = BASELINES["profiles"].features(images).reshape(2, 3, 4 + 5 + 1)
    for b in range(2):
        for c in range(3):
            np.testing.assert_allclose(got[b, c, :4], [images[b, c, r].mean() for r in range(4)])
            np.testing.assert_allclose(got[b, c, 4:9], [images[b, c, :, k].mean() for k in range(5)])
            np.testing.assert_allclose(got[b, c, 9], images[b, c].std(), rtol=1e-6)
