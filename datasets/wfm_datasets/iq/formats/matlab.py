"""MATLAB files of versions 5 to 7; version 7.3 is HDF5. Told apart by bytes, never by the text of the header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq import hdf5, hdf5_files
from wfm_datasets.iq.axes import looks_like_samples, matlab
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.memory import LIMIT_BYTES
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.variables import choose, describe, hidden
from wfm_datasets.wavesfm import mat5
from wfm_datasets.wavesfm.mat5 import Matrix

_INFLATION = 100
"""More than so many bytes out of one compressed byte are no recording."""
_NUMERIC = range(6, 14)
"""MATLAB's classes double, single and 8 to 32-bit integers."""
_CLASS = {6: "double", 7: "single", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32"}
_CODE = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}


def recognise(path: Path, head: bytes) -> bool:
    """MATLAB's header, or the suffix alone (a damaged or very old file)."""
    return not hdf5_files.is_hdf5(head) and (
        head[124:128] in (b"\x00\x01IM", b"\x01\x00MI") or path.suffix.lower() == ".mat"
    )


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The one variable with I/Q samples, or the one that `options.variable` names.

    Raises:
        InputError: damaged, version 4, no or several such variables, or an ambiguous shape.
    """
    with path.open("rb") as stream:
        head = stream.read(128)
    if head[126:128] not in (b"IM", b"MI"):
        raise InputError(f"{path}: neither MATLAB v5, v7 nor v7.3 (version 4?)", "load it in MATLAB, save it with -v7")
    held = mat5.variables(path)
    candidates = [
        m.name for m in held.values() if m.complex and m.kind in _NUMERIC and looks_like_samples(m.shape, True)
    ]
    candidates = candidates or [
        m.name for m in held.values() if m.real and m.kind in _NUMERIC and looks_like_samples(m.shape, False)
    ]
    name = choose(path, candidates, [key for key in held if key], options.variable)
    matrix = held[name]
    if matrix.kind not in _NUMERIC or not (matrix.complex or matrix.real):
        raise InputError(f"{path}: {name} is no array of numbers", "choose another one with --variable NAME")
    axes = matlab(f"{path}: {name}", matrix.shape, matrix.complex, options.layout)
    count = math.prod(matrix.shape)
    _refuse_hollow(path, matrix, count)
    kind = str(hdf5_files.datatype(np.dtype(_CODE[matrix.kind])))
    said, notes = _described(path, held)
    counts = _CLASS[matrix.kind].endswith(("8", "16", "32"))
    if counts:
        bits = np.dtype(_CODE[matrix.kind]).itemsize * 8
        notes += (f"{name} holds {_CLASS[matrix.kind]} counts: divided by full scale, 2^{bits - 1}",)
    place = _flat(path, matrix, axes) or {
        "backend": "memory",
        "layout": {**stamp(path), "decoder": "matlab", "member": name, "axes": list(axes)},
    }
    return [describe(path, "MATLAB v5", kind, name, dict(zip(axes, matrix.shape, strict=True)), said, notes, place)]


def _refuse_hollow(path: Path, matrix: Matrix, count: int) -> None:
    """Compare what a variable declares with what there is, before it is unpacked."""
    size = count * (2 if matrix.complex else 1)
    if matrix.at < 0 and size > _INFLATION * matrix.packed:
        raise damaged(path, f"{matrix.name} declares {size} numbers in {matrix.packed} packed bytes")
    if matrix.at < 0 and size * 8 > LIMIT_BYTES:
        raise InputError(
            f"{path}: {matrix.name} unpacks to more than {LIMIT_BYTES >> 30} GiB", "save it with -v7.3, or with -v6"
        )
    if matrix.at >= 0:
        mat5.parts(path, matrix)


def _flat(path: Path, matrix: Matrix, axes: list[str]) -> dict[str, Any] | None:
    """Where an unpacked matrix can be mapped: one channel, or examples in columns, I and Q stored alike."""
    left = [axis for axis, size in zip(axes, matrix.shape, strict=True) if size > 1]
    if matrix.at < 0 or left not in (["time"], ["time", "example"]) or not matrix.complex:
        return None
    real, imag = mat5.parts(path, matrix)
    own = np.dtype(_CODE[matrix.kind]).newbyteorder(real.dtype.byteorder)
    if (real.dtype, imag.dtype) != (own, own) or own.byteorder == ">":
        return None
    samples = dict(zip(axes, matrix.shape, strict=True))["time"]
    layout: dict[str, JSON] = {
        **stamp(path),
        "offset": matrix.at + real.start,
        "plane_bytes": imag.start - real.start,
        "example_bytes": samples * own.itemsize,
    }
    return {"backend": "flat", "layout": layout}


def decode(recording: Recording) -> NDArray[np.complex64]:
    """Decoder `matlab`: a variable of a v5 file as (examples, channels, samples), integers divided by full scale.

    Raises:
        InputError: damaged.
    """
    layout = cast("dict[str, Any]", recording.layout)
    path, name = recording.path, str(layout["member"])
    matrix = mat5.variables(path, name).get(name)
    if matrix is None:
        raise damaged(path, f"{name} is gone")
    values = []
    for part in mat5.parts(path, matrix):
        numbers = np.frombuffer(matrix.body, part.dtype, part.size // part.dtype.itemsize, part.start)
        # Whole numbers of any class may be stored in a narrower type: only the class tells full scale.
        values.append(numbers.astype(_CODE[matrix.kind]).reshape(matrix.shape, order="F"))
    axes = list(layout["axes"])
    if matrix.complex:
        stacked, axes = np.stack(values, axis=-1), [*axes, "part"]
    else:
        stacked = values[0]
    return hdf5.unify(stacked, axes)


def _described(path: Path, held: Mapping[str, Matrix]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Plain values beside the samples: scalar variables and fields of structs; what only MATLAB reads is noted."""
    said: dict[str, Value] = {}
    objects = []
    for name, matrix in held.items():
        if matrix.kind == 2 and name:
            for key, value in mat5.fields(path, name).items():
                if isinstance(value, mat5.Opaque):
                    objects.append(f"{name}.{key} ({value.type})")
                else:
                    said[key] = value
        elif matrix.kind == 17 and name:
            objects.append(name)
        elif matrix.real and matrix.shape == (1, 1) and name:
            said[name] = float(mat5.read_matrix(path, name)[0, 0])
    return said, hidden(objects)
