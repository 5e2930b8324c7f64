"""Windows of frames: an index into arrays that hold every frame once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.finish import PARTS
from wfm_cli.core.store.memory import fits_in_memory
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.rows import Index, MemoryRows, RowReader, Rows
from wfm_cli.errors import InputError, StoreError

INDEX = "windows/index"
"""The table (window, step) of frames."""
MODALITIES: Mapping[str, str] = {
    "image": "frames/image",
    "radar": "frames/radar",
    "lidar": "frames/lidar",
    "gps": "frames/position",
    "power": "frames/power_db",
}
"""Array of every modality."""
LINEAR_POWER = "frames/power"


class WindowRows(RowReader):
    """Windows as structured rows: a field per modality, each (steps, ...).

    Frames are read, or held in memory, once each however many windows show them.

    Args:
        store: a store of sequences.
        modalities: which of `MODALITIES`; those that the store has by default.
        linear_power: take linear powers in place of decibels.
        in_memory: hold the frames in memory; None does when they fit into a quarter of the free memory.

    Raises:
        InputError: the store has no windows, or lacks a modality.
    """

    def __init__(
        self,
        store: Store,
        modalities: Sequence[str] | None = None,
        *,
        linear_power: bool = False,
        in_memory: bool | None = None,
    ) -> None:
        if INDEX not in store.names:
            raise InputError(f"{store.path}: has no windows", "prepare sequences with `wfm prepare deepsense`")
        arrays = {
            name: LINEAR_POWER if name == "power" and linear_power else array for name, array in MODALITIES.items()
        }
        have = [name for name, array in arrays.items() if array in store.names]
        wanted = list(modalities) if modalities is not None else have
        lacking = [name for name in wanted if name not in have]
        if lacking:
            raise InputError(
                f"{store.path}: has no {' and no '.join(lacking)}",
                f"leave it out: model.modalities=[{', '.join(name for name in wanted if name in have)}]",
            )
        self.index = store.read(INDEX)
        self._readers = {name: store.rows(arrays[name]) for name in wanted}
        size = sum(int(np.prod(reader.shape)) * reader.dtype.itemsize for reader in self._readers.values())
        self.why = next((reader.why for reader in self._readers.values() if reader.why), "")
        if fits_in_memory(size) if in_memory is None else in_memory:
            self._readers = {name: _held(reader) for name, reader in self._readers.items()}
        steps = self.index.shape[1]
        fields = [
            (name, np.float32 if reader.dtype == np.float64 else reader.dtype, (steps, *reader.shape[1:]))
            for name, reader in self._readers.items()
        ]
        self.dtype = np.dtype(fields, align=True)
        self.shape = (len(self.index),)
        self.how = next(iter(self._readers.values())).how

    def _fill(self, rows: Index, out: Rows) -> None:
        frames = self.index[rows].astype(np.int64)
        for name, reader in self._readers.items():
            out[name] = reader.take(frames.reshape(-1)).reshape(*frames.shape, *reader.shape[1:])

    def close(self) -> None:
        """Close the files of all frames."""
        for reader in self._readers.values():
            reader.close()


def _held(reader: RowReader) -> RowReader:
    whole = reader.whole()
    reader.close()
    return MemoryRows(whole, reader.why)


def window_split(store: Store, name: str | None = None) -> NDArray[np.uint8]:
    """Part of every window: 0 train, 1 validation, 2 test, 3 none; by the store's default split if no name is given.

    Raises:
        StoreError: there is no such split.
    """
    about = store.attrs.get("windows", {})
    name = name or about.get("default")
    if name not in about.get("splits", {}):
        known = ", ".join(about.get("splits", {})) or "none"
        raise StoreError(f"{store.path}: has no split '{name}' of windows", f"it has {known}")
    return store.read(f"windows/split_{name}").astype(np.uint8, copy=False)


def window_indices(store: Store, part: str, split: str | None = None) -> NDArray[np.int64]:
    """Numbers of the windows, ascending, of the `train`, `val` or `test` part of a split."""
    return np.flatnonzero(window_split(store, split) == PARTS.index(part)).astype(np.int64)


def training_scales(store: Store, split: str | None = None) -> dict[str, float]:
    """Scales of positions and powers over the frames of the training windows.

    Returns:
        `gps_scale` in metres (root mean square of the coordinates), `power_mean` and `power_scale` in dB, and the same
        of the linear powers as `linear_mean` and `linear_scale`.
    """
    frames = np.unique(store.read(INDEX)[window_indices(store, "train", split)])
    position = store.read(MODALITIES["gps"])[frames]
    made: dict[str, Any] = {"gps_scale": float(np.sqrt(np.square(position).mean()))}
    for prefix, array in (("power", MODALITIES["power"]), ("linear", LINEAR_POWER)):
        values = store.read(array)[frames].astype(np.float64)
        made |= {f"{prefix}_mean": float(values.mean()), f"{prefix}_scale": float(values.std())}
    return {name: value if value > 0 or "mean" in name else 1.0 for name, value in made.items()}
