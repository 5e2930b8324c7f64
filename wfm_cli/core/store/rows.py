"""Reads arbitrary rows of an array: straight from the files where rows lie plainly, through zarr otherwise.

Three ways, one interface; `RowReader.how` says which:

- `preadv`: every run of consecutive rows is one system call that writes into the batch. No zarr, no event loop, no
  lock; descriptors belong to a process, so a reader survives a fork.
- `zarr`: blocks of rows are decoded by zarr and kept in a bounded cache (compressed arrays, arrays of other writers).
- `memory`: the array lies in memory.
"""

from __future__ import annotations

import errno
import os
import resource
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.shards import NotMappable, ShardMap, map_array
from wfm_cli.errors import StoreError

Rows = NDArray[Any]
Index = NDArray[np.int64]

_PIECE = 1 << 20
"""Rows asked for at a time when a whole array is read."""


class RowReader(ABC):
    """Rows of one array by number.

    Usable from one thread at a time; open another reader for another thread. Fork safe.
    """

    how: str
    """`preadv`, `zarr` or `memory`."""
    why: str = ""
    """Why rows cannot be read straight from the files; empty when they are."""
    shape: tuple[int, ...]
    """(samples, *row)"""
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, idx: Any, out: Rows | None = None) -> Rows:
        """Rows `idx` in that order.

        Args:
            idx: (n,) integers in [0, samples); repeats are welcome.
            out: C-contiguous array of the reader's dtype and at least n rows to fill; made when absent.

        Returns:
            (n, *row): `out` (its first n rows) or a new array.

        Raises:
            IndexError: a row number is out of range.
            StoreError: a file is missing, cut off or damaged.
        """
        rows = np.asarray(idx, np.int64).reshape(-1)
        if rows.size and (rows.min() < 0 or rows.max() >= self.shape[0]):
            raise IndexError(f"row numbers must lie in [0, {self.shape[0]})")
        if out is None:
            out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        elif out.dtype != self.dtype or out.shape[1:] != self.shape[1:] or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self.dtype} of rows {self.shape[1:]}")
        out = out[: rows.size]
        if len(out) < rows.size:
            raise ValueError(f"out has {len(out)} rows, {rows.size} are needed")
        if rows.size:
            self._fill(rows, out)
        return out

    def whole(self) -> Rows:
        """All rows."""
        out = np.empty(self.shape, self.dtype)
        for start in range(0, len(self), _PIECE):
            stop = min(start + _PIECE, len(self))
            self.take(np.arange(start, stop), out[start:stop])
        return out

    @abstractmethod
    def _fill(self, rows: Index, out: Rows) -> None:
        """Fill `out` with rows that are known to exist."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the reader holds; a later `take` takes it again."""

    def __enter__(self) -> RowReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryRows(RowReader):
    """Rows of an array in memory."""

    how = "memory"

    def __init__(self, data: Rows) -> None:
        self.data = data
        self.shape, self.dtype = data.shape, data.dtype

    def _fill(self, rows: Index, out: Rows) -> None:
        # mode="clip" writes straight into `out`; the default would buffer it (the range is checked already).
        np.take(self.data, rows, axis=0, out=out, mode="clip")

    def close(self) -> None:
        """Nothing to give back: the array belongs to whoever holds the reader."""


