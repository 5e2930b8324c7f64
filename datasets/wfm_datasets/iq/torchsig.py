"""Signals in the HDF5 files of TorchSig, whichever version wrote them.

packed (2.2)       /schema (JSON), records, shapes, metadata ...; samples of all signals in one stream for each type
homogeneous (2.2)  data (n, ...), metadata (n,) JSON, components beside
indexed (2.1)      index/<i> -> key, data/<key>, metadata/<key>/<field>, component_signals/<key>
grouped (2.0)      <i>/data, <i>/metadata/<k>/<field>
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.hdf5 import Index, Reach, read_array
from wfm_datasets.iq.hdf5_files import dataset, group
from wfm_datasets.iq.recording import Recording

Meta = Mapping[str, Any]
FEATURES = frozenset({"mixed_dtypes", "variable_shapes", "component_signals", "hierarchical_metadata"})
"""What a packed file may require of its reader."""
FIELDS = (
    "class_name", "snr_db", "sample_rate", "center_freq", "bandwidth", "start_in_samples", "duration_in_samples",
)  # fmt: skip
_ENCODING = {"name": "torchsig-json", "version": 1}
_RECORD = (
    "data_offset", "data_length", "dtype_id", "shape_offset", "shape_count", "component_offset", "component_count",
    "parent_id",
)  # fmt: skip
_MOST_HEADER = 1 << 16
"""Bytes of the header of an .npy."""


@dataclass(frozen=True)
class Signal:
    """What the file says of one top-level signal."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    meta: Meta
    """Some of `FIELDS`."""
    components: tuple[Meta, ...] = field(default=())


class Lines:
    """The strings of a dataset, read in blocks."""

    def __init__(self, made: h5py.Dataset) -> None:
        self._made = made
        self._block = lru_cache(maxsize=16)(lambda number: made[number * 1024 : (number + 1) * 1024])

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, at: int) -> bytes | str:
        line: bytes | str = self._block(at // 1024)[at % 1024]
        return line


@dataclass(frozen=True)
class Packed:
    """The tables of a packed file, checked against each other."""

    records: NDArray[Any]
    shapes: NDArray[np.uint64]
    index: NDArray[np.int64]
    streams: tuple[h5py.Dataset, ...]
    paths: Mapping[str, str]
    no_parent: int

    def shape(self, record: int) -> tuple[int, ...]:
        """Shape of a signal."""
        row = self.records[record]
        low = int(row["shape_offset"])
        return tuple(int(n) for n in self.shapes[low : low + int(row["shape_count"])])


def packed(path: Path, file: h5py.File) -> Packed:
    """The tables of a packed file.

    Raises:
        InputError: a newer or unfinished file, or tables that contradict each other.
    """
    schema = _schema(path, file)
    if not bool(file.attrs.get("complete", False)):
        raise InputError(f"{path}: was not finished by its writer (complete is False)", "write the data set again")
    wanted = schema["datasets"]
    paths = {name: str(wanted[name]["path"]) for name in wanted}
    columns = wanted["records"]["fields"]
    table = dataset(file, paths["records"], table=True)[()]
    records = np.empty(len(table), [(name, np.int64) for name in _RECORD])
    for name in _RECORD:
        records[name] = table[columns[name]].astype(np.int64)  # the sentinel 2^64 - 1 becomes -1
    count = len(group(file, paths["data"]))
    streams = tuple(dataset(file, f"{paths['data']}/{number}") for number in range(count))
    made = Packed(
        records,
        dataset(file, paths["shapes"], table=True)[()],
        dataset(file, paths["index"], table=True)[()].astype(np.int64),
        streams,
        paths,
        int(np.array(schema["sentinels"]["no_parent"], np.uint64).astype(np.int64)),
    )
    _check_packed(path, made)
    return made


def _schema(path: Path, file: h5py.File) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = json.loads(dataset(file, "schema", table=True)[()])
        features = set(schema["required_features"])
        major = schema["schema_major"]
        encodings = [schema["datasets"][name]["encoding"] for name in ("metadata", "parent_metadata")]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, f"schema: {error}") from None
    known = (schema.get("format"), major) == ("torchsig-packed", 1)
    unknown = sorted(str(name) for name in features - FEATURES)
    encodings = [f"encoding {item}" for item in encodings if item != _ENCODING]
    if not known or unknown or encodings:
        what = ", ".join(unknown or encodings) or f"{schema.get('format')} {major}"
        raise InputError(f"{path}: needs a newer reader ({what})", "write it with TorchSig 2.2, packed schema 1.0")
    return schema


def _check_packed(path: Path, made: Packed) -> None:
    """Refuse references that leave their tables."""
    rows, count = made.records, len(made.records)
    if len(made.index) and (made.index.min() < 0 or made.index.max() >= count):
        raise damaged(path, f"index names a record beyond {count}")
    place, rank = rows["shape_offset"], rows["shape_count"]
    if np.any(place < 0) or np.any(place > len(made.shapes)) or np.any(place + rank > len(made.shapes)):
        raise damaged(path, "records name shapes that are not there")
    if np.any(rows["dtype_id"] < 0) or np.any(rows["dtype_id"] >= len(made.streams)):
        raise damaged(path, "records name a stream that is not there")
    length = np.array([len(stream) for stream in made.streams], np.int64)[rows["dtype_id"]]
    low, size = rows["data_offset"], rows["data_length"]
    if np.any(low < 0) or np.any(size < 0) or np.any(size > length) or np.any(low > length - size):
        raise damaged(path, "records reach beyond the samples")


