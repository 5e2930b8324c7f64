"""NumPy's .npy and .npz: mapped where the samples lie in a row, decoded into memory elsewhere; never pickles."""

from __future__ import annotations

import ast
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq import arrays, memory
from wfm_datasets.iq.containers import DECODING
from wfm_datasets.iq.datatypes import sample_type
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.sniff import examine

_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 1 << 16
_MOST_MEMBERS = 4096
_LABELS = frozenset(("label", "labels", "y", "mod", "mods", "modulation", "class", "classes", "target", "targets"))
_NAMES = {"snr": "snr_db", "snrs": "snr_db", "z": "snr_db"}


@dataclass(frozen=True)
class _Array:
    """The header of one .npy."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    data: int
    """First byte of the numbers."""

    @property
    def bytes(self) -> int:
        """Size of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def recognise(path: Path, head: bytes) -> bool:
    """By the first bytes; ZIP archives by their suffix as well."""
    return head.startswith(_MAGIC) or (head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".npz")


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """One recording of an .npy, one for each array of I/Q of an .npz.

    Raises:
        InputError: damaged, pickled objects, or no array of I/Q by the rule of `arrays.plan`.
    """
    with path.open("rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            stream.seek(0)
            array = _header(stream, str(path))
            if array.data + array.bytes > path.stat().st_size:
                raise damaged(path, f"{path.stat().st_size} bytes, {array.data + array.bytes} by its header")
            return [_recording(path, array, path.stem, 0, None, options, str(path))]
    try:
        with zipfile.ZipFile(path) as archive:
            return _archive(path, archive, options)
    except DECODING as error:
        raise damaged(path, error) from None


def _archive(path: Path, archive: zipfile.ZipFile, options: ReadOptions) -> list[Recording]:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()[:_MOST_MEMBERS]}
    headers: dict[str, _Array] = {}
    for name, entry in entries.items():
        if entry.filename.endswith(".npy"):
            with archive.open(entry) as stream:
                try:
                    array = _header(cast("BinaryIO", stream), f"{path}: {name}")
                except InputError:
                    if name == options.variable:
                        raise
                    continue  # pickled objects beside the samples
            if array.data + array.bytes != entry.file_size:
                raise damaged(path, f"{name} has {entry.file_size} bytes, {array.data + array.bytes} by its header")
            headers[name] = array
    if options.variable is not None and options.variable not in headers:
        raise InputError(f"{path}: has no array {options.variable!r}", f"arrays: {', '.join(headers) or 'none'}")
    chosen = [options.variable] if options.variable is not None else _candidates(headers, options)
    if not chosen:
        have = ", ".join(f"{name} {array.shape}" for name, array in headers.items()) or "none"
        raise InputError(
            f"{path}: no array of I/Q (arrays: {have})", "name one with --variable, and its layout with --layout"
        )
    made = [_member(path, archive, entries[name], headers[name], name, options) for name in chosen]
    single = len(made) == 1
    return [
        replace(
            recording,
            name=path.stem if single else f"{path.stem}#{name}",
            columns=_columns(path, archive, entries, headers, recording),
        )
        for name, recording in made
    ]


def _candidates(headers: Mapping[str, _Array], options: ReadOptions) -> list[str]:
    """Arrays that may be I/Q: complex ones where there are any; no table of pairs beside larger arrays."""
    fits = []
    for name, array in headers.items():
        try:
            arrays.plan(array.shape, array.dtype, options.layout, name)
        except InputError:
            continue
        fits.append(name)
    kept = [name for name in fits if headers[name].dtype.kind in "cV"]
    kept = kept or [name for name in fits if len(headers[name].shape) > 2]
    return kept or fits


def _member(
    path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, array: _Array, name: str, options: ReadOptions
) -> tuple[str, Recording]:
    place = _place(path, entry) if entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1 else None
    return name, _recording(path, array, f"{path.stem}#{name}", place, name, options, f"{path}: {name}")


