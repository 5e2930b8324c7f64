from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.stores import fake_recipe, make_store
from wfm_cli.core.store import init, open_store
from wfm_cli.core.store.direct import DirectRows, open_rows
from wfm_cli.core.store.rows import MemoryRows, RowReader, ZarrRows
from wfm_cli.core.store.shards import map_array
from wfm_cli.errors import InputError, StoreError

SMALL = {"samples": 150, "shard_mib": 0.01, "chunk_mib": 0.002}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "x.zarr", **SMALL)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "x.zarr", compression="zstd", **SMALL)


def readers(store, packed) -> dict[str, RowReader]:
    layout = map_array(store.path / "channel")
    return {
        "mapped": DirectRows(layout),
        "system calls": DirectRows(layout, mapped=False),
        "zarr": packed.rows("channel"),
        "memory": MemoryRows(store.read("channel")),
    }


def test_what_a_store_says(store):
    assert (store.kind, store.samples) == ("channel", 150)
    assert store.names[0] == "channel"
    spec = store.spec("channel")
    assert (spec.dtype, spec.shape, spec.dims) == ("complex64", (8, 8), ("sample", "antenna", "subcarrier"))
    assert (spec.units, spec.description) == ("1", "channel, x 1e6")
    assert store.spec("labels/los").attrs == {"classes": ["NLoS", "LoS"]}
    assert store.label_classes("los") == ["NLoS", "LoS"]
    assert "150 samples" in repr(store)


def test_arrays_are_what_zarr_reads(store):
    for name in store.names:
        np.testing.assert_array_equal(store.read(name), store.array(name)[:])


def test_the_whole_tree_is_valid_zarr(store):
    members = dict(zarr.open_group(store.path, mode="r").members(max_depth=None))
    assert set(store.names) < set(members)


def test_splits(store):
    split = store.split()
    np.testing.assert_array_equal(split, store.split("random"))
    assert split.dtype == np.uint8
    parts = [store.indices(part) for part in ("train", "val", "test")]
    assert [part.dtype for part in parts] == [np.int64] * 3
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(150))
    assert not np.array_equal(store.indices("test"), store.indices("test", "spatial"))
    with pytest.raises(StoreError, match="no split 'city'") as caught:
        store.split("city")
    assert caught.value.hint == "it has random, spatial"
    with pytest.raises(InputError, match="validation"):
        store.indices("validation")


def test_unknown_arrays(store):
    with pytest.raises(StoreError, match="no array 'chanel'") as caught:
        store.rows("chanel")
    assert "channel" in (caught.value.hint or "")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 149), max_size=40), st.booleans())
def test_all_readers_take_the_same_rows(store, packed, idx, runs):
    """Any order, repeats, and runs of consecutive rows that cross chunks and shards."""
    rows = np.array([i + k for i in idx for k in range(9) if i + k < 150] if runs else idx, np.int64)
    expected = store.array("channel")[:][rows]
    for name, reader in readers(store, packed).items():
        for _ in range(3):  # cold, then from the mapping
            np.testing.assert_array_equal(reader.take(rows), expected, err_msg=name)
        reader.close()


def test_readers_say_how(store, packed):
    found = {name: (reader.how, reader.why) for name, reader in readers(store, packed).items()}
    assert found == {
        "mapped": ("preadv", ""),
        "system calls": ("preadv", ""),
        "zarr": ("zarr", "codec zstd"),
        "memory": ("memory", ""),
    }


def test_rows_go_straight_into_the_given_buffer(store, packed):
    for reader in readers(store, packed).values():
        out = np.zeros((5, 8, 8), np.complex64)
        found = reader.take([3, 149, 3], out)
        assert np.shares_memory(found, out)
        assert found.shape == (3, 8, 8)
        assert not out[3:].any()
        assert reader.take([]).shape == (0, 8, 8)


def test_bad_requests(store, packed):
    for reader in readers(store, packed).values():
        for idx in ([-1], [150]):
            with pytest.raises(IndexError):
                reader.take(idx)
        with pytest.raises(ValueError, match="C-contiguous complex64"):
            reader.take([0], np.zeros((1, 8, 8), np.complex128))
        with pytest.raises(ValueError, match="2 are needed"):
            reader.take([0, 1], np.zeros((1, 8, 8), np.complex64))


