"""Readers of one file of one sensor. Bad files are one line of error with the file's name."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.wavesfm.mat5 import parts, variables

_AGAIN = "copy or unpack this file again"
_LFS = b"version https://git-lfs"
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_HEADER = 1 << 16


def read_bytes(path: Path) -> bytes:
    """A file whole.

    Raises:
        InputError: it cannot be read, or is a Git LFS pointer.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "unpack the scenario again") from error
    if data.startswith(_LFS):
        raise InputError(f"{path}: a Git LFS pointer lies in place of the data", "fetch the real file (git lfs pull)")
    return data


def read_numbers(path: Path, count: int, what: str) -> NDArray[np.float64]:
    """Exactly `count` numbers of a text, separated by white space or commas; NaN is a number here.

    Raises:
        InputError: another number of them, or something else among them.
    """
    words = read_bytes(path).decode("latin-1").replace(",", " ").split()
    if len(words) != count:
        raise InputError(f"{path}: {len(words)} numbers, {what} has {count}", _AGAIN)
    try:
        return np.array(words, np.float64)
    except ValueError:
        raise InputError(f"{path}: holds something that is no number", _AGAIN) from None


def read_position(path: Path) -> NDArray[np.float64]:
    """Latitude and longitude in degrees, (2,) float64.

    Raises:
        InputError: not two such numbers.
    """
    place = read_numbers(path, 2, "a position (latitude, longitude)")
    if not np.isfinite(place).all() or abs(place[0]) > 90 or abs(place[1]) > 180:
        raise InputError(f"{path}: {place[0]:g}, {place[1]:g} is no latitude and longitude in degrees", _AGAIN)
    return place


def read_radar(path: Path) -> NDArray[np.complex64]:
    """A cube (antennas, samples, chirps): `.npy`, or the variable `data` of a `.mat`.

    Raises:
        InputError: damaged, not complex, or not three-dimensional.
    """
    try:
        cube = _variable(path, "data") if path.suffix == ".mat" else _npy(path)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: damaged or truncated ({' '.join(str(error).split())[:80]})", _AGAIN) from error
    if cube.ndim != 3 or not np.iscomplexobj(cube) or 0 in cube.shape:
        raise InputError(
            f"{path}: {cube.dtype} {cube.shape} is no radar cube", "expected complex (antennas, samples, chirps)"
        )
    cube = np.ascontiguousarray(cube, np.complex64)
    if not np.isfinite(cube.view(np.float32)).all():
        raise InputError(f"{path}: the radar cube holds NaN or infinity", _AGAIN)
    return cube


def _npy(path: Path) -> NDArray[Any]:
    import io

    made: NDArray[Any] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    return made


def _variable(path: Path, name: str) -> NDArray[Any]:
    """A matrix of a MATLAB file of version 5 to 7, in its own shape."""
    read_bytes(path)
    matrix = variables(path, name).get(name)
    if matrix is None:
        raise InputError(f"{path}: holds no variable {name}", _AGAIN)
    values = [
        np.frombuffer(matrix.body, part.dtype, part.size // part.dtype.itemsize, part.start).reshape(
            matrix.shape, order="F"
        )
        for part in parts(path, matrix)
    ]
    return values[0] + 1j * values[1] if len(values) == 2 else values[0]


def read_cloud(path: Path) -> NDArray[np.float64]:
    """Points (N, 3) in metres of a PLY file, ASCII or binary of either byte order.

    Raises:
        InputError: no PLY, damaged, or without x, y and z.
    """
    data = read_bytes(path)
    end = data[:_PLY_HEADER].find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise InputError(f"{path}: is no PLY file", _AGAIN)
    body = data[data.index(b"\n", end) + 1 :] if b"\n" in data[end:] else b""
    encoding, count, fields = _ply_header(path, data[:end].decode("latin-1"))
    names = [name for name, _ in fields]
    for name in "xyz":
        if name not in names:
            raise InputError(f"{path}: the vertices have no property {name}", f"they have {', '.join(names) or 'none'}")
    places = [names.index(name) for name in "xyz"]
    if encoding == "ascii":
        return _ply_ascii(path, body, count, len(fields))[:, places]
    order = "<" if encoding == "binary_little_endian" else ">"
    layout = np.dtype([(name, order + code) for name, code in fields])
    if len(body) < count * layout.itemsize:
        raise InputError(f"{path}: {len(body)} bytes of points, {count} of them need {count * layout.itemsize}", _AGAIN)
    table = np.frombuffer(body, layout, count)
    return np.stack([table[name].astype(np.float64) for name in "xyz"], 1)


def _ply_header(path: Path, text: str) -> tuple[str, int, list[tuple[str, str]]]:
    """Encoding, number of vertices, and name and type code of their properties."""
    encoding, count, fields, element = "", -1, [], ""
    for line in text.splitlines():
        words = line.split()
        match words:
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as encoding, _]:
                pass
            case ["element", element, number] if number.isdigit():
                if element == "vertex":
                    count = int(number)
                elif count < 0:
                    raise InputError(
                        f"{path}: element {element} stands before the vertices", "write the vertices first"
                    )
            case ["property", kind, name] if element == "vertex" and kind in _PLY_TYPES:
                fields.append((name, _PLY_TYPES[kind]))
            case ["property", *_] if element == "vertex":
                raise InputError(f"{path}: vertex property '{' '.join(words[1:])}' is not a number", _AGAIN)
    if not encoding or count < 0:
        raise InputError(f"{path}: its header names no format or no vertices", _AGAIN)
    if len({name for name, _ in fields}) < len(fields):
        raise InputError(f"{path}: a vertex property occurs twice", _AGAIN)
    return encoding, count, fields


def _ply_ascii(path: Path, body: bytes, count: int, width: int) -> NDArray[np.float64]:
    if len(body) < 2 * count * width - 1:
        raise InputError(f"{path}: {len(body)} bytes of text are too few for {count} points", _AGAIN)
    words = body.split(maxsplit=count * width)[: count * width]
    try:
        if len(words) < count * width:
            raise ValueError
        return np.array(words, np.float64).reshape(count, width)
    except ValueError:
        raise InputError(f"{path}: {count} points of {width} numbers are announced, others follow", _AGAIN) from None


def read_image(path: Path, size: int) -> NDArray[np.uint8]:
    """(3, size, size) uint8 RGB, resized bilinearly with antialiasing.

    Raises:
        InputError: no image, or a truncated one.
    """
    from PIL import Image, UnidentifiedImageError

    read_bytes(path)
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombWarning,
            Image.DecompressionBombError) as error:  # fmt: skip
        raise InputError(f"{path}: is no whole image ({' '.join(str(error).split())[:80]})", _AGAIN) from error
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
