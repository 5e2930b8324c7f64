"""A recording of any length as one picture: power over time and frequency from frames spread over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.signal.levels import frame_powers

FLOOR_DBFS = -200.0
"""What cells without power are given."""
_HANN_BINS = 1.5
"""A tone fills so many bins under a Hann window; with it a full-scale tone at the centre of a bin is 0 dBFS."""


@dataclass(frozen=True)
class Excerpt:
    """What a picture of one channel of a recording shows."""

    waterfall: NDArray[np.float32]
    """(bins, columns) dBFS; frequencies ascending from -1/2 of the sample rate."""
    spectrum: NDArray[np.float32]
    """(bins,) dBFS, mean power of the columns."""
    trace: NDArray[np.complex64]
    """(n,) consecutive samples of a strong moment."""
    trace_start: int
    """Sample that the trace starts at."""
    cloud: NDArray[np.complex64]
    """(m,) samples from all over."""
    extent: int
    """Samples, or examples, from the left to the right of the waterfall."""
    axis: Literal["time", "example"]
    """What lies from left to right."""
    channel: int = 0
    example: int = 0
    """Where the trace was taken."""


def frames_for(samples: int, columns: int, most: int = 512) -> tuple[int, int, int]:
    """How to look at a recording through few frames.

    Args:
        samples: Length of the recording.
        columns: Columns of the picture at most.
        most: Bins at most.

    Returns:
        Columns, frames in each column (1 ... 8), bins (a power of two, 8 ... `most`).
    """
    bins = 8
    while bins < most and bins * bins * 2 < samples:
        bins *= 2
    room = max(samples - bins, 0) // max(bins // 4, 1) + 1
    columns = max(min(columns, room), 1)
    return columns, int(np.clip(samples // (columns * bins), 1, 8)), bins


def frame_starts(samples: int, columns: int, frames: int, bins: int) -> NDArray[np.int64]:
    """First samples of frames spread evenly, (columns, frames) int64."""
    last = max(samples - bins, 0)
    starts: NDArray[np.int64] = np.round(np.linspace(0, last, columns * frames)).astype(np.int64)
    return starts.reshape(columns, frames)


def column_powers(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Mean power of the frames of each column, (columns, bins); a full-scale tone at the centre of a bin gives 1.

    Args:
        frames: (columns, frames, bins) complex; what is not finite counts as 0.
    """
    columns, count, bins = frames.shape
    clean = np.where(np.isfinite(frames), frames, 0).reshape(columns * count, bins)
    powers: NDArray[np.float64] = frame_powers(clean, bins).reshape(columns, count, bins).mean(1) * _HANN_BINS
    return powers


def dbfs(powers: NDArray[np.floating]) -> NDArray[np.float32]:
    """Powers in dB, -200 at least."""
    decibels: NDArray[np.float32] = (10 * np.log10(np.maximum(powers, 10 ** (FLOOR_DBFS / 10)))).astype(np.float32)
    return decibels


def colour_range(waterfall: NDArray[np.float32], span: float = 80.0, brightest: float = 0.9995) -> tuple[float, float]:
    """Levels for the darkest and the lightest colour: from just below the bulk of the cells to the strong ones.

    Args:
        waterfall: Cells in dBFS; those without power do not count.
        span: Distance of the two levels at most, dB.
        brightest: Share of the cells that stay below the lightest colour.
    """
    shown = waterfall[waterfall > FLOOR_DBFS]
    if shown.size == 0:
        return FLOOR_DBFS, FLOOR_DBFS + 1
    low, high = float(np.quantile(shown, 0.05)), float(np.quantile(shown, brightest))
    low = max(low, high - span)
    return (low, high) if high - low >= 1 else (high - 1, high)


def coarse(waterfall: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """The waterfall in at most (rows, columns) cells of mean power, dBFS."""
    power = 10 ** (waterfall.astype(np.float64) / 10)
    for axis, count in enumerate((rows, columns)):
        edges = np.linspace(0, power.shape[axis], min(count, power.shape[axis]) + 1).astype(int)
        power = np.add.reduceat(power, edges[:-1], axis) / np.expand_dims(np.diff(edges), 1 - axis)
    return dbfs(power)
