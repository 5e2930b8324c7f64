"""Angle and delay views, and power."""

from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.signal import angle_delay, power
from wfm_cli.core.signal.angle_delay import angle_delay_db, angular_power_db, dft_magnitude
from wfm_cli.core.signal.power import log_power_db, mean_power, normalise_power


def plane_wave(antennas=8, subcarriers=16, angle_bin=3, delay_bin=5, scale=1.0):
    m, k = np.arange(antennas)[:, None], np.arange(subcarriers)
    return (scale * np.exp(2j * np.pi * (angle_bin * m / antennas - delay_bin * k / subcarriers)))[None].astype(
        np.complex64
    )


def noise(users=5, antennas=8, subcarriers=16, seed=0):
    rng = np.random.default_rng(seed)
    shape = (users, antennas, subcarriers)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def test_plane_wave_falls_into_its_bins():
    h = plane_wave()
    profile = angular_power_db(h, 32)
    assert profile.shape == (1, 32)
    assert profile[0].argmax() == 3 * 4  # four times finer than the array
    assert profile.max() == 0
    grid = angle_delay_db(h).reshape(8, 16)
    assert np.unravel_index(grid.argmax(), grid.shape) == (3, 5)
    off_peak = np.sort(grid.ravel())[:-1]
    assert (off_peak == angle_delay.FLOOR_DB).all()


def test_views_equal_explicit_sums():
    h = noise().astype(np.complex128)
    bins, m = np.arange(12)[:, None], np.arange(8)
    dft = np.exp(-2j * np.pi * bins * m / 12)
    spectrum = np.einsum("bm,umk->ubk", dft, h)
    power_db = 10 * np.log10((np.abs(spectrum) ** 2).mean(axis=2))
    np.testing.assert_allclose(angular_power_db(h, 12), power_db - power_db.max(axis=1, keepdims=True), atol=1e-4)
    magnitude = np.abs(spectrum.mean(axis=2))
    np.testing.assert_allclose(dft_magnitude(h, 12), magnitude / np.linalg.norm(magnitude, axis=1)[:, None], atol=1e-6)


@pytest.mark.parametrize("view", [lambda h: angular_power_db(h, 16), lambda h: dft_magnitude(h, 16), angle_delay_db])
def test_views_ignore_scale_keep_zeros_finite_and_are_float32(view):
    h = noise()
    np.testing.assert_allclose(view(h * np.complex64(1e-6)), view(h), atol=2e-3)
    zero = view(np.zeros_like(h))
    assert np.isfinite(zero).all()
    assert zero.dtype == np.float32
    assert view(h).min() >= angle_delay.FLOOR_DB


@pytest.mark.parametrize("view", [angular_power_db, dft_magnitude])
def test_refuses_to_cut_the_array(view):
    with pytest.raises(ValueError, match="bins"):
        view(noise(), 7)


def test_log_power_in_closed_form_and_without_minus_infinity():
    h = np.concatenate([plane_wave(scale=10.0), plane_wave(scale=1e-9), np.zeros((1, 8, 16), np.complex64)])
    np.testing.assert_allclose(log_power_db(h), [20, -180, power.FLOOR_DB], atol=1e-4)
    np.testing.assert_allclose(mean_power(noise()), (np.abs(noise().astype(np.complex128)) ** 2).mean(axis=(1, 2)))


def test_normalised_power_is_one_and_may_be_in_place():
    h = np.concatenate([noise() * np.complex64(1e-8), np.zeros((1, 8, 16), np.complex64)])
    direction = h[:5] / np.abs(h[:5])
    scaled = normalise_power(h, out=h)
    assert scaled is h
    np.testing.assert_allclose(mean_power(scaled), [1, 1, 1, 1, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(scaled[:5] / np.abs(scaled[:5]), direction, atol=1e-5)
