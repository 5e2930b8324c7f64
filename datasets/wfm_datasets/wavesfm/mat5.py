"""Matrices and plain fields out of a MATLAB v5 file (also v6 and v7).

scipy reads these files too, but a few flipped bytes crash it together with the interpreter. Here every length is
checked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged

_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC = range(6, 16)
"""Classes of plain matrices: double, single and the integers."""
_STRUCT, _CHAR, _OPAQUE = 2, 4, 17
_COMPLEX = 0x0800
_HEAD = 1 << 10
"""Bytes that hold the description of a matrix, before its numbers."""
_FIELDS = 1 << 20
"""Bytes of a struct that are looked at for plain fields."""
Bytes = bytes | memoryview


@dataclass(frozen=True)
class Matrix:
    """A variable and where its numbers begin."""

    name: str
    shape: tuple[int, ...]
    real: bool
    """Whether it is a plain real matrix of numbers."""
    body: Bytes
    """The element from its array flags on, or the beginning of it."""
    numbers: int
    """Position of the numbers in the body."""
    order: str
    kind: int = 0
    """MATLAB's class: 6 double, 7 single, 8 int8 ... 2 struct, 17 an object."""
    complex: bool = False
    """Whether imaginary numbers follow the real ones."""
    at: int = -1
    """Position of the body in the file; -1 where it is compressed."""
    packed: int = 0
    """Bytes of the compressed element."""


@dataclass(frozen=True)
class Opaque:
    """A value that only MATLAB reads, such as a `string` or `datetime`."""

    type: str


@dataclass(frozen=True)
class Stored:
    """Where the numbers of a part (real or imaginary) lie in a body, and their type."""

    dtype: np.dtype[Any]
    start: int
    size: int