def _place(path: Path, entry: zipfile.ZipInfo) -> int | None:
    """First byte of a member that is stored as it is."""
    with path.open("rb") as stream:
        stream.seek(entry.header_offset)
        local = stream.read(30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise damaged(path, f"{entry.filename} is not where the index says")
    place = entry.header_offset + 30 + sum(struct.unpack_from("<HH", local, 26))
    return place if place + entry.file_size <= path.stat().st_size else None


def _recording(
    path: Path, array: _Array, name: str, place: int | None, member: str | None, options: ReadOptions, what: str
) -> Recording:
    made = arrays.plan(array.shape, array.dtype, options.layout, what)
    half = array.dtype.kind == "f" and array.dtype.itemsize == 2
    part_bytes = sample_type(made.datatype).part_bytes
    flat = None if place is None or half else arrays.flat_layout(made, part_bytes, array.fortran, place + array.data)
    layout: dict[str, JSON] = {**stamp(path)}
    if flat is not None:
        layout |= flat
        if made.q_first:
            layout["order"] = "qi"
    else:
        if array.bytes > memory.LIMIT_BYTES:
            raise InputError(
                f"{what}: {array.bytes} bytes must be decoded into memory", "save it in C order, uncompressed"
            )
        layout |= {"decoder": "numpy", "member": member, "read_as": options.layout}
    recording = Recording(
        name=name,
        path=path,
        format="NumPy",
        datatype=made.datatype,
        samples=made.size("time"),
        channels=made.size("channel"),
        examples=made.size("example"),
        origin={"datatype": "array", "layout": "shape of the array" if options.layout == "auto" else "--layout"},
        notes=("real numbers: the imaginary part is zero",) if made.datatype.startswith("r") else (),
        backend="memory" if flat is None else "flat",
        layout=layout,
    )
    return examine(recording, certain=True)


def decode(recording: Recording) -> NDArray[np.complex64]:
    """Decoder `numpy`: all samples of an array, (examples, channels, time).

    Raises:
        InputError: damaged, or larger than `memory.LIMIT_BYTES`.
    """
    path, member = recording.path, recording.layout.get("member")
    what = str(path) if member is None else f"{path}: {member}"
    try:
        if member is None:
            with path.open("rb") as stream:
                content = memory.read_limited(stream, what)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as packed:
                content = memory.read_limited(cast("BinaryIO", packed), what)
    except KeyError:
        raise damaged(path, f"holds no {member}") from None
    except DECODING as error:
        raise damaged(path, error) from None
    array = _header(io.BytesIO(content[: _MOST_HEADER + 16].tobytes()), what)
    layout = cast("arrays.Layout", recording.layout.get("read_as", "auto"))
    return arrays.arrange(_values(content, array, what), arrays.plan(array.shape, array.dtype, layout, what))


def _values(content: NDArray[np.uint8], array: _Array, what: str) -> NDArray[Any]:
    if len(content) < array.data + array.bytes:
        raise InputError(f"{what}: damaged or truncated", "copy or download this file again")
    values = content[array.data : array.data + array.bytes].view(array.dtype)
    return values.reshape(array.shape, order="F" if array.fortran else "C")


def _columns(
    path: Path,
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    headers: Mapping[str, _Array],
    recording: Recording,
) -> dict[str, NDArray[Any]]:
    """Other arrays with one string or number for every example."""
    made: dict[str, NDArray[Any]] = {}
    if recording.examples < 2:
        return made
    for name, array in headers.items():
        sizes = array.shape[:-1] if array.shape[1:] == (1,) else array.shape
        if sizes != (recording.examples,) or array.dtype.kind not in "fiuUS" or array.bytes > memory.LIMIT_BYTES:
            continue
        with archive.open(entries[name]) as stream:
            content = memory.read_limited(cast("BinaryIO", stream), f"{path}: {name}")
        values = _values(content, array, f"{path}: {name}").reshape(-1)
        text = np.char.decode(values, "latin1") if values.dtype.kind == "S" else values
        key = "label" if name.lower() in _LABELS else _NAMES.get(name.lower(), name)
        made[key] = text.astype(str) if key == "label" else text
    return made


def _header(stream: BinaryIO, what: str) -> _Array:
    """Shape, type and order; the numbers are not read.

    Raises:
        InputError: no .npy, damaged, or pickled objects.
    """
    try:
        head = stream.read(12)
        if len(head) < 12 or head[:6] != _MAGIC or head[6] not in (1, 2, 3):
            raise ValueError("no header of NumPy")
        size, start = (struct.unpack_from("<H", head, 8)[0], 10) if head[6] == 1 else (
            struct.unpack_from("<I", head, 8)[0], 12
        )  # fmt: skip
        if size > _MOST_HEADER:
            raise ValueError(f"a header of {size} bytes")
        text = (head[start:] + stream.read(size - (12 - start))).decode("latin1" if head[6] < 3 else "utf-8")
        described = ast.literal_eval(text.strip())
        shape, fortran = described["shape"], described["fortran_order"]
        make_dtype: Any = np.lib.format.descr_to_dtype
        dtype = cast("np.dtype[Any]", make_dtype(described["descr"]))
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
            raise ValueError(f"shape {shape}")
    except (
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        IndexError,
        MemoryError,
        RecursionError,
        struct.error,
    ) as error:
        raise InputError(f"{what}: damaged or truncated ({' '.join(str(error).split())})", "copy it again") from None
    if dtype.hasobject:
        raise InputError(f"{what}: holds pickled Python objects, which may run any program", "save plain arrays")
    return _Array(shape, dtype, bool(fortran), start + size)
