"""Measurements on I/Q against closed forms: tones, noise, inserted imbalance and offsets, clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wfm_cli.core.signal import levels
from wfm_cli.core.signal.levels import frame_powers, imbalance, measure, occupied_band, power_spectrum, symmetry


def noise(shape: tuple[int, ...], power: float = 1.0, seed: int = 0) -> NDArray[np.complex128]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(power / 2)


def tone(length: int, frequency: float, amplitude: float = 1.0) -> NDArray[np.complex128]:
    return amplitude * np.exp(2j * np.pi * frequency * np.arange(length))


def test_a_tone_has_its_level_its_place_and_no_width() -> None:
    found = measure(tone(16384, 0.21, 0.5).astype(np.complex64))
    assert found.mean_dbfs == pytest.approx(20 * np.log10(0.5), abs=1e-4)
    assert found.peak_dbfs == pytest.approx(found.mean_dbfs, abs=1e-4)
    assert found.crest_db == pytest.approx(0, abs=1e-4)
    assert found.centre == pytest.approx(0.21, abs=0.5 / 1024)
    assert found.bandwidth is not None
    assert found.bandwidth < 4 / 1024  # the main lobe of the Hann window
    assert found.circularity == pytest.approx(0, abs=1e-3)
    assert (found.clipped, found.zeros, found.constant, found.nonfinite) == (0, 0, 0, 0)


def test_a_full_scale_tone_on_a_bin_is_0_dbfs_in_the_spectrum() -> None:
    spectrum = power_spectrum(tone(8192, 100 / 1024)[None], 1024)
    assert spectrum.argmax() == 512 + 100
    assert spectrum.sum() == pytest.approx(1, rel=1e-9)


def test_white_noise_fills_99_percent_and_is_its_own_floor() -> None:
    z = noise((8, 65536), 10 ** (-3.7))
    found = measure(z)
    assert found.mean_dbfs == pytest.approx(-37, abs=0.05)
    assert found.bandwidth == pytest.approx(0.99, abs=0.002)
    assert found.centre == pytest.approx(0, abs=0.002)
    assert found.noise_floor_dbfs == pytest.approx(-37, abs=0.3)
    assert abs(found.symmetry or 0) < 0.15
    # The magnitude is Rayleigh distributed: the largest of n powers is ln n + 0.577 +- 1.28 times the mean.
    assert found.crest_db == pytest.approx(10 * np.log10(np.log(z.size) + 0.577), abs=1.2)


@pytest.mark.parametrize("length", [20, 64, 200, 1000, 4096])
def test_the_noise_floor_holds_for_short_stretches(length: int) -> None:
    found = measure(noise((max(40_000 // length, 4), length), 0.01))
    assert found.noise_floor_dbfs == pytest.approx(-20, abs=0.9)
    assert found.mean_dbfs == pytest.approx(-20, abs=0.2)


def test_the_noise_floor_ignores_bursts_carriers_and_padding() -> None:
    z = noise((1, 400_000), 1e-5)
    z[0, 100_000:200_000] += tone(100_000, 0.1, 0.7) + noise((1, 100_000), 0.1, 1)[0]
    z[0, :50_000] = 0
    assert measure(z).noise_floor_dbfs == pytest.approx(-50, abs=0.5)


def test_band_limited_noise_has_its_width_and_centre() -> None:
    n = 1 << 18
    spectrum = np.zeros(n, complex)
    low, high = int(0.05 * n), int(0.30 * n)
    spectrum[low:high] = noise((high - low,))
    found = measure(np.fft.ifft(spectrum))
    assert found.bandwidth == pytest.approx(0.99 * 0.25, abs=0.002)
    assert found.centre == pytest.approx(0.175, abs=0.002)


def test_the_occupied_band_of_known_spectra() -> None:
    flat = np.ones(1000)
    low, high = occupied_band(flat) or (0, 0)
    assert high - low == pytest.approx(0.99)
    low, high = occupied_band(np.eye(1, 64, 40)[0]) or (0, 0)
    assert (low + high) / 2 == pytest.approx(40 / 64 - 0.5)
    assert high - low == pytest.approx(0.99 / 64)
    assert occupied_band(np.zeros(8)) is None


@given(st.floats(-3, 3), st.floats(-30, 30))
def test_an_inserted_imbalance_is_recovered(gain_db: float, phase_deg: float) -> None:
    # Exactly white in second moments: x and y are orthogonal with equal power.
    n = np.arange(1 << 10)
    x, y = np.cos(2 * np.pi * 5 * n / n.size), np.sin(2 * np.pi * 5 * n / n.size)
    g, p = 10 ** (gain_db / 20), np.radians(phase_deg)
    gain, phase, circularity = imbalance(x + 1j * g * (y * np.cos(p) + x * np.sin(p)) + 0.3 - 0.1j)
    assert gain == pytest.approx(gain_db, abs=1e-9)
    assert phase == pytest.approx(phase_deg, abs=1e-9)
    assert circularity == pytest.approx(abs(1 - g**2 + 2j * g * np.sin(p)) / (1 + g**2), abs=1e-9)


def test_bpsk_is_told_from_an_imbalance_by_its_circularity() -> None:
    found = measure(np.sign(noise((1, 4000)).real) * np.exp(0.4j))
    assert found.circularity == pytest.approx(1, abs=1e-3)


def test_real_samples_have_a_symmetric_spectrum_and_no_imbalance() -> None:
    found = measure(noise((1, 32768)).real + 0j)
    assert found.symmetry is not None
    assert found.symmetry > 0.9999
    assert (found.gain_imbalance_db, found.circularity) == (None, 1.0)


def test_symmetry_needs_mirrored_bins() -> None:
    half = np.array([5.0, 1.0, 7.0, 2.0])
    spectrum = np.concatenate([[1.0], half[:-1][::-1], [9.0], half[:-1]])
    assert symmetry(spectrum) == pytest.approx(1)
    spectrum[1] *= 10
    assert (symmetry(spectrum) or 0) < 0.99
    assert symmetry(np.ones(64)) is None


def test_dc_is_measured_absolutely_and_beside_the_signal() -> None:
    found = measure(tone(10_000, 0.25, 0.1) + 0.03 + 0.04j)
    assert found.dc_dbfs == pytest.approx(20 * np.log10(0.05), abs=0.01)
    assert found.dc_db == pytest.approx(10 * np.log10(0.0025 / 0.0125), abs=0.01)


def test_clipping_of_a_sine_has_its_share() -> None:
    # |sin| > c for a share 1 - 2 asin(c) / pi of the time; I and Q clip at different times when c > sqrt(1/2).
    z = tone(100_000, np.sqrt(2) / 1000, 1 / 0.9)
    clipped = np.clip(z.real, -1, 1) + 1j * np.clip(z.imag, -1, 1)
    share = 2 * (1 - 2 * np.arcsin(0.9) / np.pi)
    found = measure(clipped)
    assert found.clipped == pytest.approx(share, abs=1e-3)
    assert found.flat_tops == pytest.approx(share, abs=1e-3)
    scaled = measure(clipped * 0.25)  # clipped before it was scaled
    assert scaled.clipped == 0
    assert scaled.flat_tops == pytest.approx(share, abs=1e-3)
    assert measure(z * 0.5).flat_tops == pytest.approx(0, abs=1e-4)


def test_integers_clip_at_both_rails() -> None:
    counts = np.array([-128, -127, 0, 126, 127], np.float32) / 128
    assert measure(counts + 0j, step=1 / 128).clipped == pytest.approx(2 / 5)
    assert measure(counts + 0j).clipped == pytest.approx(1 / 5)
    unsigned = (np.array([0, 1, 127, 254, 255], np.float32) - 127.5) / 128
    assert measure(unsigned + 0j, step=1 / 128).clipped == pytest.approx(2 / 5)


def test_silence_zeros_and_constant_runs() -> None:
    silent = measure(np.zeros((2, 100), np.complex64))
    assert (silent.mean_dbfs, silent.zeros, silent.constant) == (-400, 1, 1)
    assert (silent.bandwidth, silent.noise_floor_dbfs, silent.symmetry, silent.crest_db) == (None,) * 4
    z = noise((2, 100))
    z[0, 10:30] = 0
    z[1, 90:] = 1  # too short to be a run
    found = measure(z)
    assert found.zeros == pytest.approx(0.1)
    assert found.constant == pytest.approx(0.1)
    z[0, 30:100] = z[1, :70]
    z[0, -levels.RUN :] = 0.5
    z[1, : levels.RUN] = 0.5  # runs do not go on in the next stretch
    assert measure(z).constant == pytest.approx((20 + 2 * levels.RUN) / 200)


def test_non_finite_samples_are_counted_and_left_out() -> None:
    z = tone(1000, 0.1).astype(np.complex64)
    z[:10] = np.nan
    z[10] = np.inf
    found = measure(z)
    assert found.nonfinite == 11
    assert found.mean_dbfs == pytest.approx(10 * np.log10(0.989), abs=1e-3)
    assert found.zeros == 0


def test_huge_and_tiny_values_neither_overflow_nor_vanish() -> None:
    assert measure(np.full(64, 3e38, np.complex64)).mean_dbfs == pytest.approx(20 * np.log10(3e38), abs=1e-3)
    assert measure(tone(64, 0.1, 1e-30)).mean_dbfs == pytest.approx(-600, abs=201)


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17])
def test_any_length_is_measured(length: int) -> None:
    assert measure(np.ones((3, length), np.complex64) * 0.5).mean_dbfs == pytest.approx(-6.02, abs=0.01)


def test_no_sample_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="expected"):
        measure(np.zeros((0, 5), np.complex64))


def test_frames_hold_the_power_of_short_stretches() -> None:
    z = noise((4000, 24))
    assert frame_powers(z, 32).sum(2).mean() == pytest.approx(1, abs=0.03)
