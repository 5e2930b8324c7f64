"""Windows of consecutive frames, and how they are divided into training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store import splits
from wfm_datasets.deepsense.stamps import runs

PAPER = (0.6, 0.1, 0.3)
"""The paper divides its windows 70 to 30; a tenth is taken from the 70 to choose by."""
APART = 3
"""Part of windows whose frames belong to several parts, or to none."""


def window_index(sequence: NDArray[np.integer], steps: int, stride: int) -> NDArray[np.int32]:
    """Frames of every window, (W, steps): consecutive, never across two sequences."""
    starts = [np.arange(start, stop - steps + 1, stride) for start, stop in runs(sequence)]
    first = np.concatenate([piece for piece in starts if len(piece)] or [np.zeros(0, np.int64)])
    made: NDArray[np.int32] = (first[:, None] + np.arange(steps)).astype(np.int32)
    return made


def by_frames(split: splits.Split, index: NDArray[np.int32]) -> splits.Split:
    """Part of every window from those of its frames; `APART` when they differ."""
    parts = split[index]
    made: splits.Split = np.where((parts == parts[:, :1]).all(1), parts[:, 0], APART).astype(np.uint8)
    return made


def leak(split: splits.Split, index: NDArray[np.int32]) -> dict[str, Any]:
    """Share of the frames of test windows that occur in training windows too."""
    test, train = np.unique(index[split == splits.TEST]), np.unique(index[split == splits.TRAIN])
    shared = float(np.isin(test, train).mean()) if len(test) else 0.0
    return {"test_frames_in_training": round(shared, 4)}


def describe(made: Mapping[str, splits.Split], index: NDArray[np.int32]) -> dict[str, Any]:
    """Counts of every part and the leak, by the name of the split."""
    return {name: splits.sizes(split) | leak(split, index) for name, split in made.items()}
