"""Reads arbitrary rows of an array. Three ways, one interface; `RowReader.how` says which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import StoreError

Rows = NDArray[Any]
Index = NDArray[np.int64]

_PIECE = 1 << 20
"""Rows asked for at a time when a whole array is read."""
_POOL = 64 << 20
_ALIGNMENT = 64
"""A row copied to an address that is no multiple of 64 takes up to twice as long on AMD processors."""


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Rows:
    """Like `np.empty`, beginning at a cache line: NumPy's own large arrays never do."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


class RowReader(ABC):
    """Rows of one array by number.

    Usable from one thread at a time; open another reader for another thread. Fork safe.
    """

    how: str
    """`preadv`: straight from the shard files; `zarr`: decoded by zarr, block by block; `memory`: from memory."""
    why: str = ""
    """Why rows cannot be read straight from the files; empty when they can."""
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
            out = aligned_empty((rows.size, *self.shape[1:]), self.dtype)
        elif out.dtype != self.dtype or out.shape[1:] != self.shape[1:] or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self.dtype} of rows {self.shape[1:]}")
        elif len(out) < rows.size:
            raise ValueError(f"out has {len(out)} rows, {rows.size} are needed")
        out = out[: rows.size]
        if rows.size:
            self._fill(rows, out)
        return out

    def whole(self) -> Rows:
        """All rows."""
        out = aligned_empty(self.shape, self.dtype)
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

    def __init__(self, data: Rows, why: str = "") -> None:
        self.data, self.why = data, why
        self.shape, self.dtype = data.shape, data.dtype

    def _fill(self, rows: Index, out: Rows) -> None:
        # mode="clip" writes straight into `out`; the default would buffer it (the range is checked already).
        np.take(self.data, rows, axis=0, out=out, mode="clip")

    def close(self) -> None:
        """Nothing to give back: the array belongs to whoever holds the reader."""


class ZarrRows(RowReader):
    """Rows of any array that zarr can decode, in blocks of whole chunks held in a bounded cache."""

    how = "zarr"

    def __init__(self, path: Path, why: str) -> None:
        import zarr

        self.path, self.why = path, why
        self._array = zarr.open_array(path, mode="r")
        self.shape, self.dtype = self._array.shape, np.dtype(self._array.dtype)
        row = max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)
        chunk = self._array.chunks[0]
        self.block = chunk * max(1, (1 << 20) // (chunk * row))
        """Rows decoded at a time: whole chunks of about 1 MiB together."""
        self.pool = max(2, _POOL // (self.block * row))
        """Blocks of 64 MiB together: what a chunk-shuffled order mixes. Twice as many are kept in the cache."""
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
        while len(self._cache) > 2 * self.pool:
            self._cache.popitem(last=False)
        return rows

    def close(self) -> None:
        """Empty the cache."""
        self._cache.clear()


class ScaledRows(RowReader):
    """Integers decoded by the CF attributes of their array: value x `scale_factor` + `add_offset`, float32."""

    def __init__(self, inner: RowReader, scale: float, offset: float) -> None:
        self.inner, self.scale, self.offset = inner, np.float32(scale), np.float32(offset)
        self.how, self.why = inner.how, inner.why
        self.shape, self.dtype = inner.shape, np.dtype(np.float32)

    def _fill(self, rows: Index, out: Rows) -> None:
        np.multiply(self.inner.take(rows), self.scale, out=out)
        out += self.offset

    def close(self) -> None:
        """Give back what the reader below holds."""
        self.inner.close()
