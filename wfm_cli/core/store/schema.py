"""What a store is on disk: array descriptions, how rows are cut into shards and chunks, and the Zarr v3 metadata.

Every array is sample-major. A *shard* is one file of `rows_per_shard` whole rows; inside it the rows are cut into inner
*chunks* of `rows_per_chunk` rows (the unit of decoding and of checksums). One *part* of a build is one shard of every
array that the builder makes, so all of these share `rows_per_shard`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

FORMAT = "wfm-store"
FORMAT_VERSION = 1

JSON: TypeAlias = Any
"""Whatever `json.dumps` takes."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
"""Zarr's name of every data type that a store may hold, and its little-endian NumPy type."""

ROWS = ("sample", "window")
"""Names of the first axis."""

ABSENT = 2**64 - 1
"""Offset and length of an inner chunk that its shard does not hold."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*)*")


@dataclass(frozen=True)
class ArraySpec:
    """Description of one array of a store.

    Raises:
        ValueError: the description contradicts itself (a mistake of the builder, not of the user).
    """

    name: str
    """Path inside the store: `channel`, `labels/los`, `meta/position`, `split/city`."""
    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    """Shape of one row, without the sample axis; `()` for a column of scalars."""
    dims: tuple[str, ...]
    """Name of every axis. The first is `sample`, or `window` in a table that has as many rows as it needs, such as the
    index (`window`, `step`) of windows into the samples."""
    units: str
    """Unit of the values (`m`, `dB`, `1` for plain numbers)."""
    description: str
    """One line for people."""
    attrs: Mapping[str, JSON] = field(default_factory=dict)
    """More attributes, for instance `classes` of a label."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.split("/")[0] == "provenance":
            raise ValueError(f"array name {self.name!r}: use lower-case words joined by / or _")
        if self.dtype not in DTYPES:
            raise ValueError(f"array {self.name}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}")
        if len(self.dims) != len(self.shape) + 1 or self.dims[0] not in ROWS:
            raise ValueError(
                f"array {self.name}: dims {self.dims} must be one of {ROWS} and one name for each of {self.shape}"
            )
        if any(size < 1 for size in self.shape):
            raise ValueError(f"array {self.name}: shape {self.shape} has an empty axis")

    @property
    def is_table(self) -> bool:
        """Whether the rows are not the samples."""
        return self.dims[0] != "sample"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def to_json(self) -> dict[str, JSON]:
        """As written into a plan."""
        fields = ("name", "dtype", "units", "description")
        lists = {"shape": list(self.shape), "dims": list(self.dims), "attrs": dict(self.attrs)}
        return {key: getattr(self, key) for key in fields} | lists

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> ArraySpec:
        """The inverse of `to_json`."""
        return cls(**{**data, "shape": tuple(data["shape"]), "dims": tuple(data["dims"])})


@dataclass(frozen=True)
class Grid:
    """How the rows of one array are cut into files and chunks."""

    rows_per_shard: int
    rows_per_chunk: int
    compression: str = "none"

    @property
    def chunks(self) -> int:
        """Inner chunks of a full shard."""
        return self.rows_per_shard // self.rows_per_chunk

    def shards(self, samples: int) -> int:
        """Shard files of an array of so many samples."""
        return -(-samples // self.rows_per_shard)

    def rows(self, shard: int, samples: int) -> tuple[int, int]:
        """Row range [start, stop) of one shard."""
        start = shard * self.rows_per_shard
        return start, min(start + self.rows_per_shard, samples)


def rows_per_shard(specs: Sequence[ArraySpec], samples: int, shard_mib: float, chunk_mib: float) -> int:
    """Rows of one shard: the largest power of two whose shard of the largest array fits into `shard_mib`.

    A store smaller than one shard gets a shard of its own size (rounded up to whole chunks). The result is always a
    multiple of the largest array's chunk, hence (powers of two) of a good chunk of every smaller array as well.
    """
    row = max(spec.row_bytes for spec in specs)
    whole = _power_below(shard_mib * 2**20 / row)
    chunk = min(_power_below(chunk_mib * 2**20 / row), whole)
    chunk = min(chunk, 1 << (samples - 1).bit_length())
    return min(whole, -(-samples // chunk) * chunk)


def grid(spec: ArraySpec, shard_rows: int, chunk_mib: float, compression: str) -> Grid:
    """Inner chunks of about `chunk_mib`: the whole shard where it is small, else a power of two that divides it."""
    fits = chunk_mib * 2**20 / spec.row_bytes
    if shard_rows <= fits:
        return Grid(shard_rows, shard_rows, compression)
    divisor = shard_rows & -shard_rows
    return Grid(shard_rows, min(divisor, _power_below(fits)), compression)


def _power_below(value: float) -> int:
    return 1 << max(0, math.floor(math.log2(max(value, 1.0))))


def shard_name(shard: int, axes: int) -> str:
    """File name of a shard of an array with so many axes (sample axis included)."""
    return "c." + ".".join([str(shard)] + ["0"] * (axes - 1))


def group_metadata(attributes: Mapping[str, JSON]) -> dict[str, JSON]:
    """`zarr.json` of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def array_metadata(spec: ArraySpec, samples: int, cut: Grid) -> dict[str, JSON]:
    """`zarr.json` of an array, as zarr-python, zarrs and tensorstore read it."""
    dtype = DTYPES[spec.dtype]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    codecs: list[JSON] = [little if dtype.itemsize > 1 else {"name": "bytes"}]
    if cut.compression == "zstd":
        codecs.append({"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}})
    sharding = {
        "chunk_shape": [cut.rows_per_chunk, *spec.shape],
        "codecs": codecs,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    fill: dict[str, JSON] = {"c": [0.0, 0.0], "f": 0.0, "b": False}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [samples, *spec.shape],
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [cut.rows_per_shard, *spec.shape]}},
        # Flat file names: one folder per array holds all its shards.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill.get(dtype.kind, 0),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": list(spec.dims),
        "attributes": {"units": spec.units, "description": spec.description, **spec.attrs},
        "storage_transformers": [],
    }


ZSTD_LEVEL = 3
"""Level of the optional compression; it is for archives, so a little slower than the fastest."""
