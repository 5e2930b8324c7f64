"""Range-angle maps of FMCW radar cubes: JEPA-MSAC (arXiv 2603.29796) equation 8, and DeepSense 6G's public recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Clutter = Literal["chirp", "antenna", "none"]
_BLOCK_BINS = 4096
"""Range bins x chirps of one block: its 128 rows of float32 stay in the second-level cache."""


@dataclass(frozen=True)
class RadarProfile:
    """How a cube becomes a map."""

    clutter: Clutter
    """Axis whose mean is subtracted first. `chirp` removes whatever does not move; `antenna` is what the paper says,
    which also removes targets at broadside; `none` leaves everything."""
    shift: bool
    """Move angle bin 0 (broadside) to the middle."""
    angles: int = 64
    """Angle bins, at least the antennas."""


PROFILES: Mapping[str, RadarProfile] = {
    "paper": RadarProfile("antenna", shift=False),
    "deepsense": RadarProfile("chirp", shift=True),
}
"""`paper` as printed in section III-A2; `deepsense` as the public code of the data set does it."""


def range_angle(cube: NDArray[Any], profile: RadarProfile = PROFILES["deepsense"]) -> NDArray[np.float32]:
    """Mean magnitude over the chirps of the two-dimensional DFT over samples and antennas.

    R[i, j] = 1/C sum_c | sum_m sum_n exp(-2 pi 1j (i m / A + j n / S)) Y[m, n, c] |, Y the cube without its clutter.
    The angle DFT has as many non-zero inputs as there are antennas, so it is a small matrix product, not a padded FFT.

    Args:
        cube: (antennas M, samples S, chirps C) complex, one frame.
        profile: Clutter removal, order and number of the angle bins.

    Returns:
        (angles A, ranges S) float32, in the units of the cube; angle bin i is sin(theta) = 2 i / A for half-wavelength
        spacing, wrapped to [-1, 1), ascending when shifted.

    Raises:
        ValueError: the cube is not three-dimensional, or has more antennas than there are angle bins.
    """
    if cube.ndim != 3 or cube.shape[0] > profile.angles:
        raise ValueError(f"a cube is (antennas <= {profile.angles}, samples, chirps), not {cube.shape}")
    antennas, samples, chirps = cube.shape
    signal = torch.from_numpy(np.ascontiguousarray(cube, np.complex64))
    if profile.clutter == "antenna":
        signal = signal - signal.mean(0, keepdim=True)
    ranges = torch.fft.fft(signal, dim=1)
    if profile.clutter == "chirp":  # commutes with both transforms
        ranges = ranges - ranges.mean(2, keepdim=True)
    parts = torch.view_as_real(ranges).permute(3, 0, 1, 2).reshape(2 * antennas, samples, chirps).contiguous()
    made = torch.empty(profile.angles, samples)
    weights, step = _weights(profile.angles, antennas), max(1, _BLOCK_BINS // chirps)
    for start in range(0, samples, step):
        block = parts[:, start : start + step]
        both = weights @ block.reshape(2 * antennas, -1)
        power = both[: profile.angles].square_().addcmul_(both[profile.angles :], both[profile.angles :])
        made[:, start : start + step] = power.sqrt_().view(profile.angles, block.shape[1], chirps).mean(2)
    image: NDArray[np.float32] = made.numpy()
    return np.fft.fftshift(image, axes=0) if profile.shift else image


@cache
def _weights(angles: int, antennas: int) -> torch.Tensor:
    """(2 A, 2 M) float32: real and imaginary part of the angle DFT as one real matrix."""
    phase = 2 * np.pi * np.outer(np.arange(angles), np.arange(antennas)) / angles
    cosine, sine = np.cos(phase), np.sin(phase)
    return torch.from_numpy(np.block([[cosine, sine], [-sine, cosine]]).astype(np.float32))
