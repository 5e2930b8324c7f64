"""Features of spectrograms against plain loops over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wfm_cli.core.signal.spectrogram_features import energy, psd_statistics, temporal_statistics

F, T = 12, 10


@pytest.fixture(scope="module")
def spectrogram() -> np.ndarray:
    """Two channels; some cells are so weak that the floor takes them."""
    rng = np.random.default_rng(0)
    values = rng.normal(-70, 8, (3, 2, F, T))
    values[:, :, 3, 4:7] = -200
    values[1] += 30
    return values.astype(np.float16)


def cells(spectrogram: np.ndarray, b: int, c: int) -> tuple[float, list[list[float]]]:
    """Level in dB and cells over it, floored."""
    values = [[float(v) for v in row] for row in spectrogram[b, c]]
    mean = sum(10 ** (v / 10) for row in values for v in row) / (F * T)
    level = 10 * math.log10(mean)
    return level, [[max(v - level, -60) for v in row] for row in values]


def quantile(values: list[float], q: float) -> float:
    ordered, place = sorted(values), q * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))


def slow_psd(level: float, rows: list[list[float]]) -> list[float]:
    spectrum = [sum(10 ** (v / 10) for v in row) / T for row in rows]
    at = [(k - F // 2) / F for k in range(F)]
    total = sum(spectrum)
    centre = sum(p * f for p, f in zip(spectrum, at, strict=True)) / total
    spread = math.sqrt(sum(p * (f - centre) ** 2 for p, f in zip(spectrum, at, strict=True)) / total)
    third, fourth = (
        sum(p * (f - centre) ** k for p, f in zip(spectrum, at, strict=True)) / total / spread**k for k in (3, 4)
    )
    flat = sum(10 * math.log10(p) for p in spectrum) / F - 10 * math.log10(total / F)
    frames = [sum(row[t] for row in rows) / F for t in range(T)]
    return [
        *(sum(row) / T for row in rows),
        *(deviation(row) for row in rows),
        *(quantile(row, 0.1) for row in rows),
        *(quantile(row, 0.9) for row in rows),
        *(quantile(frames, k / 8) for k in range(9)),
        centre, spread, third, fourth, flat, level,
    ]  # fmt: skip


def slow_energy(level: float, rows: list[list[float]]) -> list[float]:
    spectrum = sorted(sum(10 ** (v / 10) for v in row) / T for row in rows)
    floor, peak = 10 * math.log10(spectrum[0]), 10 * math.log10(spectrum[-1])
    every = [v for row in rows for v in row]
    low, high = quantile(every, 0.1), quantile(every, 0.9)
    return [level, level + floor, -floor, peak - floor, low - floor, high - floor]


def slow_temporal(_: float, rows: list[list[float]]) -> list[float]:
    moved = [[v - sum(row) / T for v in row] for row in rows]
    mean = [sum(row[t] for row in moved) / F for t in range(T)]

    def product(row: list[float], lag: int) -> float:
        return sum(row[t] * row[t + lag] for t in range(T - lag)) / (T - lag)

    whole = sum(product(row, 0) for row in moved)
    return [
        *(deviation(row) for row in rows),
        *(product(row, 1) / product(row, 0) for row in moved),
        *(sum(product(row, lag) for row in moved) / whole for lag in (1, 2, 4)),
        *(product(mean, lag) / product(mean, 0) for lag in (1, 2, 4)),
        deviation(mean),
    ]


@pytest.mark.parametrize(
    ("fast", "slow"), [(psd_statistics, slow_psd), (energy, slow_energy), (temporal_statistics, slow_temporal)]
)
def test_features_are_what_loops_over_cells_find(spectrogram: np.ndarray, fast, slow) -> None:  # type: ignore[no-untyped-def]
    found = fast(spectrogram)
    assert found.dtype == np.float32
    for b in range(3):
        both = np.array([slow(*cells(spectrogram, b, c)) for c in range(2)]).mean(0)
        np.testing.assert_allclose(found[b], both, rtol=2e-3, atol=2e-3)


def test_the_level_moves_nothing_but_the_level(spectrogram: np.ndarray) -> None:
    values = spectrogram.astype(np.float32)
    plain, louder = psd_statistics(values), psd_statistics(values + 12)
    np.testing.assert_allclose(louder[:, :-1], plain[:, :-1], atol=1e-3)
    np.testing.assert_allclose(louder[:, -1] - plain[:, -1], 12, atol=1e-3)
    np.testing.assert_allclose(temporal_statistics(values + 12), temporal_statistics(values), atol=1e-3)
    np.testing.assert_allclose((energy(values + 12) - energy(values))[:, :2], 12, atol=1e-3)


def test_snr_is_read_off_a_carrier_over_noise() -> None:
    rng = np.random.default_rng(1)
    noise = rng.exponential(1, (1, 1, 64, 400))
    noise[:, :, 20:40] += 100
    found = energy(10 * np.log10(noise) - 90)[0]
    assert found[1] == pytest.approx(-90, abs=0.5)  # the floor
    assert found[2] == pytest.approx(10 * np.log10((64 + 2000) / 64), abs=0.5)  # level over it


def test_fading_is_told_by_its_speed() -> None:
    t = np.arange(128)
    for period, lag in ((64, 4), (8, 4)):
        fading = np.broadcast_to(-80 + 5 * np.cos(2 * np.pi * t / period), (1, 1, 16, 128))
        found = temporal_statistics(fading)[0]
        together = found[32 + [1, 2, 4, 8, 16, 32].index(lag)]
        assert together == pytest.approx(np.cos(2 * np.pi * lag / period), abs=0.05)


@pytest.mark.parametrize("shape", [(2, 1, 4, 1), (2, 1, 1, 4), (1, 1, 2, 2)])
def test_small_and_silent_spectrograms_are_finite(shape: tuple[int, ...]) -> None:
    for value in (-200.0, 0.0):
        for features in (psd_statistics, energy, temporal_statistics):
            assert np.isfinite(features(np.full(shape, value, np.float16))).all()
