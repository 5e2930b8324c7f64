"""Signals in TorchSig's files of versions 2.0 and 2.1: a dataset for each signal, a dataset for each of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.hdf5 import Reach, read_each
from wfm_datasets.iq.hdf5_files import dataset, group
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.torchsig import FIELDS, Signal

_MOST_TEXT = 1 << 16
"""Bytes of a scalar."""


def indexed_signals(path: Path, file: h5py.File) -> Iterator[Signal]:
    """Every indexed signal of a file with one dataset for each."""
    data, metadata, index = (group(file, name) for name in ("data", "metadata", "index"))
    components = group(file, "component_signals") if "component_signals" in file else {}
    known: dict[str, dict[str, Any]] = {}

    def fields(key: str, depth: int = 0) -> dict[str, Any]:
        if key in known or key not in metadata or depth > 16:
            return known.get(key, {})
        place = group(file, f"metadata/{key}")
        own = {name: _scalar(place, name) for name in place if name in FIELDS or name == "parent_metadata_id"}
        parent = own.pop("parent_metadata_id", None)
        made = (fields(str(parent), depth + 1) if parent is not None else {}) | own
        if depth:  # few parents for many signals
            known[key] = made
        return made

    for number in range(len(index)):
        key = str(_scalar(index, str(number)))
        below: list[str] = []
        if key in components:
            below = [_text(item) for item in dataset(file, f"component_signals/{key}", table=True)[()].tolist()]
        if key not in data:
            raise damaged(path, f"signal {number} has no data")
        made = dataset(file, f"data/{key}")
        yield Signal(made.shape, made.dtype, fields(key), tuple(fields(child) for child in below))


def grouped_signals(path: Path, file: h5py.File) -> Iterator[Signal]:
    """Every signal of a file with one group for each."""
    for number in range(len(file)):
        made = dataset(file, f"{number}/data")
        groups = {key: group(file, f"{number}/metadata/{key}") for key in group(file, f"{number}/metadata")}
        below = tuple(
            {name: _scalar(groups[key], name) for name in groups[key] if name in FIELDS}
            for key in sorted(groups, key=lambda key: (len(key), key))
        )
        yield Signal(made.shape, made.dtype, {}, below)


def _scalar(place: h5py.Group, name: str) -> Any:
    """A scalar dataset as a Python value; None for anything larger, and for links."""
    key = name.encode()
    if place.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        return None
    made = h5py.h5d.open(place.id, key)  # a third of the time of place[name]
    if made.shape not in ((), (1,)) or made.dtype.itemsize > _MOST_TEXT:
        return None
    value = np.empty(made.shape, made.dtype)
    made.read(h5py.h5s.ALL, h5py.h5s.ALL, value)
    plain = value.reshape(-1)[0]
    return plain.item() if isinstance(plain, np.generic) and plain.dtype.kind in "fiub" else _text(plain)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def locate_indexed(file: h5py.File, recording: Recording) -> Reach:
    """Windows of a file with one dataset for each signal."""
    layout = cast("dict[str, Any]", recording.layout)
    chosen = layout.get("signals")
    axes = ("part", "time") if layout.get("planar") else ("time",)
    data, index = (file.get(name) for name in ("data", "index"))

    def find(number: int) -> h5py.Dataset:
        # Checked when the file was scanned; it has not changed since.
        if layout["kind"] == "torchsig-2.0":
            return file[f"{number}/data"]
        return data[str(_scalar(index, str(number)))]

    return read_each(lambda example: find(chosen[example] if chosen else example), axes, recording)