class ShardRows(RowReader):
    """Rows of an array whose files hold them plainly."""

    how = "preadv"

    def __init__(self, layout: ShardMap) -> None:
        self.layout = layout
        self.shape, self.dtype = layout.shape, layout.dtype
        self._chunk_offsets = np.full((layout.files, layout.chunks), -1, np.int64)
        self._descriptors: dict[int, NDArray[np.int32]] = {}

    def __reduce__(self) -> tuple[type[ShardRows], tuple[ShardMap]]:
        return ShardRows, (self.layout,)

    def _fill(self, rows: Index, out: Rows) -> None:
        size = self.layout.row_bytes
        shard, inside = np.divmod(rows, self.layout.rows_per_shard)
        descriptors = self._open(shard)[shard]
        chunk, within = np.divmod(inside, self.layout.rows_per_chunk)
        offsets = self._chunk_offsets[shard, chunk]
        absent = offsets < 0
        offsets += within * size
        if absent.any():
            # Chunks that another writer left out because they hold nothing but the fill value.
            out[absent] = self._fill_value()
            offsets[absent] = -1 - size * np.arange(absent.sum())
        first = np.ones(len(rows), bool)
        first[1:] = (descriptors[1:] != descriptors[:-1]) | (offsets[1:] - offsets[:-1] != size)
        starts = np.flatnonzero(first & ~absent)
        ends = np.append(np.flatnonzero(first), len(rows))
        ends = ends[np.searchsorted(ends, starts, side="right")]
        view = out.reshape(-1).view(np.uint8).data
        edges = zip((starts * size).tolist(), (ends * size).tolist(), strict=True)
        targets = [(view[start:end],) for start, end in edges]
        places = descriptors[starts].tolist(), targets, offsets[starts].tolist()
        if sum(map(os.preadv, *places)) != int((ends - starts).sum()) * size:
            self._fill_slowly(zip(shard[starts].tolist(), *places, strict=True))

    def _fill_slowly(self, runs: Iterable[tuple[int, int, tuple[memoryview], int]]) -> None:
        """Read again, run by run: a call may stop short (2 GiB at most), or a file is cut off."""
        for shard, descriptor, (target,), offset in runs:
            while target:
                got = os.preadv(descriptor, [target], offset)
                if not got:
                    raise StoreError(f"{self.layout.file(shard)}: is cut off", "copy the file again, or prepare again")
                target, offset = target[got:], offset + got

    def _fill_value(self) -> Any:
        fill = self.layout.fill
        return complex(*map(float, fill)) if self.dtype.kind == "c" else np.array(fill, self.dtype)

    def _open(self, shards: Index) -> NDArray[np.int32]:
        """This process's descriptor table with at least `shards` open."""
        table = self._descriptors.get(os.getpid())
        if table is None:
            table = self._descriptors.setdefault(os.getpid(), np.full(self.layout.files, -1, np.int32))
        if (table[shards] < 0).any():
            for shard in np.unique(shards[table[shards] < 0]).tolist():
                table[shard] = self._open_one(shard)
        return table

    def _open_one(self, shard: int) -> int:
        path = self.layout.file(shard)
        try:
            descriptor = _open_many(path)
        except FileNotFoundError as error:
            raise StoreError(f"{path}: shard file is missing", "copy the store again, or prepare it again") from error
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            index = self.layout.index(shard, lambda n, at: os.pread(descriptor, n, at), os.fstat(descriptor).st_size)
        except BaseException:
            os.close(descriptor)
            raise
        self._chunk_offsets[shard] = index[:, 0]
        return descriptor

    def close(self) -> None:
        """Close the descriptors of this process."""
        table = self._descriptors.pop(os.getpid(), None)
        for descriptor in [] if table is None else table[table >= 0].tolist():
            os.close(descriptor)

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be going down
            self.close()


def _open_many(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    # A store of thousands of shards: use all the descriptors that the system grants.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        raise StoreError(f"{path}: too many open files", "raise the limit (ulimit -n), or prepare with larger shards")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return os.open(path, os.O_RDONLY)


class ZarrRows(RowReader):
    """Rows of any array that zarr can decode, in blocks of whole chunks held in a bounded cache."""

    how = "zarr"

    def __init__(self, path: Path, why: str, cache_bytes: int = 64 << 20) -> None:
        import zarr

        self.path, self.why = path, why
        self._array = zarr.open_array(path, mode="r")
        self.shape, self.dtype = self._array.shape, np.dtype(self._array.dtype)
        row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        chunk = self._array.chunks[0]
        self.block = chunk * max(1, -(-(1 << 20) // (chunk * row)))
        """Rows decoded at a time: whole chunks, at least 1 MiB."""
        self.cached_blocks = max(2, cache_bytes // (self.block * row))
        """Blocks kept; the least recently used one goes first."""
        self._cache: OrderedDict[int, Rows] = OrderedDict()

    def __reduce__(self) -> tuple[type[ZarrRows], tuple[Path, str]]:
        return ZarrRows, (self.path, self.why)

    def _fill(self, rows: Index, out: Rows) -> None:
        block = rows // self.block
        order = np.argsort(block, kind="stable")
        cuts = np.flatnonzero(np.diff(block[order])) + 1
        for places in np.split(order, cuts):
            number = int(block[places[0]])
            out[places] = self._decoded(number)[rows[places] - number * self.block]

    def _decoded(self, number: int) -> Rows:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        start = number * self.block
        try:
            rows = np.asarray(self._array[start : start + self.block])
        except (ValueError, RuntimeError, OSError) as error:
            stop = min(start + self.block, len(self))
            raise StoreError(f"{self.path}: rows {start} to {stop} cannot be decoded ({error})") from error
        self._cache[number] = rows
        while len(self._cache) > self.cached_blocks:
            self._cache.popitem(last=False)
        return rows

    def close(self) -> None:
        """Empty the cache."""
        self._cache.clear()


def open_rows(path: Path) -> RowReader:
    """The fastest reader for the array at `path`."""
    try:
        layout = map_array(path)
    except NotMappable as error:
        return ZarrRows(path, str(error))
    return ShardRows(layout) if layout.codec == "none" else ZarrRows(path, f"codec {layout.codec}")


def read_whole(path: Path) -> Rows:
    """All rows of the array at `path`."""
    with open_rows(path) as reader:
        return reader.whole()