def test_readers_survive_closing_and_pickling(store, packed):
    for reader in [store.rows("channel"), packed.rows("channel")]:
        expected = reader.take([7, 99])
        reader.close()
        np.testing.assert_array_equal(reader.take([7, 99]), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).take([7, 99]), expected)


def test_closing_gives_all_descriptors_back(store):
    before = len(os.listdir("/proc/self/fd"))
    with store.rows("channel") as reader:
        reader.take(np.arange(150))
        assert len(os.listdir("/proc/self/fd")) == before + 10
    assert len(os.listdir("/proc/self/fd")) == before


def test_thousands_of_shards_use_the_descriptors_that_the_system_grants(store):
    code = """
import resource, sys
import numpy as np
from wfm_cli.core.store import open_store
from wfm_cli.errors import StoreError
hard = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))
try:
    print(len(open_store(sys.argv[1]).rows("channel").take(np.arange(150))))
except StoreError as error:
    print(error.message.split(": ")[1])
"""
    for hard, words in ((64, "150\n"), (8, "too many open files\n")):
        command = [sys.executable, "-c", code, str(store.path), str(hard)]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == words


FORK = """
import os, sys
import numpy as np
from wfm_cli.core.store import BatchLoader, open_store
store = open_store(sys.argv[1])
reader, whole = store.rows("channel"), store.read("channel")
rows = np.random.default_rng(0).integers(0, 150, 64)
loader = BatchLoader(store, "channel", np.arange(150), 32, seed=0, in_memory=False)
batches = loader.iterate(0, 40)
next(batches), reader.take(rows), reader.take(rows)
pid = os.fork()
ok = all(np.array_equal(reader.take(rows), whole[rows]) for _ in range(50))
ok = ok and all(np.array_equal(batch.data, whole[batch.ids]) for batch in loader.iterate(3, 20))
if pid == 0:
    reader.close()
    os._exit(0 if ok else 3)
_, status = os.waitpid(pid, 0)
ok = ok and all(np.array_equal(batch.data, whole[batch.ids]) for batch in batches)
print(ok, os.waitstatus_to_exitcode(status), np.array_equal(reader.take(rows), whole[rows]))
"""


def test_readers_and_loaders_survive_a_fork(store):
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(store.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True 0 True\n", "")


@pytest.mark.parametrize("shards", [None, (32, 8, 8)])
@pytest.mark.parametrize("chunks", [(4, 8, 8), (16, 8, 8)])
def test_arrays_of_other_writers_are_read_directly_where_possible(tmp_path, chunks, shards):
    """zarr-python orders the chunks of a shard along a curve and leaves out those that hold zeros alone."""
    values = np.random.default_rng(0).standard_normal((150, 8, 8)).astype(np.float32)
    values[36:60] = 0
    with zarr.config.set({"array.write_empty_chunks": shards is None}):
        array = zarr.create_array(
            tmp_path / "x", shape=values.shape, dtype="float32", chunks=chunks, shards=shards, compressors=None
        )
        array[:] = values
    with open_rows(tmp_path / "x") as reader:
        assert reader.how == "preadv"
        rows = np.random.default_rng(1).integers(0, 150, 400)
        for _ in range(3):
            np.testing.assert_array_equal(reader.take(rows), values[rows])
        np.testing.assert_array_equal(reader.whole(), values)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"chunks": (16, 4, 8), "compressors": None}, "chunks cut the rows"),
        ({"chunks": (16, 8, 8)}, "codec zstd"),
        ({"chunks": (16, 8, 8), "compressors": None, "serializer": zarr.codecs.BytesCodec(endian="big")}, "codecs"),
        ({"chunks": (16, 8, 8), "compressors": zarr.codecs.GzipCodec()}, "codecs"),
        ({"chunks": (16, 8, 8), "compressors": None, "filters": zarr.codecs.TransposeCodec(order=(2, 1, 0))}, "codecs"),
        ({"chunks": (16, 8, 8), "compressors": None, "chunk_key_encoding": {"name": "v2"}}, "chunk keys"),
    ],
)
def test_arrays_that_only_zarr_understands_say_why(tmp_path, how, why):
    values = np.random.default_rng(0).standard_normal((150, 8, 8)).astype(np.float32)
    zarr.create_array(tmp_path / "x", shape=values.shape, dtype="float32", **how)[:] = values
    reader = open_rows(tmp_path / "x")
    assert isinstance(reader, ZarrRows)
    assert why in reader.why
    rows = np.random.default_rng(1).integers(0, 150, 400)
    np.testing.assert_array_equal(reader.take(rows), values[rows])


