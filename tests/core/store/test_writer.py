from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from wfm_cli.core.store import files
from wfm_cli.core.store.files import write_json
from wfm_cli.core.store.schema import DTYPES, ArraySpec, Grid, array_metadata, shard_name
from wfm_cli.core.store.writer import ShardRecord, write_shard
from wfm_cli.errors import InputError, WfmError

CUT = Grid(rows_per_shard=16, rows_per_chunk=4)


def make_spec(dtype: str, shape: tuple[int, ...]) -> ArraySpec:
    return ArraySpec("x", dtype, shape, ("sample", "a", "b")[: len(shape) + 1], "V", "test values")


def values_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(1).standard_normal(shape) * 50
    return (values + 1j * values[::-1]).astype(dtype) if dtype.startswith("complex") else values.astype(dtype)


def write_array(folder: Path, spec: ArraySpec, values: np.ndarray, cut: Grid) -> None:
    folder.mkdir()
    write_json(folder / "zarr.json", array_metadata(spec, len(values), cut))
    for shard in range(cut.shards(len(values))):
        start, stop = cut.rows(shard, len(values))
        write_shard(folder, shard, values[start:stop], spec, cut)


def read_zarr(path: Path, pipeline: str) -> np.ndarray:
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        return np.asarray(zarr.open_array(path, mode="r")[:])


def read_tensorstore(path: Path) -> np.ndarray:
    store = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return np.asarray(tensorstore.open(store, open=True).result().read().result())


READERS = {
    "zarr": lambda path: read_zarr(path, "zarr.core.codec_pipeline.BatchedCodecPipeline"),
    "zarrs": lambda path: read_zarr(path, "zarrs.ZarrsCodecPipeline"),
    "tensorstore": read_tensorstore,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_foreign_readers_agree(tmp_path, dtype, compression, reader):
    """37 rows: two full shards, and a last one whose second chunk is padded and whose others are absent."""
    values = values_of(dtype, (37, 3, 5))
    cut = Grid(16, 4, compression)
    write_array(tmp_path / "x", make_spec(dtype, (3, 5)), values, cut)
    found = READERS[reader](tmp_path / "x")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("reader", READERS)
def test_columns_of_scalars(tmp_path, reader):
    values = np.arange(37, dtype=np.int32)
    write_array(tmp_path / "x", make_spec("int32", ()), values, CUT)
    np.testing.assert_array_equal(READERS[reader](tmp_path / "x"), values)


def test_metadata_says_dimensions_units_and_layout(tmp_path):
    write_array(tmp_path / "x", make_spec("float32", (3, 5)), np.ones((37, 3, 5), np.float32), CUT)
    array = zarr.open_array(tmp_path / "x", mode="r")
    assert array.metadata.dimension_names == ("sample", "a", "b")
    assert dict(array.attrs) == {"units": "V", "description": "test values"}
    assert (array.chunks, array.shards) == ((4, 3, 5), (16, 3, 5))


def test_a_shard_of_zeros_is_written(tmp_path):
    values = np.zeros((16, 3, 5), np.float32)
    write_array(tmp_path / "x", make_spec("float32", (3, 5)), values, CUT)
    assert (tmp_path / "x" / "c.0.0.0").stat().st_size == values.nbytes + 4 * 16 + 4


def test_rows_lie_in_the_file_one_after_another(tmp_path):
    values = values_of("float32", (16, 3, 5))
    write_array(tmp_path / "x", make_spec("float32", (3, 5)), values, CUT)
    raw = (tmp_path / "x" / shard_name(0, 3)).read_bytes()
    np.testing.assert_array_equal(np.frombuffer(raw[: values.nbytes], np.float32).reshape(values.shape), values)


def test_any_memory_layout_and_byte_order_is_written_alike(tmp_path):
    values = values_of("float32", (16, 3, 5))
    spec = make_spec("float32", (3, 5))
    records = [
        write_shard(tmp_path, shard, rows, spec, CUT)
        for shard, rows in enumerate([values, np.asfortranarray(values), values.astype(">f4")])
    ]
    assert len({(tmp_path / shard_name(shard, 3)).read_bytes() for shard in range(3)}) == 1
    assert records[0] == records[1] == records[2]
    assert ShardRecord.from_json(records[0].to_json()) == records[0]


@pytest.mark.parametrize(("bad", "row"), [(np.nan, 21), (np.inf, 16), (complex(0, -np.inf), 31)])
def test_what_is_not_finite_is_refused_by_array_and_row(tmp_path, bad, row):
    values = values_of("complex64", (16, 3, 5))
    values[row - 16, 2, 4] = bad
    with pytest.raises(InputError, match=rf"x: row {row} holds NaN or infinity"):
        write_shard(tmp_path, 1, values, make_spec("complex64", (3, 5)), CUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "disk full while writing .*c.0.0.0"), (errno.EDQUOT, "disk full"), (errno.EIO, "cannot write")],
)
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, code, words):
    values = values_of("float32", (16, 3, 5))
    spec = make_spec("float32", (3, 5))
    write_shard(tmp_path, 0, values, spec, CUT)
    before = (tmp_path / "c.0.0.0").read_bytes()
    real, calls = os.write, iter(range(100))

    def failing(descriptor: int, data: bytes) -> int:
        if next(calls) == 2:
            raise OSError(code, os.strerror(code))
        return real(descriptor, data[: max(1, len(data) // 2)])  # short writes as well

    monkeypatch.setattr(files.os, "write", failing)
    with pytest.raises(WfmError, match=words) as caught:
        write_shard(tmp_path, 0, values + 1, spec, CUT)
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.0.0.0"]
    assert (tmp_path / "c.0.0.0").read_bytes() == before
