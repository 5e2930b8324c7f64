"""Global heaps of HDF5, where strings lie: a damaged one sends the HDF5 library round in circles for ever.

A heap is `GCOL`, version 1, three zeros, its size in eight bytes; then objects of number (2 bytes), references (2),
zero (4), size (8) and content, padded to eight bytes. Number 0 is the free rest, whose size counts its own head.
"""

from __future__ import annotations

import mmap
import struct
from functools import lru_cache
from pathlib import Path

from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.flat import stamp

_BEGIN = b"GCOL\x01\0\0\0"
_HEAD = struct.Struct("<HHIQ")
_WHOLE, _END = 1 << 28, 1 << 26
"""Files up to so many bytes are searched to the bottom, larger ones at both ends."""


def refuse_endless(path: Path) -> None:
    """Refuse a file with a heap that does not end.

    Raises:
        InputError: it is damaged.
        OSError: it cannot be read.
    """
    at = _endless(path, *(int(str(value)) for value in stamp(path).values()))
    if at >= 0:
        raise damaged(path, f"heap of strings at byte {at}")


@lru_cache(maxsize=64)
def _endless(path: Path, size: int, changed: int) -> int:
    """Position of the first heap that does not end; -1 if all do."""
    if size == 0:
        return -1
    regions = [(0, size)] if size <= _WHOLE else [(0, _END), (size - _END, size)]
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for low, high in regions:
            at = data.find(_BEGIN, low, high)
            while at >= 0:
                if not _ends(data, at, size):
                    return at
                at = data.find(_BEGIN, at + 16, high)
    return -1


def _ends(data: mmap.mmap, start: int, size: int) -> bool:
    """Whether a walk over the objects of a heap comes to its end."""
    if start + 16 > size:
        return True
    (length,) = struct.unpack_from("<Q", data, start + 8)
    end, at = min(start + length, size), start + 16
    while at + _HEAD.size <= end:
        number, _, _, content = _HEAD.unpack_from(data, at)
        step = content if number == 0 else _HEAD.size + (content + 7) // 8 * 8
        if step == 0 or at + step > start + length:
            return False
        at += step
    return True
