"""Opens finished stores."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.direct import open_rows
from wfm_cli.core.store.files import read_json
from wfm_cli.core.store.finish import PARTS, read_group
from wfm_cli.core.store.rows import RowReader, ScaledRows
from wfm_cli.core.store.schema import JSON, ArraySpec
from wfm_cli.core.store.shards import NotMappable, map_array
from wfm_cli.errors import InputError, StoreError

if TYPE_CHECKING:
    import zarr


class Store:
    """A finished store. Cheap to open: metadata alone is read, arrays are read when asked for."""

    def __init__(self, path: Path, attrs: dict[str, JSON]) -> None:
        self.path = path
        self.attrs = attrs
        """The `wfm` attribute: recipe, provenance, statistics, splits, conventions."""
        self.samples: int = attrs["samples"]
        self.kind: str = attrs["kind"]
        self.digest: str = attrs["data_sha256"]
        """SHA-256 over the checksums of all arrays: two stores of the same digest hold the same values."""
        self.names: tuple[str, ...] = tuple(attrs["arrays"])
        """Names of all arrays."""
        self.input: str = attrs.get("input", "channel")
        """Name of the array that encoders and baselines read where nothing else is said."""

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {self.kind}, {self.samples} samples, arrays {', '.join(self.names)})"

    @property
    def default_split(self) -> str:
        """Name of the split that is used when none is asked for.

        Raises:
            StoreError: the store has no split.
        """
        name = self.attrs["splits"]["default"]
        if name is None:
            raise StoreError(f"{self.path}: has no split", "prepare it with a builder that makes one")
        return str(name)

    def _folder(self, name: str) -> Path:
        if name not in self.names:
            raise StoreError(f"{self.path}: has no array '{name}'", f"it has {', '.join(self.names)}")
        return self.path / name

    def spec(self, name: str) -> ArraySpec:
        """Description of an array: dtype, row shape, dimension names, unit, attributes."""
        meta = read_json(self._folder(name) / "zarr.json")
        attrs = dict(meta["attributes"])
        units, description = attrs.pop("units", ""), attrs.pop("description", "")
        shape, dims = tuple(meta["shape"][1:]), tuple(meta["dimension_names"])
        return ArraySpec(name, meta["data_type"], shape, dims, units, description, attrs)

    def array(self, name: str) -> zarr.Array[Any]:
        """The array as zarr sees it, read-only."""
        import zarr

        return zarr.open_array(self._folder(name), mode="r")

    def read(self, name: str) -> NDArray[Any]:
        """A whole array in memory, (samples, *row), decoded like `rows`."""
        with self.rows(name) as reader:
            return reader.whole()

    def rows(self, name: str) -> RowReader:
        """A reader of arbitrary rows; its `how` says whether it reads the files directly.

        Integers whose attributes name a `scale_factor` and an `add_offset` come decoded, as float32.
        """
        reader = open_rows(self._folder(name))
        attrs = self.spec(name).attrs
        if "scale_factor" not in attrs:
            return reader
        return ScaledRows(reader, float(attrs["scale_factor"]), float(attrs.get("add_offset", 0.0)))

    def split(self, name: str | None = None) -> NDArray[np.uint8]:
        """(samples,) uint8: 0 train, 1 validation, 2 test, other values none of them.

        Args:
            name: which split; the store's default if None.

        Raises:
            StoreError: there is no such split.
        """
        name = name or self.default_split
        if name not in self.attrs["splits"]["available"]:
            known = ", ".join(self.attrs["splits"]["available"]) or "none"
            raise StoreError(f"{self.path}: has no split '{name}'", f"it has {known}")
        return self.read(f"split/{name}").astype(np.uint8, copy=False)

    def indices(self, part: str, split: str | None = None) -> NDArray[np.int64]:
        """Row numbers, ascending, of the `train`, `val` or `test` part of a split."""
        if part not in PARTS:
            raise InputError(f"part '{part}' of a split does not exist", f"one of {', '.join(PARTS)}")
        return np.flatnonzero(self.split(split) == PARTS.index(part)).astype(np.int64)

    def label_classes(self, task: str) -> list[str] | None:
        """Names of the classes of `labels/<task>` in the order of their numbers; None when they have no names."""
        classes = self.spec(f"labels/{task}").attrs.get("classes")
        return None if classes is None else [str(name) for name in classes]

    @cached_property
    def bytes(self) -> int:
        """Bytes of all arrays, before compression."""
        return int(self.attrs["bytes"])


def open_store(path: str | Path) -> Store:
    """Open a finished store.

    Raises:
        StoreError: not a store, unfinished, of another version, damaged metadata, or shard files are missing. One line,
            with the remedy as its hint.
    """
    path = Path(path)
    attrs = read_group(path)
    if attrs.get("complete") is not True:
        raise StoreError(
            f"{path}: is unfinished", f"see `wfm prepare status {path}`; go on with `wfm prepare load` and `finalise`"
        )
    store = Store(path, attrs)
    for name in store.names:
        for problem in file_problems(path / name):
            raise StoreError(problem, "copy the store again, or prepare it again")
    return store


def file_problems(folder: Path) -> list[str]:
    """Shard files of an array that are missing or too short, judged by names and sizes alone."""
    try:
        layout = map_array(folder)
    except NotMappable:
        return []  # rewritten by another tool: zarr reads it, and only zarr knows which files it may leave out
    problems = []
    for shard in range(layout.files):
        path, size = layout.file(shard), layout.file_bytes(shard)
        try:
            found = path.stat().st_size
        except OSError:
            problems.append(f"{path}: shard file is missing")
            continue
        if size is not None and layout.index_at_end and layout.sharded and found < size:
            problems.append(f"{path}: is cut off, {found} bytes instead of {size}")
    return problems