def spoil_json(path: Path, **change: object) -> None:
    data = json.loads((path / "zarr.json").read_text())
    data["attributes"]["wfm"] |= change
    (path / "zarr.json").write_text(json.dumps(data))


def write(path: Path, text: str) -> None:
    path.write_text(text)


BAD = {
    "does not exist": lambda path: path.rename(path.with_name("gone")),
    "is a file": lambda path: (path.rename(path.with_name("gone")), path.touch()),
    "has no zarr.json": lambda path: (path / "zarr.json").unlink(),
    "Zarr v2": lambda path: (path / "zarr.json").rename(path / ".zgroup"),
    "Git LFS pointer": lambda path: write(
        path / "zarr.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0"
    ),
    "does not hold JSON": lambda path: write(path / "zarr.json", '{"zarr_format": 3, "attri'),
    "JSON object": lambda path: write(path / "zarr.json", "[]"),
    "wfm has not written": lambda path: write(path / "zarr.json", '{"attributes": {}}'),
    "is a run, not a store": lambda path: write(path / "zarr.json", '{"attributes": {"wfm_run": {}}}'),
    "is unfinished": lambda path: spoil_json(path, complete=False),
    "format version 7": lambda path: spoil_json(path, format_version=7),
    r"channel/c\.4\.0\.0: shard file is missing": lambda path: (path / "channel" / "c.4.0.0").unlink(),
    r"los/c\.9: is cut off, 10 bytes": lambda path: os.truncate(path / "labels" / "los" / "c.9", 10),
    r"channel/zarr\.json: cannot be read": lambda path: (path / "channel" / "zarr.json").unlink(),
    r"los/zarr\.json: is a Git LFS pointer": lambda path: write(
        path / "labels" / "los" / "zarr.json", "version https://git-lfs.github.com/spec/v1\n"
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_stores_are_refused_in_one_line_with_a_remedy(tmp_path, words):
    path = make_store(tmp_path / "x.zarr", **SMALL).path
    BAD[words](path)
    with pytest.raises(StoreError, match=words) as caught:
        open_store(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_build_that_has_only_begun_is_unfinished(tmp_path):
    init(fake_recipe(), tmp_path / "x.zarr")
    with pytest.raises(StoreError, match="is unfinished") as caught:
        open_store(tmp_path / "x.zarr")
    assert "wfm prepare" in (caught.value.hint or "")


@pytest.mark.parametrize("mapped", [True, False])
def test_damage_after_opening_is_an_error_and_never_wrong_rows(tmp_path, mapped):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    file = store.path / "channel" / "c.4.0.0"
    good = file.read_bytes()
    layout = map_array(store.path / "channel")
    for bad in (good[:100], good[:-30], good[:-3] + b"abc", good[:-40] + b"\xff\xfe" * 8 + good[-24:]):
        file.write_bytes(bad)
        with pytest.raises(StoreError, match=r"c\.4\.0\.0: its index is damaged"):
            DirectRows(layout, mapped).take([70])
    file.unlink()
    with pytest.raises(StoreError, match=r"c\.4\.0\.0: shard file is missing"):
        DirectRows(layout, mapped).take([70])


def test_a_file_cut_off_under_an_open_reader(tmp_path):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    reader = DirectRows(map_array(store.path / "channel"), mapped=False)
    reader.take([70])
    os.truncate(store.path / "channel" / "c.4.0.0", 1000)
    with pytest.raises(StoreError, match=r"c\.4\.0\.0: is cut off"):
        reader.take([3, 75, 79])


def test_a_damaged_compressed_chunk_names_its_rows(tmp_path):
    store = make_store(tmp_path / "x.zarr", compression="zstd", **SMALL)
    file = store.path / "channel" / "c.0.0.0"
    file.write_bytes(bytes(100) + file.read_bytes()[100:])
    with pytest.raises(StoreError, match="rows 0 to 150 cannot be decoded"):
        store.rows("channel").take([1])
