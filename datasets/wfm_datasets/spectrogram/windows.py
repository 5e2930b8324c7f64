"""Cuts recordings into windows of equal length: which recording, example, sample and channel every row comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_datasets.iq.recording import Recording

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """Where every row of the store comes from; rows of one recording lie together. All (n,)."""

    recording: NDArray[np.int32]
    example: Index
    start: Index
    channel: NDArray[np.int16]
    """Channel of the row; 0 for all where channels are kept together."""
    annotation: NDArray[np.int32]
    """Annotation of its recording, -1 for none."""
    unused: Index
    """Samples of every recording that lie in no window (recordings,)."""
    short: Index
    """Annotations of every recording that are shorter than a window (recordings,)."""

    def __len__(self) -> int:
        return len(self.recording)

    def of(self, number: int) -> slice:
        """Rows of a recording."""
        low, high = np.searchsorted(self.recording, [number, number + 1])
        return slice(int(low), int(high))

    def counts(self) -> Index:
        """Rows of every recording (recordings,)."""
        return np.bincount(self.recording, minlength=len(self.unused)).astype(np.int64)


def cut(recordings: Sequence[Recording], source: SpectrogramSource, length: int) -> Cuts:
    """Windows of `length` samples out of every recording, in order; nothing is padded."""
    step = max(1, round(source.stride * length))
    pieces = [_cut_one(recording, source, length, step) for recording in recordings]
    sizes = [len(piece.start) for piece in pieces]

    def join(values: list[NDArray[Any]], dtype: str) -> NDArray[Any]:
        return np.concatenate(values).astype(dtype) if values else np.empty(0, dtype)

    return Cuts(
        np.repeat(np.arange(len(recordings), dtype=np.int32), sizes),
        join([piece.example for piece in pieces], "i8"),
        join([piece.start for piece in pieces], "i8"),
        join([piece.channel for piece in pieces], "i2"),
        join([piece.annotation for piece in pieces], "i4"),
        np.array([piece.unused for piece in pieces], np.int64),
        np.array([piece.short for piece in pieces], np.int64),
    )


@dataclass(frozen=True)
class _Piece:
    example: Index
    start: Index
    channel: Index
    annotation: Index
    unused: int
    short: int


def _cut_one(recording: Recording, source: SpectrogramSource, length: int, step: int) -> _Piece:
    stretches = [(-1, 0, recording.samples)]
    if source.windows == "annotation" and recording.examples == 1:
        stretches = [
            (number, max(0, note.start), min(note.start + note.count, recording.samples))
            for number, note in enumerate(recording.annotations)
        ]
    found = [low + _starts(high - low, length, step, source.max_windows) for _, low, high in stretches]
    start = np.concatenate([np.empty(0, np.int64), *found])
    annotation = np.repeat([number for number, _, _ in stretches], [len(part) for part in found]).astype(np.int64)
    unused = (recording.samples - _covered(start, length)) * recording.examples
    short = sum(number >= 0 and not len(part) for (number, _, _), part in zip(stretches, found, strict=True))
    channels = recording.channels if source.channels == "separate" else 1
    windows = len(start) * recording.examples
    return _Piece(
        np.repeat(np.arange(recording.examples, dtype=np.int64), len(start) * channels),
        np.repeat(np.tile(start, recording.examples), channels),
        np.tile(np.arange(channels, dtype=np.int64), windows),
        np.repeat(np.tile(annotation, recording.examples), channels),
        int(unused),
        int(short),
    )


def _starts(samples: int, length: int, step: int, limit: int | None) -> Index:
    """First samples of the windows of a stretch; evenly spread where there are more than the limit."""
    count = max(0, samples - length + step) // step
    if limit is not None and count > limit:
        return np.linspace(0, count - 1, limit).round().astype(np.int64) * step
    return np.arange(count, dtype=np.int64) * step


def _covered(start: Index, length: int) -> int:
    """Samples that lie in at least one of the windows."""
    if not len(start):
        return 0
    gaps = np.diff(np.unique(start))
    return int(np.minimum(gaps, length).sum()) + length
