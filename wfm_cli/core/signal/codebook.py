"""Steering vectors and beam codebooks of a uniform linear array, and the published beam-label rule.

The rule is that of the LWM and WavesFM data sets. A beam of angle a weighs the elements with

    f[m] = exp(j 2 pi d m sin a) / sqrt(M)

and is applied without conjugation; the label is the beam with the largest power of the channel averaged over the
subcarriers, |mean_k sum_m f[m] h[m, k]|, in dB **rounded to 0.1 dB**, the first beam winning ties. Two things follow
and are kept as published: a beam of angle a fits a path whose own array angle is -a, and in the closed grid the beams
at -90 and +90 degrees are the same vector at half-wavelength spacing, so its last class never occurs. The half-open
grid leaves the duplicate out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Grid = Literal["closed", "half_open"]

BLOCK_VALUES = 1 << 19
"""Beam powers held at a time."""


def beam_angles_deg(n: int, grid: Grid = "closed") -> NDArray[np.float64]:
    """Angles of the n beams of a codebook, (n,), degrees.

    Args:
        n: Number of beams, at least 2.
        grid: `closed` is the published grid, -90 to +90 degrees in steps of 180/(n-1) rounded to 0.01 degree;
            `half_open` leaves out +90 degrees: steps of 180/n.
    """
    steps = np.arange(n, dtype=np.float64)
    if grid == "closed":
        return np.round(steps * (180.0 / (n - 1)) - 90.0, 2)
    return steps * (180.0 / n) - 90.0


def steering_vectors(angles_deg: ArrayLike, antennas: int, spacing: float = 0.5) -> NDArray[np.complex64]:
    """Unit-norm steering vectors f[m] = exp(j 2 pi spacing m sin angle) / sqrt(M).

    Args:
        angles_deg: Angles from broadside, (n,), degrees.
        antennas: Elements M of the array.
        spacing: Distance of neighbouring elements in wavelengths.

    Returns:
        Complex64 vectors (n, M).
    """
    return _steering(angles_deg, antennas, spacing).astype(np.complex64)


def _steering(angles_deg: ArrayLike, antennas: int, spacing: float) -> NDArray[np.complex128]:
    turns = np.outer(spacing * np.sin(np.deg2rad(np.asarray(angles_deg, np.float64))), np.arange(antennas))
    vectors: NDArray[np.complex128] = np.exp(2j * np.pi * turns) / np.sqrt(antennas)
    return vectors


def subcarrier_mean(h: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
    """Mean of the channels (U, M, K) over their subcarriers in double precision, (U, M)."""
    mean: NDArray[np.complex128] = h.mean(axis=2, dtype=np.complex128)
    return mean


def beam_powers_db(
    h: NDArray[np.complexfloating], n: int, grid: Grid = "closed", spacing: float = 0.5
) -> NDArray[np.float64]:
    """Power of each beam as the label rule sees it, before rounding.

    Args:
        h: Channels (U, M, K), or their subcarrier mean (U, M).
        n: Number of beams.
        grid: See `beam_angles_deg`.
        spacing: Distance of neighbouring elements in wavelengths.

    Returns:
        20 log10 |f . mean_k h| + 30, (U, n), dB. A channel of zeros gets the smallest representable power everywhere.
    """
    mean = subcarrier_mean(h) if h.ndim == 3 else h.astype(np.complex128, copy=False)
    amplitude = np.abs(mean @ _steering(beam_angles_deg(n, grid), mean.shape[1], spacing).T)
    powers: NDArray[np.float64] = 20 * np.log10(np.maximum(amplitude, np.finfo(np.float64).tiny)) + 30
    return powers


def beam_labels(
    h: NDArray[np.complexfloating], n: int, grid: Grid = "closed", spacing: float = 0.5
) -> NDArray[np.int16]:
    """Best beam of every channel by the published rule.

    Args:
        h: Channels (U, M, K) in any scale, or their subcarrier mean (U, M).
        n: Number of beams of the codebook.
        grid: `closed` as published or `half_open`; see `beam_angles_deg`.
        spacing: Distance of neighbouring elements in wavelengths.

    Returns:
        Index of the best beam, (U,), int16. Powers are compared after rounding to 0.1 dB; the first of equals wins.
    """
    labels = np.empty(len(h), np.int16)
    block = max(1, BLOCK_VALUES // n)
    for start in range(0, len(h), block):
        powers = np.round(beam_powers_db(h[start : start + block], n, grid, spacing), 1)
        labels[start : start + block] = np.argmax(powers, axis=1)
    return labels
