"""Finds rows inside the files of a Zarr v3 array without zarr: possible when rows are stored whole and uncompressed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from wfm_cli.core.store.files import read_json
from wfm_cli.core.store.schema import ABSENT, DTYPES, JSON
from wfm_cli.errors import StoreError

_INDEX_CODECS = (["bytes"], ["bytes", "crc32c"])


class NotMappable(Exception):
    """The rows of this array do not lie plainly in its files; the message says why."""


@dataclass(frozen=True)
class ShardMap:
    """Where the rows of an array are: enough to turn a row number into a file and an offset."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows_per_shard: int
    rows_per_chunk: int
    separator: str
    sharded: bool
    index_at_end: bool
    index_checked: bool
    codec: str
    """`none`, or `zstd` when chunks are compressed: then offsets and lengths are known, rows are not."""
    fill: JSON

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one decoded chunk."""
        return self.rows_per_chunk * self.row_bytes

    @property
    def files(self) -> int:
        """Number of shard files."""
        return -(-self.shape[0] // self.rows_per_shard)

    @property
    def chunks(self) -> int:
        """Chunks of a full shard."""
        return self.rows_per_shard // self.rows_per_chunk

    @property
    def index_bytes(self) -> int:
        """Bytes of the index of one shard file."""
        return (self.chunks * 16 + (4 if self.index_checked else 0)) if self.sharded else 0

    def file(self, shard: int) -> Path:
        """Path of a shard file."""
        return self.path / self.separator.join(["c", str(shard)] + ["0"] * (len(self.shape) - 1))

    def used_chunks(self, shard: int) -> int:
        """Chunks of a shard that hold rows of the array."""
        rows = min(self.rows_per_shard, self.shape[0] - shard * self.rows_per_shard)
        return -(-rows // self.rows_per_chunk)

    def file_bytes(self, shard: int) -> int | None:
        """Size of a shard file as wfm writes it; None where compression makes it unknowable."""
        return None if self.codec != "none" else self.used_chunks(shard) * self.chunk_bytes + self.index_bytes

    def index(self, shard: int, read: Any, size: int) -> np.ndarray[Any, Any]:
        """(chunks, 2) int64 offset and length of every chunk of a shard; -1 marks chunks that are absent.

        Args:
            shard: shard number, for messages.
            read: function (bytes, offset) -> bytes that reads from its file.
            size: size of the file.

        Raises:
            StoreError: the file is cut off or its index is damaged.
        """
        if not self.sharded:
            table = np.array([[0, self.chunk_bytes]], np.int64)
        else:
            start = size - self.index_bytes if self.index_at_end else 0
            raw = read(self.index_bytes, start) if start >= 0 else b""
            body = raw[: self.chunks * 16]
            if len(raw) < self.index_bytes or (
                self.index_checked and google_crc32c.value(body) != int.from_bytes(raw[-4:], "little")
            ):
                raise self._damaged(shard, "its index is damaged or the file is cut off")
            table = np.frombuffer(body, "<u8").reshape(-1, 2)
            table = np.where(table == ABSENT, -1, table.astype(np.int64))
        present = table[:, 0] >= 0
        short = (table[:, 1] < self.chunk_bytes) if self.codec == "none" else (table[:, 1] < 0)
        if (present & (short | (table[:, 1] + table[:, 0] > size))).any():
            raise self._damaged(shard, "its index points outside the file, which is cut off")
        return table

    def _damaged(self, shard: int, what: str) -> StoreError:
        return StoreError(f"{self.file(shard)}: {what}", "copy the file again, or prepare the store again")


def map_array(path: Path) -> ShardMap:
    """Read the metadata of an array and see how its rows lie.

    Raises:
        NotMappable: rows are cut, reordered, or encoded in a way that only zarr itself can undo.
        StoreError: there is no array.
    """
    meta = read_json(path / "zarr.json")
    if meta.get("node_type") != "array" or meta.get("zarr_format") != 3:
        raise StoreError(f"{path}: is not a Zarr v3 array")
    shape, dtype = tuple(meta["shape"]), meta["data_type"]
    if not isinstance(dtype, str) or dtype not in DTYPES or not shape:
        raise NotMappable(f"data type {dtype}")
    keys = meta["chunk_key_encoding"]
    if keys["name"] != "default" or meta["chunk_grid"]["name"] != "regular":
        raise NotMappable("chunk keys or grid of another kind")
    outer = meta["chunk_grid"]["configuration"]["chunk_shape"]
    chain, inner, index = meta["codecs"], outer, {}
    if len(chain) == 1 and chain[0]["name"] == "sharding_indexed":
        index = chain[0]["configuration"]
        chain, inner = index["codecs"], index["chunk_shape"]
        if _names(index["index_codecs"]) not in _INDEX_CODECS:
            raise NotMappable("index codecs of another kind")
    if tuple(inner[1:]) != shape[1:] or tuple(outer[1:]) != shape[1:]:
        raise NotMappable("chunks cut the rows")
    return ShardMap(
        path=path,
        shape=shape,
        dtype=DTYPES[dtype],
        rows_per_shard=outer[0],
        rows_per_chunk=inner[0],
        separator=keys.get("configuration", {}).get("separator", "/"),
        sharded=bool(index),
        index_at_end=index.get("index_location", "end") == "end",
        index_checked=bool(index) and _names(index["index_codecs"])[-1] == "crc32c",
        codec=_codec(chain, DTYPES[dtype].itemsize),
        fill=meta["fill_value"],
    )


def _names(chain: Sequence[Mapping[str, JSON]]) -> list[str]:
    return [codec["name"] for codec in chain]


def _codec(chain: Sequence[Mapping[str, JSON]], itemsize: int) -> str:
    names = _names(chain)
    if names[:1] != ["bytes"] or (
        itemsize > 1 and chain[0].get("configuration", {}).get("endian", "little") != "little"
    ):
        raise NotMappable(f"codecs {names}")
    if names == ["bytes"]:
        return "none"
    if names == ["bytes", "zstd"]:
        return "zstd"
    raise NotMappable(f"codecs {names}")
