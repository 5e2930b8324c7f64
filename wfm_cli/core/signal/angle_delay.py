"""Angle and delay views of channels: the classical features that stand beside every learned one.

With the array on its y axis and equidistant subcarriers, a DFT over antennas resolves the angle of departure and an
inverse DFT over subcarriers the delay. Decibels are relative to the largest value of the same sample and cut off at
`FLOOR_DB`: the views show the shape of a channel, its power is a feature of its own (`power.log_power_db`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOOR_DB = -60.0
"""Lowest level kept, in dB below the sample's maximum."""

Channels = NDArray[np.complexfloating]


def angular_power_db(h: Channels, bins: int) -> NDArray[np.float32]:
    """Angular power profile.

    Args:
        h: Channels (U, M, K).
        bins: Length of the zero-padded DFT over the antennas, at least M.

    Returns:
        Power averaged over subcarriers in dB below the sample's maximum, (U, bins), float32, in [FLOOR_DB, 0].
    """
    spectrum = np.fft.fft(h, n=_at_least(bins, h.shape[1]), axis=1)
    power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=2)
    return _relative_db(power)


def dft_magnitude(h: Channels, bins: int) -> NDArray[np.float32]:
    """Magnitude of the beamspace of the channel averaged over subcarriers.

    Args:
        h: Channels (U, M, K).
        bins: Length of the zero-padded DFT over the antennas, at least M.

    Returns:
        |DFT over antennas of mean_k h| with unit Euclidean norm per sample, (U, bins), float32.
    """
    magnitude = np.abs(np.fft.fft(h.mean(axis=2), n=_at_least(bins, h.shape[1]), axis=1))
    norm = np.linalg.norm(magnitude, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (magnitude / np.where(norm > 0, norm, 1.0)).astype(np.float32)
    return unit


def angle_delay_db(h: Channels) -> NDArray[np.float32]:
    """Log magnitude in the angle-delay domain.

    Args:
        h: Channels (U, M, K).

    Returns:
        |DFT over antennas and inverse DFT over subcarriers| in dB below the sample's maximum, flattened angle-major to
        (U, M * K), float32, in [FLOOR_DB, 0].
    """
    grid = np.fft.ifft(np.fft.fft(h, axis=1), axis=2).reshape(len(h), -1)
    return _relative_db(grid.real**2 + grid.imag**2)


def _at_least(bins: int, antennas: int) -> int:
    if bins < antennas:
        raise ValueError(f"bins: a DFT of {bins} bins would cut off elements of an array of {antennas}")
    return bins


def _relative_db(power: NDArray[np.floating]) -> NDArray[np.float32]:
    """10 log10 of power over the sample's maximum, cut off at FLOOR_DB; zeros become FLOOR_DB."""
    peak = power.max(axis=1, keepdims=True)
    ratio = power / np.where(peak > 0, peak, 1.0)
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(ratio, np.finfo(np.float32).tiny))
    return np.maximum(level, FLOOR_DB).astype(np.float32)
