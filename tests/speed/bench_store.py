"""Stores: shuffled rows against a NumPy memmap and zarr's orthogonal indexing, writing against zarr-python.

Size of the written array: `WFM_SPEED_MIB` (default 2048), or `python tests/speed/bench_store.py 512`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from measure import Row, compare

from wfm_cli.core.store import ArraySpec, BatchLoader
from wfm_cli.core.store.direct import DirectRows, open_rows
from wfm_cli.core.store.files import write_json
from wfm_cli.core.store.order import full_shuffle
from wfm_cli.core.store.rows import aligned_empty
from wfm_cli.core.store.schema import Grid, array_metadata, grid, rows_per_shard
from wfm_cli.core.store.shards import map_array
from wfm_cli.core.store.writer import write_shard

BATCH = 256
CHANNEL = ArraySpec("channel", "complex64", (32, 32), ("sample", "antenna", "subcarrier"), "1", "channels, 8 KiB rows")
PICTURE = ArraySpec("picture", "float32", (128, 128), ("sample", "time", "frequency"), "dB", "pictures, 64 KiB rows")


class OneArray:
    """What the loader needs of a store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, name: str) -> DirectRows:
        reader = open_rows(self.path / name)
        assert isinstance(reader, DirectRows)
        return reader


def values(spec: ArraySpec, rows: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((rows, *spec.shape, spec.row_bytes // int(np.prod(spec.shape)) // 4), np.float32)
    return numbers.view(spec.dtype).reshape(rows, *spec.shape)


def layout(spec: ArraySpec, samples: int) -> Grid:
    return grid(spec, rows_per_shard([spec], samples, 128, 1), 1, "none")


def write_ours(folder: Path, spec: ArraySpec, samples: int, shard: np.ndarray[Any, Any], cut: Grid) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "zarr.json", array_metadata(spec, samples, cut))
    for number in range(cut.shards(samples)):
        start, stop = cut.rows(number, samples)
        write_shard(folder, number, shard[: stop - start], spec, cut)


def write_zarr(folder: Path, spec: ArraySpec, samples: int, shard: np.ndarray[Any, Any], cut: Grid) -> None:
    array = zarr.create_array(
        folder,
        shape=(samples, *spec.shape),
        dtype=spec.dtype,
        chunks=(cut.rows_per_chunk, *spec.shape),
        shards=(cut.rows_per_shard, *spec.shape),
        compressors=None,
        overwrite=True,
    )
    for number in range(cut.shards(samples)):
        start, stop = cut.rows(number, samples)
        array[start:stop] = shard[: stop - start]


def reading(folder: Path, spec: ArraySpec, mib: int) -> list[Row]:
    samples = mib * 2**20 // spec.row_bytes
    cut = layout(spec, samples)
    shard = values(spec, cut.rows_per_shard)
    write_ours(folder / spec.name, spec, samples, shard, cut)
    plain = np.lib.format.open_memmap(folder / "x.npy", "w+", spec.dtype, (samples, *spec.shape))
    for number in range(cut.shards(samples)):
        start, stop = cut.rows(number, samples)
        plain[start:stop] = shard[: stop - start]
    plain.flush()
    memmap = np.load(folder / "x.npy", mmap_mode="r")
    order = full_shuffle(samples, 0, 0)
    steps = min(samples // BATCH, 64)
    batches = [order[step * BATCH : (step + 1) * BATCH] for step in range(steps)]
    orthogonal = zarr.open_array(folder / spec.name, mode="r").oindex
    assert np.array_equal(open_rows(folder / spec.name).take(batches[0]), memmap[batches[0]])
    seconds = compare(_readers(folder, spec, batches, memmap), repeats=9)
    slow = compare({"oindex": lambda: [orthogonal[batch] for batch in batches[:2]]}, repeats=3)["oindex"] / 2
    what = f"{spec.row_bytes // 1024} KiB rows"
    each = seconds["memmap"] / steps
    return [
        Row(
            f"shuffled batch of {BATCH}, {what}: {name}",
            seconds[name] / seconds["memmap"],
            "x",
            goal,
            False,
            f"{seconds[name] / steps * 1e3:.3f} ms CPU, NumPy memmap {each * 1e3:.3f} ms",
        )
        for name, goal in {"rows": 1.3, "loader": 1.3, "loader, prefetching": None, "system calls alone": None}.items()
    ] + [
        Row(
            f"the same against zarr's oindex, {what}",
            slow / (seconds["loader"] / steps),
            "x",
            50,
            note=f"oindex {slow * 1e3:.0f} ms CPU",
        ),
    ]


def _readers(
    folder: Path, spec: ArraySpec, batches: list[np.ndarray[Any, Any]], memmap: np.ndarray[Any, Any]
) -> dict[str, Callable[[], object]]:
    direct = open_rows(folder / spec.name)
    calls = DirectRows(map_array(folder / spec.name), mapped=False)
    buffer = aligned_empty((BATCH, *spec.shape), np.dtype(spec.dtype))
    store: Any = OneArray(folder)
    everything = np.arange(len(memmap))
    loaders = [
        BatchLoader(store, spec.name, everything, BATCH, seed=0, in_memory=False, prefetch=ahead) for ahead in (0, 2)
    ]

    def drain(loader: BatchLoader) -> None:
        for batch in loader.iterate(0, len(batches)):
            assert len(batch.data) == BATCH

    return {
        "memmap": lambda: [len(memmap[batch]) for batch in batches],
        "rows": lambda: [len(direct.take(batch, buffer)) for batch in batches],
        "system calls alone": lambda: [len(calls.take(batch, buffer)) for batch in batches],
        "loader": lambda: drain(loaders[0]),
        "loader, prefetching": lambda: drain(loaders[1]),
    }


def cold(folder: Path, spec: ArraySpec, mib: int) -> list[Row]:
    """Wall time of rows that lie on disk alone, after `reading`; for information, it measures the disk as well."""
    samples = mib * 2**20 // spec.row_bytes
    order = full_shuffle(samples, 1, 0)
    batches = [order[step * BATCH : (step + 1) * BATCH] for step in range(min(8, samples // BATCH))]

    def timed(read: Callable[[], object]) -> float:
        for path in [folder / "x.npy", *(folder / spec.name).glob("c.*")]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        begin = time.perf_counter()
        read()
        return time.perf_counter() - begin

    def ours() -> None:
        reader = open_rows(folder / spec.name)
        for batch in batches:
            reader.take(batch)

    def theirs() -> None:
        memmap = np.load(folder / "x.npy", mmap_mode="r")
        for batch in batches:
            memmap[batch]

    seconds = {name: timed(read) for name, read in {"ours": ours, "theirs": theirs}.items()}
    rate = len(batches) * BATCH * spec.row_bytes / 1e6 / seconds["ours"]
    what = f"rows on disk, {spec.row_bytes // 1024} KiB rows: NumPy memmap / ours"
    return [Row(what, seconds["theirs"] / seconds["ours"], "x", note=f"{rate:.0f} MB/s, wall time")]


def writing(folder: Path, spec: ArraySpec, mib: int) -> list[Row]:
    samples = mib * 2**20 // spec.row_bytes
    cut = layout(spec, samples)
    shard = values(spec, cut.rows_per_shard)
    seconds = compare(
        {
            "ours": lambda: write_ours(folder / "ours", spec, samples, shard, cut),
            "zarr": lambda: write_zarr(folder / "zarr", spec, samples, shard, cut),
        },
        repeats=5,
    )
    rates = {name: mib * 2**20 / 1e6 / value for name, value in seconds.items()}
    note = f"{rates['ours']:.0f} and {rates['zarr']:.0f} MB per CPU second; ours with checksums, statistics, fsync"
    return [
        Row(
            f"writing {mib} MiB of {spec.dtype}: zarr-python / ours",
            seconds["zarr"] / seconds["ours"],
            "x",
            3,
            note=note,
        )
    ]


def main(mib: int | None = None) -> list[Row]:
    """All rows of this benchmark."""
    mib = mib or int(os.environ.get("WFM_SPEED_MIB", "2048"))
    rows: list[Row] = []
    for spec in (CHANNEL, PICTURE):
        with tempfile.TemporaryDirectory(prefix="wfm_speed_") as folder:
            rows += reading(Path(folder), spec, 512) + cold(Path(folder), spec, 512)
    with tempfile.TemporaryDirectory(prefix="wfm_speed_") as folder:
        rows += writing(Path(folder), CHANNEL, mib)
    return rows


if __name__ == "__main__":
    for row in main(int(sys.argv[1]) if len(sys.argv) > 1 else None):
        verdict = {None: "", True: "ok", False: "MISSED"}[row.met]
        print(f"{row.name:<66} {row.value:10.3g} {row.unit} {verdict:<6} {row.note}", flush=True)