def packed_signals(path: Path, file: h5py.File) -> Iterator[Signal]:
    """Every top-level signal of a packed file, in order."""
    made = packed(path, file)
    metadata, parents = (Lines(dataset(file, made.paths[name], table=True)) for name in ("metadata", "parent_metadata"))
    above = dataset(file, made.paths["parent_records"], table=True)[()]["parent_id"].astype(np.int64)
    links = dataset(file, made.paths["components"], table=True)[()].astype(np.int64)
    if len(metadata) != len(made.records) or len(parents) != len(above):
        raise damaged(path, "records and metadata are not equally many")

    @lru_cache(maxsize=4096)
    def inherited(parent: int) -> dict[str, Any]:
        chain: list[int] = []
        while parent != made.no_parent:
            if not 0 <= parent < len(above) or parent in chain:
                raise damaged(path, f"parent {parent} is not there, or its own ancestor")
            chain.append(parent)
            parent = int(above[parent])
        return {key: value for at in reversed(chain) for key, value in decode(path, parents[at]).items()}

    def meta(record: int) -> dict[str, Any]:
        return inherited(int(made.records[record]["parent_id"])) | decode(path, metadata[record])

    if int(made.records["component_count"][made.index].clip(0).astype(np.float64).sum()) > len(links):
        raise damaged(path, "records share components")
    for record in made.index.tolist():
        row = made.records[record]
        low, count = int(row["component_offset"]), int(row["component_count"])
        children = links[low : low + count]
        if low < 0 or len(children) != count or np.any(children < 0) or np.any(children >= len(made.records)):
            raise damaged(path, f"record {record} has components that are not there")
        stream, shape = made.streams[int(row["dtype_id"])], made.shape(record)
        if math.prod(shape) != int(row["data_length"]):
            raise damaged(path, f"record {record} of shape {shape} has {int(row['data_length'])} numbers")
        components = tuple(meta(int(child)) for child in children)
        yield Signal(shape, stream.dtype, meta(record), components)


def homogeneous_signals(path: Path, file: h5py.File) -> Iterator[Signal]:
    """Every signal of a homogeneous file, in order."""
    if int(file.attrs.get("schema_version", 0)) != 1:
        raise InputError(
            f"{path}: needs a newer reader (schema {file.attrs.get('schema_version')})", "expected schema 1"
        )
    if not bool(file.attrs.get("complete", False)):
        raise InputError(f"{path}: was not finished by its writer (complete is False)", "write the data set again")
    data, metadata = dataset(file, "data"), Lines(dataset(file, "metadata", table=True))
    ends, below = (
        dataset(file, "component_offsets", table=True)[()].astype(np.int64),
        Lines(dataset(file, "component_metadata", table=True)),
    )
    if len(metadata) != len(data) or len(ends) != len(data) + 1 or np.any(np.diff(ends) < 0) or ends[-1] > len(below):
        raise damaged(path, "signals, metadata and components are not equally many")
    for number in range(len(data)):
        children = tuple(decode(path, below[at]) for at in range(int(ends[number]), int(ends[number + 1])))
        yield Signal(data.shape[1:], data.dtype, decode(path, metadata[number]), children)


def decode(path: Path, text: bytes | str) -> dict[str, Any]:
    """The scalars among `FIELDS` in one entry of TorchSig's JSON metadata.

    Raises:
        InputError: no such JSON.
    """
    try:
        entry = json.loads(text)
        items = entry.get("items", entry)
        return {name: _plain(items[name]) for name in FIELDS if name in items}
    except (ValueError, TypeError, AttributeError, RecursionError, EOFError) as error:
        raise damaged(path, f"metadata: {error}") from None


def _plain(value: Any) -> Any:
    """A number or a word; None for anything larger."""
    if not isinstance(value, dict):
        return value if isinstance(value, str | float | int) else None
    if value.get("__torchsig_type__") != "ndarray":
        return None
    stream = BytesIO(base64.b64decode(value["data"]))
    shape, _, dtype = npy_header(stream)
    if shape not in ((), (1,)) or dtype.kind not in "fiub":
        return None
    return np.frombuffer(stream.read(), dtype, 1)[0].item()


def npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of an array in .npy form; the stream stands before its numbers.

    Raises:
        ValueError: no such array.
    """
    form: Any = np.lib.format  # its functions have no types
    begin = stream.tell()
    head = BytesIO(stream.read(_MOST_HEADER))  # whatever length a damaged header claims
    try:
        read = form.read_array_header_1_0 if form.read_magic(head) == (1, 0) else form.read_array_header_2_0
        shape, fortran, dtype = read(head)
    except (TokenError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"header: {error}") from None
    stream.seek(begin + head.tell())
    return shape, fortran, dtype


def locate_packed(file: h5py.File, recording: Recording) -> Reach:
    """Windows of those signals of a packed file that have the recording's length and type."""
    layout = cast("dict[str, Any]", recording.layout)
    made = packed(recording.path, file)
    rows = made.records[made.index[np.array(layout["signals"], np.int64)]] if layout.get("signals") else None
    rows = made.records[made.index] if rows is None else rows
    stream = made.streams[int(rows["dtype_id"][0])]
    planar, offsets, samples = bool(layout.get("planar")), rows["data_offset"], recording.samples

    def reach(examples: Index, starts: Index, length: int) -> NDArray[Any]:
        at = offsets[examples] + starts
        zero = np.zeros_like(at)
        if not planar:
            return read_array(stream, ("time",), zero, at, length)
        real, imag = (read_array(stream, ("time",), zero, at + shift, length) for shift in (0, samples))
        return real + np.complex64(1j) * imag

    return reach
