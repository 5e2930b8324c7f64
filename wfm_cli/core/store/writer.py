"""Writes one shard file, whole, by one writer.

The file is the inner chunks in C order, then (offset, length) of every chunk as little-endian uint64, then the CRC-32C
of that index (Zarr v3 `sharding_indexed`, index at the end). Without compression the chunks are the plain rows one
after another, so a row can be read with a single `pread`. All-zero shards are written like any other: a missing file
always means missing data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from wfm_cli.core.store.files import atomic_file, reserve, write_all
from wfm_cli.core.store.moments import Moments
from wfm_cli.core.store.schema import ABSENT, DTYPES, JSON, ZSTD_LEVEL, ArraySpec, Grid, shard_name
from wfm_cli.errors import InputError


@dataclass
class ShardRecord:
    """What is remembered about a shard: the CRC-32C of every decoded chunk (padding included) and its statistics."""

    crc32c: list[int] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)

    def to_json(self) -> dict[str, JSON]:
        """Eight hexadecimal digits per chunk, then the moments."""
        return {"crc32c": "".join(f"{value:08x}" for value in self.crc32c), **self.moments.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> ShardRecord:
        """The inverse of `to_json`."""
        digits: str = data["crc32c"]
        return cls([int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)], Moments.from_json(data))


def write_shard(folder: Path, shard: int, rows: np.ndarray[Any, Any], spec: ArraySpec, cut: Grid) -> ShardRecord:
    """Write shard number `shard` of the array in `folder`, replacing whatever stands there.

    Args:
        folder: folder of the array.
        shard: shard number.
        rows: (n, *spec.shape) values; fewer than `cut.rows_per_shard` only in the last shard.
        spec: description of the array.
        cut: how its rows are cut.

    Raises:
        InputError: a row holds NaN or infinity.
        WfmError: the disk is full or refuses the write.
    """
    rows = np.ascontiguousarray(rows, DTYPES[spec.dtype])
    record = ShardRecord()
    index = np.full((cut.chunks, 2), ABSENT, "<u8")
    offset = 0
    with atomic_file(folder / shard_name(shard, rows.ndim)) as descriptor:
        if cut.compression == "none":
            used = -(-len(rows) // cut.rows_per_chunk)
            reserve(descriptor, used * cut.rows_per_chunk * spec.row_bytes + index.nbytes + 4)
        for number, chunk in enumerate(padded_chunks(rows, cut.rows_per_chunk)):
            start = number * cut.rows_per_chunk
            record.moments.update(rows[start : start + cut.rows_per_chunk])
            if not record.moments.finite:
                raise _not_finite(spec.name, rows, start, shard * cut.rows_per_shard)
            raw = chunk.reshape(-1).view(np.uint8)
            record.crc32c.append(google_crc32c.value(raw))
            data = encode(raw, cut.compression)
            write_all(descriptor, data)
            index[number] = offset, len(data)
            offset += len(data)
        table = index.tobytes()
        write_all(descriptor, table + google_crc32c.value(table).to_bytes(4, "little"))
    return record


def padded_chunks(rows: np.ndarray[Any, Any], size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Pieces of `size` rows; the last one is filled up with zeros because Zarr stores whole chunks."""
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        if len(chunk) < size:
            chunk = np.concatenate([chunk, np.zeros((size - len(chunk), *rows.shape[1:]), rows.dtype)])
        yield chunk


def encode(raw: np.ndarray[Any, Any], compression: str) -> Any:
    """The bytes of one chunk as they go to disk."""
    if compression == "none":
        return raw
    from numcodecs.zstd import compress  # type: ignore[import-untyped]

    return compress(raw, ZSTD_LEVEL)


def _not_finite(name: str, rows: np.ndarray[Any, Any], start: int, first: int) -> InputError:
    bad = ~np.isfinite(rows[start:]).reshape(len(rows) - start, -1).all(axis=1)
    row = first + start + int(np.argmax(bad))
    return InputError(
        f"{name}: row {row} holds NaN or infinity; nothing of this part has been kept",
        "the source has a value there that makes no sense: correct or drop it, then give the same command again",
    )