def variables(path: Path, whole: str | None = None) -> dict[str, Matrix]:
    """The variables of a file; the numbers are unpacked only of the one called `whole`.

    Raises:
        InputError: the file is of another version, or damaged.
    """
    try:
        mapped: Any = np.memmap(path, np.uint8, "r")
        data = memoryview(mapped)
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
    part = parts(path, matrix)[0]
    values = np.frombuffer(matrix.body, part.dtype, part.size // part.dtype.itemsize, part.start)
    return values.reshape(matrix.shape, order="F").astype(np.float64)


def parts(path: Path, matrix: Matrix) -> list[Stored]:
    """Where the real and, if there are any, the imaginary numbers of a matrix lie in its body.

    Raises:
        InputError: damaged.
    """
    made, at = [], matrix.numbers
    count = int(np.prod(matrix.shape, dtype=np.float64))
    try:
        for _ in range(2 if matrix.complex else 1):
            kind, start, size = _tag(matrix.body, at, matrix.order)
            dtype = np.dtype(matrix.order + _TYPES[kind])
            if size != count * dtype.itemsize or start + size > len(matrix.body):
                raise ValueError(f"{matrix.name} has {min(size, len(matrix.body) - start)} bytes for {count} numbers")
            made.append(Stored(dtype, start, size))
            at = _padded(start + size)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise damaged(path, error) from None
    return made


def fields(path: Path, name: str) -> dict[str, float | str | Opaque]:
    """The plain fields (one number, a line of text, or an object) of the struct called `name`.

    Raises:
        InputError: damaged.
    """
    matrix = variables(path, name)[name]
    if matrix.kind != _STRUCT or matrix.shape != (1, 1):
        return {}
    body, order = matrix.body, matrix.order
    made: dict[str, float | str | Opaque] = {}
    try:
        _, start, size = _tag(body, matrix.numbers, order)
        width = int(np.frombuffer(body, order + "i4", 1, start)[0])
        _, start, size = _tag(body, _padded(start + size), order)
        if width < 1:
            raise ValueError(f"{name} has field names of {width} bytes")
        raw = bytes(body[start : start + size])
        at = _padded(start + size)
        for low in range(0, len(raw), width):
            _, start, size = _tag(body, at, order)
            if start + size > len(body):
                break  # beyond what is looked at
            at = start + size
            value = _plain(body[start:at], order) if size else None
            if value is not None:
                made[raw[low : low + width].split(b"\0")[0].decode("ascii", "replace")] = value
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise damaged(path, error) from None
    return made


def _plain(body: Bytes, order: str) -> float | str | Opaque | None:
    """One number, a line of text or the type of an object; None for anything else."""
    matrix = _matrix(body, order)
    if matrix.kind == _OPAQUE:
        _, start, size = _tag(body, matrix.numbers, order)
        _, start, size = _tag(body, _padded(start + size), order)
        return Opaque(bytes(body[start : start + size]).decode("ascii", "replace"))
    kind, start, size = _tag(body, matrix.numbers, order)
    if matrix.kind == _CHAR:
        codec = {16: "utf-8", 17: "utf-16", 4: "utf-16", 2: "latin1", 1: "latin1"}[kind]
        codec += {"<": "-le", ">": "-be"}[order] if codec == "utf-16" else ""
        return bytes(body[start : start + size]).decode(codec, "replace")
    if not matrix.real or matrix.shape != (1, 1):
        return None
    return float(np.frombuffer(body, order + _TYPES[kind], 1, start)[0])


def _matrices(path: Path, data: memoryview, whole: str | None) -> Iterator[Matrix]:
    if bytes(data[:10]).startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise InputError(f"{path}: is MATLAB v7.3, expected v5", "save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
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
            yield replace(_matrix(body, order), at=start)
        else:
            raise ValueError(f"an element of type {kind}")


def _unpacked(packed: Bytes, order: str, whole: str | None) -> Matrix:
    """The matrix in a compressed element; the numbers are left out unless it is the one called `whole`."""
    head = _matrix(zlib.decompressobj().decompress(packed, _HEAD)[8:], order)
    if head.name != whole:
        return replace(head, packed=len(packed))
    count = int(np.prod(head.shape, dtype=np.float64))
    most = _FIELDS if head.kind == _STRUCT else 8 * (count * (2 if head.complex else 1) + _HEAD)
    return replace(_matrix(zlib.decompressobj().decompress(packed, most)[8:], order), packed=len(packed))


def _matrix(body: Bytes, order: str) -> Matrix:
    """Array flags, shape and name."""
    _, start, _ = _tag(body, 0, order)
    flags = int.from_bytes(body[start : start + 4], "little" if order == "<" else "big")
    class_ = flags & 0xFF
    if class_ == _OPAQUE:  # has no shape
        _, begin, length = _tag(body, 16, order)
        name = bytes(body[begin : begin + length]).decode("ascii", "replace")
        return Matrix(name, (), False, body, _padded(begin + length), order, class_)
    kind, start, size = _tag(body, 16, order)
    if kind != 5 or size % 4 or not 8 <= size <= 128:
        raise ValueError("a variable without a shape")
    shape = tuple(int(n) for n in np.frombuffer(body, order + "i4", size // 4, start))
    if min(shape) < 0 or np.prod(shape, dtype=np.float64) > 1 << 28:
        raise ValueError(f"a variable of shape {shape}")
    _, begin, length = _tag(body, _padded(start + size), order)
    name = bytes(body[begin : begin + length]).decode("ascii", "replace")
    complex_ = bool(flags & _COMPLEX)
    real = class_ in _NUMERIC and not complex_
    return Matrix(name, shape, real, body, _padded(begin + length), order, class_, complex_ and class_ in _NUMERIC)


def _tag(data: Bytes, at: int, order: str) -> tuple[int, int, int]:
    """Type of an element, position and number of its bytes."""
    if at + 8 > len(data):
        raise ValueError("it ends early")
    first, second = (int(n) for n in np.frombuffer(data, order + "u4", 2, at))
    if first >> 16:  # up to four bytes lie in the tag itself
        return first & 0xFFFF, at + 4, first >> 16
    return first, at + 8, second


def _padded(at: int) -> int:
    return -(-at // 8) * 8
