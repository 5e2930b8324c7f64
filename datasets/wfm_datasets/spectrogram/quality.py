"""Level and faults of windows of I/Q."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_datasets.iq.datatypes import SampleType

FLOOR_DB = -200.0
"""Level of a window of zeros, dBFS."""


def measure(windows: NDArray[np.complex64], stored: SampleType) -> dict[str, NDArray[Any]]:
    """Mean power, share of clipped samples and whether nothing happens.

    Args:
        windows: (B, channels, L), integers divided by their full scale.
        stored: Type of the stored numbers.

    Returns:
        `meta/level_db` (B,) float32, mean |x|^2 over all channels in dBFS; `meta/clipped` (B,) float32, share of the
        samples of which a part stands at the last code of its integer type (0 for floating point); `meta/constant`
        (B,) bool, all samples of a channel are equal in at least one channel.
    """
    parts = windows.view(np.float32).reshape(len(windows), -1)
    power = 2 * np.matmul(parts[:, None], parts[:, :, None])[:, 0, 0].astype(np.float64) / parts.shape[1]
    level = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return {
        "meta/level_db": level.astype(np.float32),
        "meta/clipped": _clipped(windows, parts, stored),
        "meta/constant": _constant(windows),
    }


def _clipped(windows: NDArray[np.complex64], parts: NDArray[np.float32], stored: SampleType) -> NDArray[np.float32]:
    share = np.zeros(len(windows), np.float32)
    if stored.kind == "f":
        return share
    last = np.float32(1 - 1.25 / stored.full_scale)
    touched = np.flatnonzero((parts.max(1) >= last) | (parts.min(1) <= -last))
    for row in touched:
        pairs = np.abs(parts[row].reshape(-1, 2)) >= last
        share[row] = pairs.any(1).mean()
    return share


def _constant(windows: NDArray[np.complex64]) -> NDArray[np.bool_]:
    words = windows.view(np.int64)
    made: NDArray[np.bool_] = (words[..., 0] == words[..., -1]).any(1)
    for row in np.flatnonzero(made):
        made[row] = (words[row] == words[row, :, :1]).all(1).any()
    return made
