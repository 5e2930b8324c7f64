"""Reads a finished store again, every byte of it, and compares with what was recorded while it was written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.progress import progress as show_progress
from wfm_cli.core.store.files import read_json
from wfm_cli.core.store.finish import PROVENANCE, data_digest, merged, read_group
from wfm_cli.core.store.moments import Moments
from wfm_cli.core.store.plan import StoredPlan
from wfm_cli.core.store.schema import DTYPES, JSON, ArraySpec, Grid, array_metadata, shard_name
from wfm_cli.core.store.shards import map_array
from wfm_cli.core.store.writer import ShardRecord
from wfm_cli.errors import StoreError

_TOLERANCE = 1e-9
"""Relative difference between sums that another processor may cause."""


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` has found."""

    samples: int
    arrays: int
    shards: int
    """Shard files read."""
    bytes: int
    """Bytes of data checked, after decoding."""
    problems: tuple[str, ...]
    """One line each, with file and row range; empty when the store is exactly what was written."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(out: Path, progress: bool = False) -> VerifyReport:
    """Recompute checksums, NaN counts and statistics of a finished store.

    Raises:
        StoreError: no store, unfinished, or its own records are damaged beyond reading.
    """
    wfm = read_group(out)
    if wfm.get("complete") is not True:
        raise StoreError(f"{out}: is unfinished", f"finish it with `wfm prepare load {out}` and `finalise`")
    plan, records = _provenance(out)
    work = [(spec, shard) for spec in (*plan.arrays, *plan.columns) for shard in range(len(records[spec.name]))]
    problems = [*_metadata_problems(out, plan), *_attribute_problems(out, wfm, plan, records)]
    size = 0
    for spec, shard in show_progress(work, total=len(work), unit="shard", label="verify", enabled=progress):
        start, stop = plan.grid(spec).rows(shard, plan.length(spec))
        size += (stop - start) * spec.row_bytes
        record = ShardRecord.from_json(records[spec.name][shard])
        problems += _shard_problems(out / spec.name, shard, spec, plan, record)
    return VerifyReport(plan.samples, len(plan.arrays) + len(plan.columns), len(work), size, tuple(problems))


def _provenance(out: Path) -> tuple[StoredPlan, dict[str, list[JSON]]]:
    path = out / PROVENANCE / "zarr.json"
    try:
        kept = read_json(path)["attributes"]["wfm"]
        return StoredPlan.from_json(kept["plan"]), kept["records"]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: does not hold the checksums of the store", "copy it again") from error


def _metadata_problems(out: Path, plan: StoredPlan) -> Iterator[str]:
    for spec in (*plan.arrays, *plan.columns):
        path = out / spec.name / "zarr.json"
        try:
            same = read_json(path) == array_metadata(spec, plan.length(spec), plan.grid(spec))
        except StoreError as error:
            yield error.message
            continue
        if not same:
            yield f"{path}: shape, dtype, layout or attributes differ from the plan"


def _attribute_problems(out: Path, wfm: Mapping[str, JSON], plan: StoredPlan, records: Any) -> Iterator[str]:
    path = out / "zarr.json"
    if wfm["plan_sha256"] != plan.sha256:
        yield f"{path}: plan_sha256 differs from the plan in {PROVENANCE}"
    if wfm["data_sha256"] != data_digest(plan, records):
        yield f"{path}: data_sha256 differs from the checksums in {PROVENANCE}"
    for name, pieces in records.items():
        if not _close(wfm["statistics"].get(name, {}), merged(pieces).summary()):
            yield f"{path}: the statistics of {name} differ from those of its shards"


def _close(left: Mapping[str, JSON], right: Mapping[str, JSON]) -> bool:
    scale = max((abs(value) for value in right.values()), default=0.0)
    return left.keys() == right.keys() and all(
        math.isclose(left[key], right[key], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * scale) for key in right
    )


def _shard_problems(folder: Path, shard: int, spec: ArraySpec, plan: StoredPlan, record: ShardRecord) -> Iterator[str]:
    path, cut = folder / shard_name(shard, len(spec.dims)), plan.grid(spec)
    first, stop = cut.rows(shard, plan.length(spec))
    moments = Moments()
    try:
        for number, chunk in enumerate(_chunks(path, folder, shard, cut)):
            start = first + number * cut.rows_per_chunk
            end = min(start + cut.rows_per_chunk, stop)
            if chunk is None or google_crc32c.value(chunk) != record.crc32c[number]:
                yield f"{path}: rows {start} to {end - 1} are damaged (checksum)"
            if chunk is not None:
                moments.update(chunk[: (end - start) * spec.row_bytes].view(DTYPES[spec.dtype]))
    except StoreError as error:
        yield error.message
        return
    if moments.nan != record.moments.nan:
        yield f"{path}: rows {first} to {stop - 1} hold {moments.nan} NaN instead of {record.moments.nan}"
    if not _close(moments.summary(), record.moments.summary()):
        yield f"{path}: the statistics of rows {first} to {stop - 1} differ from those recorded"


def _chunks(path: Path, folder: Path, shard: int, cut: Grid) -> Iterator[NDArray[np.uint8] | None]:
    """Decoded bytes of every chunk in use; None for one that is absent or cannot be decoded."""
    layout = map_array(folder)
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise StoreError(f"{path}: shard file is missing") from error
    with file:
        size = file.seek(0, 2)

        def read(count: int, offset: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        index = layout.index(shard, read, size)
        for offset, length in index[: layout.used_chunks(shard)].tolist():
            raw = read(length, offset) if offset >= 0 else b""
            yield _decode(raw, cut.compression, layout.chunk_bytes)


def _decode(raw: bytes, compression: str, size: int) -> NDArray[np.uint8] | None:
    if compression == "zstd" and raw:
        from numcodecs.zstd import decompress  # type: ignore[import-untyped]

        try:
            raw = decompress(raw)
        except RuntimeError:
            return None
    return np.frombuffer(raw, np.uint8) if len(raw) == size else None
