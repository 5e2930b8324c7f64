"""Maps the files of an array one behind the other, so that all its rows are one NumPy array again."""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAP_FIXED = 0x10
_PROT_NONE = 0
_FAILED = ctypes.c_void_p(-1).value


class Window:
    """A reserved range of addresses; file pieces are placed into it. Read-only, shared with the page cache, fork safe.

    Args:
        size: bytes of all pieces together.

    Raises:
        OSError: the system does not grant the addresses.
    """

    def __init__(self, size: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._map, self._unmap = libc.mmap, libc.munmap
        self._map.restype = ctypes.c_void_p
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._map.argtypes = [pointer, ctypes.c_size_t, number, number, number, ctypes.c_longlong]
        self._unmap.argtypes = [pointer, ctypes.c_size_t]
        self.size = size
        self._base = self._place(None, size, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)

    def _place(self, address: int | None, size: int, protection: int, flags: int, descriptor: int) -> int:
        placed = self._map(address, size, protection, flags, descriptor, 0)
        if placed is None or placed == _FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        return int(placed)

    def add(self, descriptor: int, offset: int, size: int) -> None:
        """Map the first `size` bytes of a file at `offset` of the window, a multiple of the page size.

        Raises:
            OSError: the system refuses, for instance because there are too many mappings.
        """
        if offset % mmap.PAGESIZE or not 0 <= offset <= offset + size <= self.size:
            raise ValueError("piece does not fit into the window")
        self._place(self._base + offset, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The window as an array, valid as long as the window lives. Only touch rows whose piece has been added."""
        raw = memoryview((ctypes.c_ubyte * self.size).from_address(self._base)).cast("B").toreadonly()
        return np.frombuffer(raw, dtype, math.prod(shape)).reshape(shape)

    def __del__(self) -> None:
        if hasattr(self, "_base"):
            self._unmap(self._base, self.size)
