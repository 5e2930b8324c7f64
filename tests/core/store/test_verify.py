from __future__ import annotations

import json

import numpy as np
import pytest

from tests.fakes.stores import fake_recipe, make_store
from wfm_cli.core.store import init, verify
from wfm_cli.errors import StoreError

SMALL = {"samples": 150, "shard_mib": 0.01, "chunk_mib": 0.002}


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_sound_store(tmp_path, compression):
    store = make_store(tmp_path / "x.zarr", compression=compression, **SMALL)
    report = verify(store.path)
    assert report.ok
    assert report.problems == ()
    assert (report.samples, report.arrays, report.shards) == (150, 6, 33)
    assert report.bytes == store.bytes


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0, "rows 64 to 67 are damaged (checksum)"),
        (5 * 512 + 3, "rows 68 to 71 are damaged (checksum)"),
        (16 * 512 - 1, "rows 76 to 79 are damaged (checksum)"),
        (16 * 512 + 5, "its index is damaged or the file is cut off"),
        (-1, "its index is damaged or the file is cut off"),
    ],
)
def test_a_flipped_bit_is_found_with_file_and_rows(tmp_path, offset, words):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    file = store.path / "channel" / "c.4.0.0"
    flip(file, offset)
    assert verify(store.path).problems[0] == f"{file}: {words}"


def test_every_byte_of_every_shard_is_guarded(tmp_path):
    """Padding and columns included."""
    store = make_store(tmp_path / "x.zarr", samples=30, shard_mib=0.01, chunk_mib=0.002)
    for name in ("labels/los", "meta/position", "split/random"):
        for file in sorted((store.path / name).glob("c.*")):
            good = file.read_bytes()
            for offset in range(0, len(good), 7):
                flip(file, offset)
                assert not verify(store.path).ok, f"{file} {offset}"
                file.write_bytes(good)


def test_a_damaged_compressed_chunk(tmp_path):
    store = make_store(tmp_path / "x.zarr", compression="zstd", **SMALL)
    file = store.path / "channel" / "c.4.0.0"
    flip(file, 0)
    assert f"{file}: rows 64 to 67 are damaged (checksum)" in verify(store.path).problems


def test_nans_that_came_later_are_counted(tmp_path):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    file = store.path / "channel" / "c.4.0.0"
    data = np.frombuffer(file.read_bytes(), np.uint8).copy()
    data[512:520].view(np.complex64)[0] = complex(np.nan, np.nan)
    file.write_bytes(data.tobytes())
    problems = verify(store.path).problems
    assert f"{file}: rows 64 to 79 hold 2 NaN instead of 0" in problems
    assert any("statistics of rows 64 to 79" in problem for problem in problems)


def test_missing_and_cut_off_files_are_listed_together(tmp_path):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    (store.path / "channel" / "c.1.0.0").unlink()
    (store.path / "labels" / "los" / "c.2").write_bytes(b"")
    problems = verify(store.path).problems
    assert len(problems) == 2
    assert "c.1.0.0: shard file is missing" in problems[0]
    assert "c.2: its index is damaged or the file is cut off" in problems[1]


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("zarr.json", lambda d: d["attributes"]["wfm"].update(data_sha256="0"), "data_sha256 differs"),
        ("zarr.json", lambda d: d["attributes"]["wfm"].update(plan_sha256="0"), "plan_sha256 differs"),
        (
            "zarr.json",
            lambda d: d["attributes"]["wfm"]["statistics"]["channel"].update(std=1.0),
            "statistics of channel",
        ),
        ("channel/zarr.json", lambda d: d.update(shape=[149, 8, 8]), "differ from the plan"),
        ("channel/zarr.json", lambda d: d["attributes"].update(units="dB"), "differ from the plan"),
    ],
)
def test_edited_metadata_is_found(tmp_path, file, change, words):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    edit(store.path / file, change)
    problems = verify(store.path).problems
    assert problems[0].startswith(f"{store.path / file}: ")
    assert words in problems[0]


def test_only_finished_stores_with_records_can_be_verified(tmp_path):
    init(fake_recipe(**SMALL), tmp_path / "1.zarr")
    with pytest.raises(StoreError, match="is unfinished"):
        verify(tmp_path / "1.zarr")
    store = make_store(tmp_path / "2.zarr", **SMALL)
    (store.path / "provenance" / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="does not hold the checksums"):
        verify(store.path)
