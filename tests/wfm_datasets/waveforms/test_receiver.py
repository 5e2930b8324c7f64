"""Noise, level, and what the spectrum gives away of the signal-to-noise ratio."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from wfm_cli.core.recipe.waveforms import Receiver, WaveformsRecipe
from wfm_datasets.waveforms.make import Made, make, travel
from wfm_datasets.waveforms.plan import Item
from wfm_datasets.waveforms.receiver import PEAK, place, receive, resampled
from wfm_datasets.waveforms.users import read_users

SNR = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
KINDS = [(standard, waveform) for standard in ("wifi", "lte", "nr") for waveform in ("ofdm", "single_carrier")]
SYMBOL = {"wifi": 32e-6, "lte": 1 / 15e3, "nr": 1 / 30e3}
"""Duration of an OFDM symbol without prefix."""
DRAWS = 12


def recipe(noise: str = "matched", **receiver: float) -> WaveformsRecipe:
    return WaveformsRecipe.model_validate(
        {
            "duration_ms": 4,
            "mobility": {"static": (0, 0)},
            "scenarios": ["embedded:canyon_3p5"],
            "wifi": {"clock": 10},
            "nr": {"resource_blocks": 6},
            "receiver": {"noise": noise, **receiver},
        }
    )


@cache
def scenarios() -> dict:
    return {"canyon_3p5": read_users("embedded:canyon_3p5", 1)}


def made(standard: str, waveform: str, snr_db: float, draw: int, noise: str = "matched") -> Made:
    item = Item(standard, waveform, "16qam", snr_db, "static", "canyon_3p5", draw)
    return make(item, recipe(noise), travel(item, recipe(noise), scenarios()))


@cache
def recordings(noise: str) -> dict[tuple[str, str], np.ndarray]:
    """(SNR, draw, sample) of every kind."""
    return {
        kind: np.array([[made(*kind, snr, d, noise).received.samples for d in range(DRAWS)] for snr in SNR])
        for kind in KINDS
    }


@pytest.mark.parametrize("snr_db", SNR)
@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_the_measured_ratio(kind: tuple[str, str], snr_db: float) -> None:
    received = made(*kind, snr_db, 0).received
    noise = received.samples - received.signal
    measured = 10 * np.log10(np.mean(np.abs(received.signal) ** 2) / np.mean(np.abs(noise) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.2)
    gain_db = 10 * np.log10(np.mean(np.abs(received.signal) ** 2))
    assert received.gain_db == pytest.approx(gain_db, abs=1e-3)


def test_the_level_is_drawn_without_regard_to_the_noise_and_nothing_is_clipped() -> None:
    levels = []
    for samples in recordings("matched").values():
        levels.append(10 * np.log10(np.mean(np.abs(samples) ** 2, axis=2)))
        assert np.abs(samples.view(np.float32)).max() <= PEAK
    level = np.stack(levels, axis=1).reshape(len(SNR), -1)
    assert level.min() > -42.5
    assert level.max() < -23.5
    assert np.abs(level.mean(axis=1) - level.mean()).max() < 4 * level.std() / np.sqrt(level.shape[1])


def test_a_peak_beyond_full_scale_lowers_the_gain() -> None:
    rng = np.random.default_rng(0)
    spectrum = np.full(4096, 1, np.complex64)  # an impulse: all power in one sample
    block = Receiver(level_dbfs=(-20, -20))
    received = receive(rng, spectrum, np.ones(4096, np.float32), np.ones(4096, np.float32), 10.0, block, slice(0, 4096))
    assert received.limited
    assert np.abs(received.samples.view(np.float32)).max() == pytest.approx(PEAK, rel=1e-5)


def test_resampling_keeps_what_is_in_the_band() -> None:
    rng = np.random.default_rng(1)
    size, slow = 4000, 3000
    spectrum = np.zeros(size, np.complex64)
    kept = np.arange(-1200, 1201)
    spectrum[kept] = rng.standard_normal(2401) + 1j * rng.standard_normal(2401)
    time = np.arange(slow) * size / slow
    wanted = [np.sum(spectrum[kept] * np.exp(2j * np.pi * kept * t / size)) / size for t in time[:50]]
    made = np.fft.ifft(resampled(spectrum, slow))
    np.testing.assert_allclose(made[:50], wanted, atol=1e-5)
    for rate in (1000, 1001, 5000):
        inside = place(np.ones(size, np.float32), rate)
        assert inside.sum() == 2 * min((size - 1) // 2, int(0.45 * rate)) + 1
        np.testing.assert_array_equal(inside[1:], inside[1:][::-1])  # as far below as above


# ------------------------------------------------------------------------------------------------------------------
# What the guard bands give away


def _bands(samples: np.ndarray, kind: tuple[str, str]) -> np.ndarray:
    """What a spectrogram shows beside the occupied band, absolute and relative to the band: (n, 18).

    At either side: power in dB, and the mean, the deviation and two quantiles over time of the power in dB.
    """
    note = made(*kind, 25.0, 0).annotation
    assert note.low_hz is not None
    assert note.high_hz is not None
    frames = samples[:, : samples.shape[1] // 128 * 128].reshape(len(samples), -1, 128)
    power = np.abs(np.fft.fft(frames * np.hanning(128), axis=2)) ** 2
    frequency = np.fft.fftfreq(128, 1 / 2.56e6) + 3.5e9
    inside = power[:, :, (frequency > note.low_hz) & (frequency < note.high_hz)]
    level = 10 * np.log10(inside.mean((1, 2)))[:, None]
    absolute, relative = [], []
    for where in (frequency < note.low_hz - 4e4, frequency > note.high_hz + 4e4):
        side = power[:, :, where].mean(2)
        db = 10 * np.log10(side)
        shown = [10 * np.log10(side.mean(1)), db.mean(1), *np.quantile(db, (0.1, 0.9), axis=1)]
        absolute += [*shown, db.std(1)]
        relative += [value - level[:, 0] for value in shown]
    return np.stack(absolute + relative, axis=1)


def _accuracy(x: np.ndarray, classes: np.ndarray, fold: np.ndarray) -> float:
    """Linear discriminant analysis, tested on folds left out."""
    right = 0
    for left_out in np.unique(fold):
        train, test = fold != left_out, fold == left_out
        mean = np.stack([x[train & (classes == c)].mean(0) for c in range(len(SNR))])
        within = x[train] - mean[classes[train]]
        weights = np.linalg.solve(within.T @ within / len(within) + 1e-6 * np.eye(x.shape[1]), mean.T)
        score = x[test] @ weights - (mean * weights.T).sum(1) / 2
        right += int((score.argmax(1) == classes[test]).sum())
    return right / len(x)


def _guard_accuracy(noise: str) -> float:
    classes = np.repeat(np.arange(len(SNR)), DRAWS)
    fold = np.tile(np.arange(DRAWS) % 4, len(SNR))
    found = [
        _accuracy(_bands(samples.reshape(-1, samples.shape[-1]), kind), classes, fold)
        for kind, samples in recordings(noise).items()
    ]
    return float(np.mean(found))


CHANCE = 1 / len(SNR)
SIGMA = np.sqrt(CHANCE * (1 - CHANCE) / (len(SNR) * DRAWS * len(KINDS)))


def test_guard_bands_do_not_tell_the_ratio() -> None:
    assert _guard_accuracy("matched") < CHANCE + 3 * SIGMA


def test_guard_bands_of_white_noise_would_tell_it() -> None:
    """The same classifier on the usual recording: the test above can fail."""
    assert _guard_accuracy("white") > 0.8


def test_noise_has_the_mean_spectrum_of_the_signal() -> None:
    """Ratios of 20 kHz wide bands agree, skirts and the empty middle carrier included."""
    for kind in KINDS:
        parts = [made(*kind, 5.0, draw).received for draw in range(DRAWS)]
        signal = _psd(np.array([p.signal / 10 ** (p.gain_db / 20) for p in parts]))
        noise = _psd(np.array([(p.samples - p.signal) / 10 ** (p.gain_db / 20) for p in parts]))
        wide = signal > 3e-3 * signal.max()  # above the converter's noise
        ratio = 10 * np.log10(signal[wide] / noise[wide])
        assert np.abs(ratio - np.median(ratio)).max() < 4.5
        assert ratio.std() < 1.2


def _psd(samples: np.ndarray) -> np.ndarray:
    frames = samples[:, : samples.shape[1] // 128 * 128].reshape(-1, 128) * np.hanning(128)
    return np.mean(np.abs(np.fft.fft(frames)) ** 2, axis=0)


def test_the_band_itself_still_tells_the_ratio() -> None:
    """The cyclic prefix repeats the signal and not the noise: its correlation measures the ratio."""
    right, total = 0, 0
    for standard in ("wifi", "lte", "nr"):
        rho = _prefix_correlation(recordings("matched")[standard, "ofdm"], standard)
        train, test = rho[:, : DRAWS // 2].mean(1), rho[:, DRAWS // 2 :]
        nearest = np.abs(test[:, :, None] - train).argmin(2)
        right += int((np.abs(nearest - np.arange(len(SNR))[:, None]) <= 1).sum())
        total += test.size
        assert np.all(np.diff(rho.mean(1))[:4] > 0)
    assert right / total > 0.75  # at most one step of 5 dB beside; 0.39 by chance


def _prefix_correlation(samples: np.ndarray, standard: str) -> np.ndarray:
    """Largest correlation over the places of the prefix, (SNR, draw); delays of the canyon are far below a prefix."""
    rate = 2.56e6
    spectrum = np.fft.fft(samples, axis=-1)
    frequency = np.fft.fftfreq(samples.shape[-1], 1 / rate)
    later = np.fft.ifft(spectrum * np.exp(2j * np.pi * frequency * SYMBOL[standard]), axis=-1)
    product = later * samples.conj()
    pitch = {"wifi": 40e-6, "lte": 0.5e-3 / 7, "nr": 0.5e-3 / 14}[standard] * rate
    phase = ((np.arange(samples.shape[-1]) % pitch) / pitch * 48).astype(int)
    folded = np.stack([product[..., phase == p].mean(-1).real for p in range(48)], axis=-1)
    return folded.max(-1) / np.mean(np.abs(samples) ** 2, axis=-1)
