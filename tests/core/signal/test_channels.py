from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.signal.slow import random_rays, relative_error, rotation_matrix, slow_channels
from wfm_cli.core.signal.channels import Rays, delay_limit_s, late_paths, local_y_axis, synthesise
from wfm_cli.errors import InputError

SPACING = 30e3


def one_path(power=-60.0, phase=20.0, delay=1e-6, azimuth=30.0, zenith=80.0):
    return Rays(*(np.array([[value]], np.float32) for value in (power, phase, delay, azimuth, zenith)))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    users=st.integers(1, 6),
    paths=st.integers(1, 7),
    antennas=st.integers(1, 37),
    subcarriers=st.integers(1, 70),
    rotation=st.tuples(*[st.floats(-180, 180)] * 3),
)
def test_equals_double_sum(seed, users, paths, antennas, subcarriers, rotation):
    rays = random_rays(np.random.default_rng(seed), users, paths)
    h = synthesise(rays, antennas=antennas, subcarriers=subcarriers, spacing_hz=SPACING, rotation_deg=rotation)
    truth = slow_channels(rays, antennas, subcarriers, SPACING, rotation)
    assert h.dtype == np.complex64
    assert h.shape == truth.shape
    assert relative_error(h, truth) < 1e-5  # two paths may nearly cancel


def test_error_bound_of_published_setting():
    rays = random_rays(np.random.default_rng(3), 150, 25, holes=False)
    h = synthesise(rays, antennas=32, subcarriers=32, spacing_hz=SPACING, rotation_deg=(0, 0, -135))
    assert relative_error(h, slow_channels(rays, 32, 32, SPACING, (0, 0, -135))) < 1e-6


def test_one_path_in_closed_form():
    h = synthesise(one_path(), antennas=8, subcarriers=16, spacing_hz=SPACING)[0].astype(np.complex128)
    np.testing.assert_allclose(np.abs(h), np.sqrt(10**-6.0 / 16), rtol=1e-6)
    assert np.angle(h[0, 0], deg=True) == pytest.approx(20.0, abs=1e-4)  # element 0 and subcarrier 0 are the reference
    over_antennas = np.angle(h[1:] / h[:-1])
    np.testing.assert_allclose(over_antennas, np.pi * np.sin(np.deg2rad(80)) * np.sin(np.deg2rad(30)), atol=1e-5)
    over_subcarriers = np.angle(h[:, 1:] / h[:, :-1])
    np.testing.assert_allclose(over_subcarriers, -2 * np.pi * 1e-6 * SPACING, atol=1e-5)


def test_bearing_is_the_third_number():
    # LWM's array is turned by -135 degrees: a path from azimuth a meets it at a + 135 degrees.
    turned = synthesise(one_path(azimuth=40), antennas=8, subcarriers=4, spacing_hz=SPACING, rotation_deg=(0, 0, -135))
    plain = synthesise(one_path(azimuth=175), antennas=8, subcarriers=4, spacing_hz=SPACING)
    assert relative_error(turned, plain) < 1e-6


@given(rotation=st.tuples(*[st.floats(-360, 360)] * 3))
def test_local_axis_is_a_column_of_the_rotation(rotation):
    np.testing.assert_allclose(local_y_axis(rotation), rotation_matrix(rotation)[:, 1], atol=1e-12)


def test_result_does_not_depend_on_the_company():
    rays = random_rays(np.random.default_rng(5), 300, 9)
    whole = synthesise(rays, antennas=16, subcarriers=8, spacing_hz=SPACING)
    some = np.array([299, 3, 150, 4])
    alone = synthesise(rays.take(some), antennas=16, subcarriers=8, spacing_hz=SPACING)
    np.testing.assert_allclose(alone, whole[some], rtol=0, atol=1e-6 * np.abs(whole[some]).max())


def test_many_blocks_of_equal_and_unequal_path_counts(monkeypatch):
    monkeypatch.setattr("wfm_cli.core.signal.channels.SCRATCH_BYTES", 4096)
    for holes in (False, True):
        rays = random_rays(np.random.default_rng(6), 40, 5, holes=holes)
        h = synthesise(rays, antennas=4, subcarriers=4, spacing_hz=SPACING)
        assert relative_error(h, slow_channels(rays, 4, 4, SPACING)) < 1e-5


def test_users_without_paths_are_zero_and_no_users_are_no_error():
    nothing = np.full((3, 4), np.nan, np.float32)
    h = synthesise(Rays(*[nothing] * 5), antennas=4, subcarriers=2, spacing_hz=SPACING)
    assert not h.any()
    empty = Rays(*[nothing[:0]] * 5)
    assert synthesise(empty, antennas=4, subcarriers=2, spacing_hz=SPACING).shape == (0, 4, 2)


def test_writes_into_the_callers_buffer():
    rays = random_rays(np.random.default_rng(7), 5, 3)
    out = np.full((5, 4, 2), np.nan, np.complex64)
    assert synthesise(rays, antennas=4, subcarriers=2, spacing_hz=SPACING, out=out) is out
    np.testing.assert_array_equal(out, synthesise(rays, antennas=4, subcarriers=2, spacing_hz=SPACING))


@pytest.mark.parametrize(
    "buffer",
    [
        np.empty((5, 4, 3), np.complex64),
        np.empty((5, 4, 2), np.complex128),
        np.empty((5, 2, 4), np.complex64).swapaxes(1, 2),
    ],
)
def test_refuses_a_buffer_that_does_not_fit(buffer):
    rays = random_rays(np.random.default_rng(7), 5, 3)
    with pytest.raises(ValueError, match="out"):
        synthesise(rays, antennas=4, subcarriers=2, spacing_hz=SPACING, out=buffer)


def test_late_path_is_an_error_that_names_delay_limit_and_remedy():
    assert delay_limit_s(SPACING) == pytest.approx(33.33e-6, rel=1e-3)
    rays = one_path(delay=40e-6)
    assert late_paths(rays, SPACING).tolist() == [[True]]
    assert not late_paths(one_path(delay=33e-6), SPACING).any()
    with pytest.raises(InputError, match=r"33.33 us.*40 us") as caught:
        synthesise(rays, antennas=4, subcarriers=2, spacing_hz=SPACING)
    assert caught.value.hint is not None
    assert "25 kHz" in caught.value.hint
    assert synthesise(rays, antennas=4, subcarriers=2, spacing_hz=24.9e3).all()


@pytest.mark.parametrize("field", ["phase_deg", "delay_s", "aod_az_deg", "aod_el_deg"])
def test_never_passes_a_nan_on(field):
    values = {
        name: getattr(one_path(), name) for name in ("power_db", "phase_deg", "delay_s", "aod_az_deg", "aod_el_deg")
    }
    values[field] = np.array([[np.nan]], np.float32)
    with pytest.raises(InputError, match="not finite"):
        synthesise(Rays(**values), antennas=4, subcarriers=2, spacing_hz=SPACING)
