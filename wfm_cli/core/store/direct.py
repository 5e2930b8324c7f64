"""Rows straight from the files of an uncompressed array: no zarr, no event loop, no copy in between.

While rows still lie on disk, every run of consecutive rows is one `preadv` into the batch, after the kernel has been
told about all of them at once (a queue instead of one seek after another). Rows that the page cache holds are gathered
from a mapping of the files instead: the same bytes without a system call per row.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.rows import Index, RowReader, Rows, ZarrRows
from wfm_cli.core.store.shards import NotMappable, ShardMap, map_array
from wfm_cli.core.store.window import Window
from wfm_cli.errors import StoreError

_FILES = 1 << 14
"""Arrays of more files than this (one file per row, say) are left to zarr: every open file costs a descriptor."""
_REPAIR = "copy the store again, or prepare it again"


class DirectRows(RowReader):
    """Rows of an array whose files hold them plainly.

    Args:
        layout: where the rows lie.
        mapped: gather rows in the page cache from a mapping; False always reads with system calls.
    """

    how = "preadv"

    def __init__(self, layout: ShardMap, mapped: bool = True) -> None:
        self.layout, self.mapped = layout, mapped
        self.shape, self.dtype = layout.shape, layout.dtype
        self._offsets = np.full((layout.files, layout.chunks), -1, np.int64)
        self._descriptors: dict[int, NDArray[np.int32]] = {}
        self._cold = True
        self._window: Window | None = None
        self._in_window = np.zeros(layout.files, bool)
        self._rows = np.empty((0, *self.shape[1:]), self.dtype)
        payload = layout.chunks * layout.chunk_bytes
        if mapped and layout.sharded and (payload % mmap.PAGESIZE == 0 or layout.files == 1):
            with suppress(OSError):
                self._window = Window(payload * layout.files)
                self._rows = self._window.array((layout.files * layout.rows_per_shard, *self.shape[1:]), self.dtype)

    def __reduce__(self) -> tuple[type[DirectRows], tuple[ShardMap, bool]]:
        return DirectRows, (self.layout, self.mapped)

    def _fill(self, rows: Index, out: Rows) -> None:
        shard = rows // self.layout.rows_per_shard
        table = self._open(shard)
        before = _blocks_read()
        if not self._cold and self._in_window[shard].all():
            # mode="clip" writes straight into `out`; the default would buffer it (the range is checked already).
            np.take(self._rows, rows, axis=0, out=out, mode="clip")
        else:
            self._read(rows, shard, table[shard], out)
        self._cold = _blocks_read() > before

    def _read(self, rows: Index, shard: Index, descriptors: NDArray[np.int32], out: Rows) -> None:
        size = self.layout.row_bytes
        chunk, within = np.divmod(rows - shard * self.layout.rows_per_shard, self.layout.rows_per_chunk)
        offsets = self._offsets[shard, chunk]
        absent = offsets < 0
        offsets += within * size
        if absent.any():  # chunks that another writer left out: they hold nothing but the fill value
            fill = self.layout.fill
            out[absent] = complex(*map(float, fill)) if self.dtype.kind == "c" else np.array(fill, self.dtype)
        first = np.ones(len(rows), bool)
        first[1:] = (shard[1:] != shard[:-1]) | (np.diff(offsets) != size) | absent[1:] | absent[:-1]
        starts = np.flatnonzero(first)
        ends = np.append(starts[1:], len(rows))
        keep = ~absent[starts]
        starts, ends = starts[keep], ends[keep]
        view = out.reshape(-1).view(np.uint8).data
        edges = zip((starts * size).tolist(), (ends * size).tolist(), strict=True)
        targets = [(view[start:end],) for start, end in edges]
        files, places = descriptors[starts].tolist(), offsets[starts].tolist()
        if self._cold:
            _announce(files, places, ((ends - starts) * size).tolist())
        if sum(map(os.preadv, files, targets, places)) != int((ends - starts).sum()) * size:
            self._read_slowly(zip(shard[starts].tolist(), files, targets, places, strict=True))

    def _read_slowly(self, runs: Iterable[tuple[int, int, tuple[memoryview], int]]) -> None:
        """Read again, run by run: a call may stop short (2 GiB at most), or a file is cut off."""
        for shard, descriptor, (target,), offset in runs:
            while target:
                got = os.preadv(descriptor, [target], offset)
                if not got:
                    raise StoreError(f"{self.layout.file(shard)}: is cut off", _REPAIR)
                target, offset = target[got:], offset + got

    def _open(self, shards: Index) -> NDArray[np.int32]:
        """This process's descriptor table with at least `shards` open."""
        table = self._descriptors.get(os.getpid())
        if table is None:
            table = self._descriptors.setdefault(os.getpid(), np.full(self.layout.files, -1, np.int32))
        closed = table[shards] < 0
        if closed.any():
            for shard in np.unique(shards[closed]).tolist():
                table[shard] = self._open_one(shard)
        return table

    def _open_one(self, shard: int) -> int:
        path = self.layout.file(shard)
        try:
            descriptor = _open_many(path)
        except FileNotFoundError as error:
            raise StoreError(f"{path}: shard file is missing", _REPAIR) from error
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            index = self.layout.index(shard, lambda n, at: os.pread(descriptor, n, at), os.fstat(descriptor).st_size)
        except BaseException:
            os.close(descriptor)
            raise
        self._offsets[shard] = index[:, 0]
        used, size = self.layout.used_chunks(shard), self.layout.chunk_bytes
        if self._window and (index[:used, 0] == np.arange(used) * size).all():
            with suppress(OSError):  # too many mappings: these rows are read by system calls
                self._window.add(descriptor, shard * self.layout.chunks * size, used * size)
                self._in_window[shard] = True
        return descriptor

    def close(self) -> None:
        """Close the descriptors of this process."""
        table = self._descriptors.pop(os.getpid(), None)
        for descriptor in [] if table is None else table[table >= 0].tolist():
            os.close(descriptor)

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be going down
            self.close()


def _blocks_read() -> int:
    """Disk reads of this thread so far: a difference means that rows were not in the page cache."""
    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)).ru_inblock


def _announce(files: list[int], offsets: list[int], sizes: list[int]) -> None:
    """Have the kernel fetch all runs at once instead of one after another."""
    if hasattr(os, "posix_fadvise"):
        for descriptor, offset, size in zip(files, offsets, sizes, strict=True):
            os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)


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


def open_rows(path: Path) -> RowReader:
    """The fastest reader for the array at `path`."""
    try:
        layout = map_array(path)
    except NotMappable as error:
        return ZarrRows(path, str(error))
    if layout.codec != "none":
        return ZarrRows(path, f"codec {layout.codec}")
    return DirectRows(layout) if layout.files <= _FILES else ZarrRows(path, f"{layout.files} files")


def read_whole(path: Path) -> Rows:
    """All rows of the array at `path`."""
    with open_rows(path) as reader:
        return reader.whole()
