"""Windows of a store of sequences as arrays: what is seen, what is to be predicted, and which part each belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.models.bundle import Bundle
from wfm_cli.core.store.finish import PARTS
from wfm_cli.core.store.memory import fits_in_memory
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.rows import MemoryRows
from wfm_cli.core.store.sequences import INDEX, LINEAR_POWER, MODALITIES, window_split
from wfm_cli.errors import InputError

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """W windows of T = history + horizon frames that a split uses."""

    split: str
    history: int
    horizon: int
    index: Index
    """(W, T) frames of the store."""
    position: NDArray[np.float64]
    """(W, T, 2) metres east and north."""
    power_db: NDArray[np.float32]
    """(W, T, beams)."""
    power: NDArray[np.float32]
    """(W, T, beams), linear."""
    beam: Index
    """(W, T) strongest beam."""
    time_s: NDArray[np.float64]
    """(W, T) seconds."""
    interpolated: NDArray[np.bool_]
    """(W, T) whether the release interpolated the position."""
    sequence: Index
    """(W,) drive."""
    train: Index
    """Numbers of windows here that may be learnt from."""
    val: Index
    test: Index
    left_out: int = 0
    """Windows of the split with a frame whose position or powers are not known."""
    leak: Mapping[str, Any] | None = None
    """How far test frames occur in training windows."""

    @property
    def beams(self) -> int:
        """Number of beams."""
        return int(self.power_db.shape[2])

    def seen(self, values: NDArray[Any]) -> NDArray[Any]:
        """The observed frames of (W, T, ...)."""
        return values[:, : self.history]

    def ahead(self, values: NDArray[Any]) -> NDArray[Any]:
        """The frames to be predicted of (W, T, ...)."""
        return values[:, self.history :]


def load_windows(store: Store, split: str | None = None) -> Windows:
    """Read the small arrays of all windows that a split uses.

    Raises:
        InputError: the store has no windows, or a part of the split is empty.
        StoreError: there is no such split.
    """
    if INDEX not in store.names:
        raise InputError(
            f"{store.path}: has no windows of frames", "predictive tasks need a store of `wfm prepare deepsense`"
        )
    about = store.attrs["windows"]
    split = split or str(about["default"])
    part = window_split(store, split)
    index = store.read(INDEX).astype(np.int64)
    known = np.ones(store.samples, dtype=np.bool_)
    for name in ("meta/position_known", "meta/power_known"):
        if name in store.names:
            known &= store.read(name).astype(np.bool_)
    used = part < len(PARTS)
    kept = used & known[index].all(1)
    index, part = index[kept], part[kept]
    parts = [np.flatnonzero(part == number).astype(np.int64) for number in range(len(PARTS))]
    for name, rows in zip(PARTS, parts, strict=True):
        if not len(rows):
            raise InputError(f"{store.path}: split {split} has no {name} window", "choose another split")
    return Windows(
        split, int(about["history"]), int(about["horizon"]), index,
        position=store.read(MODALITIES["gps"]).astype(np.float64)[index],
        power_db=store.read(MODALITIES["power"]).astype(np.float32)[index],
        power=store.read(LINEAR_POWER).astype(np.float32)[index],
        beam=store.read("labels/beam").astype(np.int64)[index],
        time_s=store.read("meta/time_s").astype(np.float64)[index],
        interpolated=store.read("meta/interpolated").astype(np.bool_)[index],
        sequence=store.read("meta/sequence").astype(np.int64)[index[:, 0]],
        train=parts[0], val=parts[1], test=parts[2],
        left_out=int((used & ~kept).sum()),
        leak={name: value for name, value in about["splits"][split].items() if name not in PARTS},
    )  # fmt: skip


class Frames:
    """Frames of several sensors by their number in the store."""

    def __init__(self, store: Store, modalities: Sequence[str], linear_power: bool = False) -> None:
        arrays = {name: LINEAR_POWER if name == "power" and linear_power else MODALITIES[name] for name in modalities}
        lacking = [name for name, array in arrays.items() if array not in store.names]
        if lacking:
            raise InputError(
                f"{store.path}: has no {' and no '.join(lacking)}", "take a run whose model.modalities leave it out"
            )
        self._readers = {name: store.rows(array) for name, array in arrays.items()}
        size = sum(int(np.prod(reader.shape)) * reader.dtype.itemsize for reader in self._readers.values())
        if fits_in_memory(size):
            self._readers = {name: MemoryRows(reader.whole(), reader.why) for name, reader in self._readers.items()}

    def take(self, frames: Index) -> Bundle:
        """Frames (B, T) of the store: a tensor (B, T, ...) of every sensor."""
        parts: dict[str, Tensor] = {}
        for name, reader in self._readers.items():
            rows = reader.take(frames.reshape(-1))
            parts[name] = torch.from_numpy(np.ascontiguousarray(rows)).view(*frames.shape, *rows.shape[1:])
        return Bundle(parts)
