"""Hand-made features of spectrograms in dB: what one computes without learning.

Every function takes (B, channel, frequency, time) dB, DC in the middle of ascending frequencies, and returns float32
features averaged over channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Values = NDArray[np.float32]
FLOOR_DB = 60.0
"""Cells so far below the mean power of a spectrogram count as being there: the log of next to nothing is no feature."""
OVER_TIME = (0.1, 0.9)
"""Quantiles over time of every frequency bin."""
FRAMES = 9
"""Quantiles, evenly spaced from least to largest, of the level of the frames."""


def psd_statistics(spectrogram: NDArray[Any]) -> Features:
    """Shape of the spectrum and how it varies, the level of the sample taken off and told by itself.

    Returns:
        (B, 4 F + 15): of every frequency bin the mean over time, the deviation, and the quantiles 0.1 and 0.9 (dB over
        the level); quantiles of the mean over frequency of every frame, from least to largest; centroid, spread
        (fractions of the sample rate), skewness and kurtosis of the mean power spectrum, and its flatness (dB); level,
        the mean power of all cells (dB).
    """
    level, values = _relative(spectrogram)
    low, high = np.quantile(values, OVER_TIME, axis=3)
    frames = np.moveaxis(np.quantile(values.mean(2), np.linspace(0, 1, FRAMES), axis=2), 0, 2)
    spectrum = _power(values).mean(3)
    parts = [values.mean(3), values.std(3), low, high, frames, _moments(spectrum), level[..., None]]
    return np.asarray(np.concatenate(parts, 2).mean(1), np.float32)


def energy(spectrogram: NDArray[Any]) -> Features:
    """How strong a sample is and how far it stands above what is there when nothing is sent.

    Returns:
        (B, 6) dB: level (mean power of all cells), noise floor (mean power of the weakest tenth of the frequency bins),
        level over the floor, strongest bin over the floor, and the quantiles 0.1 and 0.9 of all cells over the floor.
    """
    level, values = _relative(spectrogram)
    spectrum = np.sort(_power(values).mean(3), axis=2)
    weakest = max(1, spectrum.shape[2] // 10)
    floor = _decibels(spectrum[:, :, :weakest].mean(2))
    low, high = np.quantile(values.reshape(*values.shape[:2], -1), (0.1, 0.9), axis=2)
    peak = _decibels(spectrum[:, :, -1])
    made = np.stack([level, level + floor, -floor, peak - floor, low - floor, high - floor], 2)
    return np.asarray(made.mean(1), np.float32)


def temporal_statistics(spectrogram: NDArray[Any]) -> Features:
    """How fast and how strongly a sample changes over time: what is left of Doppler in a spectrogram.

    Returns:
        (B, 2 F + 2 K + 1), K the powers of two below half the number of frames: of every frequency bin the deviation
        over time (dB) and the correlation of neighbouring frames; then, for each lag 1, 2, 4 ..., the correlation over
        time of all bins together, and that of the mean over frequency; and the deviation of this mean (dB).
    """
    _, values = _relative(spectrogram)
    moved = values - values.mean(3, keepdims=True)
    mean = moved.mean(2, keepdims=True)
    lags = _lags(values.shape[3])
    power, neighbour = np.square(moved).mean(3), _products(moved, 1)
    together = [_share(_products(moved, lag).sum(2), power.sum(2)) for lag in lags]
    frames = [_share(_products(mean, lag)[..., 0], np.square(mean).mean(3)[..., 0]) for lag in lags]
    pooled = np.stack([*together, *frames, mean.std(3)[..., 0]], 2)
    made = np.concatenate([np.sqrt(power), _share(neighbour, power), pooled], 2)
    return np.asarray(made.mean(1), np.float32)


def _relative(spectrogram: NDArray[Any]) -> tuple[Values, Values]:
    """Mean power of all cells (B, C) in dB, and the cells over it, floored."""
    values = np.asarray(spectrogram, np.float32)
    top = values.max((2, 3), keepdims=True)
    level = top + _decibels(_power(values - top).mean((2, 3), keepdims=True))
    return level[..., 0, 0], np.maximum(values - level, -FLOOR_DB)


def _power(decibels: Values) -> Values:
    power: Values = np.exp2(decibels * np.float32(np.log2(10) / 10))
    return power


def _decibels(power: NDArray[Any]) -> Values:
    return np.asarray(10 * np.log10(np.maximum(power, np.finfo(np.float32).tiny)), np.float32)


def _moments(spectrum: Values) -> Values:
    """Centroid, spread, skewness, kurtosis and flatness of power spectra (B, C, F): (B, C, 5)."""
    bins = spectrum.shape[2]
    at = ((np.arange(bins) - bins // 2) / bins).astype(np.float64)
    share = spectrum / spectrum.sum(2, keepdims=True, dtype=np.float64)
    centroid = share @ at
    away = at - centroid[..., None]
    spread = np.maximum(np.sqrt((share * away**2).sum(2)), 1 / bins)  # a line is as wide as a bin
    skewness, kurtosis = ((share * away**order).sum(2) / spread**order for order in (3, 4))
    flatness = _decibels(spectrum).mean(2) - _decibels(spectrum.mean(2))
    return np.stack([centroid, spread, skewness, kurtosis, flatness], 2).astype(np.float32)


def _lags(frames: int) -> list[int]:
    return [1 << power for power in range(frames.bit_length()) if 1 << power < max(2, frames / 2)]


def _products(moved: Values, lag: int) -> Values:
    """Mean over time of the products of frames `lag` apart: (B, C, F, T) -> (B, C, F)."""
    if lag >= moved.shape[3]:
        return np.zeros(moved.shape[:3], np.float32)
    products: Values = np.einsum("bcft,bcft->bcf", moved[..., lag:], moved[..., :-lag]) / (moved.shape[3] - lag)
    return products


def _share(part: Values, whole: Values) -> Values:
    """Correlation, zero where nothing varies."""
    return np.asarray(np.where(whole > 1e-6, part / np.maximum(whole, 1e-6), 0), np.float32)
