from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.signal.radar import PROFILES, RadarProfile, range_angle


def cube(shape=(4, 32, 10), seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def double_sum(x, profile):
    """Equation 8 term by term, in complex128."""
    x = x.astype(np.complex128)
    if profile.clutter != "none":
        x = x - x.mean({"antenna": 0, "chirp": 2}[profile.clutter], keepdims=True)
    antennas, samples, _ = x.shape
    made = np.zeros((profile.angles, samples))
    m, n = np.arange(antennas)[:, None], np.arange(samples)[None]
    for i in range(profile.angles):
        for j in range(samples):
            kernel = np.exp(-2j * np.pi * (i * m / profile.angles + j * n / samples))
            made[i, j] = np.abs((kernel[..., None] * x).sum((0, 1))).mean()
    return np.fft.fftshift(made, axes=0) if profile.shift else made


def plane_wave(range_bin, sine, shape=(4, 256, 250), doppler=0.0):
    """A target at a range bin and sin(theta) whose phase advances from chirp to chirp."""
    m, n, c = (np.arange(size) for size in shape)
    phase = np.pi * sine * m[:, None, None] + 2 * np.pi * range_bin * n[:, None] / shape[1] + doppler * c
    return np.exp(1j * phase).astype(np.complex64)


@pytest.mark.parametrize("clutter", ["none", "antenna", "chirp"])
@pytest.mark.parametrize("shift", [False, True])
def test_equals_the_double_sum(clutter, shift):
    profile = RadarProfile(clutter, shift, angles=16)
    x = cube()
    wanted = double_sum(x, profile)
    assert np.abs(range_angle(x, profile) - wanted).max() < 1e-6 * wanted.max()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 24), st.integers(1, 9), st.integers(0, 2**31))
def test_equals_the_double_sum_for_any_shape(antennas, samples, chirps, seed):
    profile = RadarProfile("none", shift=False, angles=8)
    x = cube((antennas, samples, chirps), seed)
    wanted = double_sum(x, profile)
    assert np.abs(range_angle(x, profile) - wanted).max() < 1e-6 * wanted.max()


@pytest.mark.parametrize(("sine", "bin_"), [(0.0, 32), (0.5, 48), (-0.5, 16), (-1.0, 0)])
def test_a_moving_target_peaks_at_its_range_and_angle(sine, bin_):
    image = range_angle(plane_wave(77, sine, doppler=0.3), PROFILES["deepsense"])
    assert image.shape == (64, 256)
    assert image.dtype == np.float32
    assert np.unravel_index(image.argmax(), image.shape) == (bin_, 77)
    moving = 4 * 256 * abs(1 - np.exp(0.3j * np.arange(250)).mean() * np.exp(-0.3j * np.arange(250))).mean()
    assert image.max() == pytest.approx(moving, rel=1e-4)


def test_what_stands_still_vanishes_with_the_chirp_mean_alone():
    still = plane_wave(40, 0.3)
    peak = range_angle(still, RadarProfile("none", shift=False)).max()
    assert range_angle(still, PROFILES["deepsense"]).max() < 1e-5 * peak
    assert range_angle(still, PROFILES["paper"]).max() > 0.5 * peak


def test_the_antenna_mean_removes_broadside():
    broadside = plane_wave(40, 0.0, doppler=0.3)
    peak = range_angle(broadside, RadarProfile("none", shift=False)).max()
    assert range_angle(broadside, PROFILES["paper"]).max() < 1e-5 * peak
    assert range_angle(cube((4, 256, 20)), PROFILES["paper"])[0].max() < 1e-4 * peak


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="antennas"):
        range_angle(cube((4, 8, 2))[0])
    with pytest.raises(ValueError, match="antennas"):
        range_angle(cube((9, 8, 2)), RadarProfile("none", shift=False, angles=8))
