"""One real matrix out of a MATLAB v5 file.

scipy reads these files too, but a few flipped bytes crash it together with the interpreter. Here every length is
checked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged

_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC = range(6, 16)
"""Classes of plain matrices: double, single and the integers."""
_COMPLEX = 0x0800
_HEAD = 1 << 10
"""Bytes that hold the description of a matrix, before its numbers."""


@dataclass(frozen=True)
class Matrix:
    """A variable and where its numbers begin."""

    name: str
    shape: tuple[int, ...]
    real: bool
    """Whether it is a plain real matrix of numbers."""
    body: bytes
    """The element from its array flags on, or the beginning of it."""
    numbers: int
    """Position of the numbers in the body."""
    order: str


def variables(path: Path, whole: str | None = None) -> dict[str, Matrix]:
    """The variables of a file; the numbers are unpacked only of the one called `whole`.

    Raises:
        InputError: the file is of another version, or damaged.
    """
    try:
        data = path.read_bytes()
        return {matrix.name: matrix for matrix in _matrices(path, data, whole)}
    except (ValueError, IndexError, OverflowError, zlib.error, MemoryError) as error:
        raise damaged(path, error) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from None


def read_matrix(path: Path, name: str) -> NDArray[np.float64]:
    """The numbers of one variable, in its own shape.

    Raises:
        InputError: damaged, or there is no such real matrix.
    """
    matrix = variables(path, name).get(name)
    if matrix is None or not matrix.real:
        raise InputError(f"{path}: {name} is no real matrix", "get the original file")
    try:
        kind, start, size = _tag(matrix.body, matrix.numbers, matrix.order)
        dtype = np.dtype(matrix.order + _TYPES[kind])
        count = int(np.prod(matrix.shape, dtype=np.float64))
        if size != count * dtype.itemsize or start + size > len(matrix.body):
            raise ValueError(f"{name} has {min(size, len(matrix.body) - start)} bytes for {count} numbers")
        values = np.frombuffer(matrix.body, dtype, count, start)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise damaged(path, error) from None
    return values.reshape(matrix.shape, order="F").astype(np.float64)


def _matrices(path: Path, data: bytes, whole: str | None) -> Iterator[Matrix]:
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise InputError(f"{path}: is MATLAB v7.3, expected v5", "save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("no header of MATLAB v5")
    at = 128
    while at < len(data):
        kind, start, size = _tag(data, at, order)
        if start + size > len(data):
            raise ValueError(f"it ends {start + size - len(data)} bytes early")
        at = start + size
        body = data[start:at]
        if kind == _COMPRESSED:
            yield _unpacked(body, order, whole)
        elif kind == _MATRIX:
            yield _matrix(body, order)
        else:
            raise ValueError(f"an element of type {kind}")


def _unpacked(packed: bytes, order: str, whole: str | None) -> Matrix:
    """The matrix in a compressed element; the numbers are left out unless it is the one called `whole`."""
    head = _matrix(zlib.decompressobj().decompress(packed, _HEAD)[8:], order)
    if head.name != whole:
        return head
    body = zlib.decompressobj().decompress(packed, 8 * (int(np.prod(head.shape, dtype=np.float64)) + _HEAD))[8:]
    return _matrix(body, order)


def _matrix(body: bytes, order: str) -> Matrix:
    """Array flags, shape and name."""
    _, start, _ = _tag(body, 0, order)
    flags = int.from_bytes(body[start : start + 4], "little" if order == "<" else "big")
    kind, start, size = _tag(body, 16, order)
    if kind != 5 or size % 4 or not 8 <= size <= 128:
        raise ValueError("a variable without a shape")
    shape = tuple(int(n) for n in np.frombuffer(body, order + "i4", size // 4, start))
    if min(shape) < 0 or np.prod(shape, dtype=np.float64) > 1 << 28:
        raise ValueError(f"a variable of shape {shape}")
    _, begin, length = _tag(body, _padded(start + size), order)
    name = body[begin : begin + length].decode("ascii", "replace")
    real = flags & 0xFF in _NUMERIC and not flags & _COMPLEX
    return Matrix(name, shape, real, body, _padded(begin + length), order)


def _tag(data: bytes, at: int, order: str) -> tuple[int, int, int]:
    """Type of an element, position and number of its bytes."""
    if at + 8 > len(data):
        raise ValueError("it ends early")
    first, second = (int(n) for n in np.frombuffer(data, order + "u4", 2, at))
    if first >> 16:  # up to four bytes lie in the tag itself
        return first & 0xFFFF, at + 4, first >> 16
    return first, at + 8, second


def _padded(at: int) -> int:
    return -(-at // 8) * 8
