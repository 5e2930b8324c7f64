from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.stores import FakeBuilder, fake_recipe, make_store
from wfm_cli.core.store import files, finalise, init, load, open_store, status, verify
from wfm_cli.core.store.parts import run
from wfm_cli.errors import InputError, StoreError, WfmError

SMALL = {"samples": 150, "shard_mib": 0.01, "chunk_mib": 0.002}
"""Ten parts of 16 rows."""
PARTS = 10


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, bytes]:
    """Every file of the store that an uninterrupted build makes."""
    return tree(make_store(tmp_path_factory.mktemp("reference") / "x.zarr", **SMALL).path)


PRELUDE = """
import os, signal, sys
from pathlib import Path
from tests.fakes.stores import fake_recipe
from wfm_cli.core.store import files, load
from wfm_cli.core.store.parts import run
out = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background of a script ignores it
"""


def python(code: str, *arguments: object, **kw: object) -> subprocess.Popen[str]:
    """Run code in a fresh interpreter that knows the fake builder."""
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True, **kw)


def test_step_by_step(tmp_path, reference):
    out = tmp_path / "deep" / "x.zarr"
    begun = init(fake_recipe(**SMALL), out)
    assert (begun.samples, begun.parts, begun.done, begun.complete) == (150, PARTS, 0, False)
    assert load(out, (1, 3), progress=False).missing == (1, 2, 4, 5, 7, 8)
    with pytest.raises(StoreError, match="6 of 10 parts are missing: 1, 2, 4, 5, 7, 8") as caught:
        finalise(out)
    assert caught.value.exit_code == 2
    assert "wfm prepare load" in (caught.value.hint or "")
    load(out, (2, 3), progress=False)
    assert load(out, (3, 3), progress=False).missing == ()
    assert not status(out).complete
    finalise(out)
    assert tree(out) == reference
    done = status(out)
    assert (done.samples, done.parts, done.done, done.missing, done.complete) == (150, PARTS, PARTS, (), True)
    assert done.bytes == open_store(out).bytes
    finalise(out)
    assert load(out, progress=False).complete
    assert tree(out) == reference


def test_the_finished_store_says_what_it_is(tmp_path):
    store = make_store(tmp_path / "x.zarr", **SMALL)
    wfm = store.attrs
    assert wfm["complete"] is True
    assert wfm["builder"] == "tests.fakes.stores:FakeBuilder"
    assert wfm["recipe"]["source"]["samples"] == 150
    assert wfm["splits"]["default"] == "random"
    counts = wfm["splits"]["available"]["random"]
    assert [counts[part] for part in ("train", "val", "test")] == np.bincount(store.split()).tolist()
    assert counts["leak"] == {"share_within_5_m": 0.5}
    channel = store.read("channel")
    found = wfm["statistics"]["channel"]
    flat = channel.view(np.float32).astype(np.float64)
    assert found["count"] == flat.size
    assert found["std"] == pytest.approx(flat.std(), rel=1e-9)
    assert found["max"] == flat.max()
    assert not (store.path / "_wfm").exists()


def test_digest_follows_the_data_alone(tmp_path):
    one = make_store(tmp_path / "1.zarr", **SMALL)
    same = make_store(tmp_path / "2.zarr", **SMALL)
    other = make_store(tmp_path / "3.zarr", seed=1, **SMALL)
    packed = make_store(tmp_path / "4.zarr", compression="zstd", **SMALL)
    assert one.digest == same.digest == packed.digest != other.digest
    np.testing.assert_array_equal(packed.read("channel"), one.read("channel"))


def test_a_pool_makes_the_same_bytes(tmp_path, reference):
    run(fake_recipe(**SMALL), tmp_path / "x.zarr", workers=2, progress=False)
    assert tree(tmp_path / "x.zarr") == reference


def test_three_concurrent_processes_lose_nothing(tmp_path, reference):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    jobs = [python("load(out, (int(sys.argv[2]), 3), progress=False)", out, part) for part in (1, 2, 3)]
    assert [job.communicate(timeout=60)[1] for job in jobs] == ["", "", ""]
    finalise(out)
    assert tree(out) == reference


KILL = """
real, calls, last = os.fsync, [0], int(sys.argv[2])
def fsync(descriptor):
    calls[0] += 1
    if calls[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
files.os.fsync = fsync
run(fake_recipe(samples=150, shard_mib=0.01, chunk_mib=0.002), out, progress=False)
"""


@pytest.mark.parametrize("call", [63, 64, 69, -2, -1])
def test_a_killed_build_ends_byte_identical(tmp_path, reference, call, count_of_syncs):
    """Killed while a shard, its folder or a marker is synced, and around the moment the store becomes complete."""
    out = tmp_path / "x.zarr"
    job = python(KILL, out, call if call > 0 else count_of_syncs + 1 + call)
    job.communicate(timeout=60)
    assert job.returncode == -signal.SIGKILL
    if call > 0:
        assert 0 < status(out).done < PARTS
        with pytest.raises(StoreError, match="unfinished"):
            open_store(out)
    run(fake_recipe(**SMALL), out, progress=False)
    assert tree(out) == reference


@pytest.fixture(scope="module")
def count_of_syncs(tmp_path_factory) -> int:
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", lambda descriptor: calls.append(descriptor))
        run(fake_recipe(**SMALL), tmp_path_factory.mktemp("count") / "x.zarr", progress=False)
    return len(calls)


def test_a_dead_worker_is_reported_and_the_build_goes_on(tmp_path, reference):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    os.environ["WFM_FAKE_DIE_AT"] = "64"
    try:
        with pytest.raises(WfmError, match="a worker process of the build died"):
            load(out, workers=2, progress=False)
    finally:
        del os.environ["WFM_FAKE_DIE_AT"]
    assert 4 in status(out).missing
    run(fake_recipe(**SMALL), out, progress=False)
    assert tree(out) == reference


def test_ctrl_c_keeps_what_is_done(tmp_path, reference, monkeypatch):
    out = tmp_path / "x.zarr"
    real = FakeBuilder.rows

    def interrupted(self, start, stop, state):
        if start == 64:
            raise KeyboardInterrupt
        return real(self, start, stop, state)

    with monkeypatch.context() as patch:
        patch.setattr(FakeBuilder, "rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(fake_recipe(**SMALL), out, progress=False)
    assert status(out).done == 4
    run(fake_recipe(**SMALL), out, progress=False)
    assert tree(out) == reference


def test_ctrl_c_stops_a_pool_at_once(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(pause_s=0.25, **SMALL), out)
    code = "try:\n    load(out, workers=2, progress=False)\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    job = python(code, out, start_new_session=True)
    deadline = time.monotonic() + 30
    while not status(out).done and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGINT)
    begin = time.monotonic()
    _, said = job.communicate(timeout=30)
    assert job.returncode == 130, said
    assert time.monotonic() - begin < 5
    assert 0 < status(out).done < PARTS
    load(out, progress=False)
    finalise(out)
    assert verify(out).ok


def test_a_full_disk_is_one_line_and_the_build_goes_on(tmp_path, reference, monkeypatch):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    real, budget = os.write, [40_000]

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > budget[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        budget[0] -= len(data)
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", full)
        with pytest.raises(WfmError, match=r"^disk full while writing .*x\.zarr") as caught:
            load(out, progress=False)
    assert (caught.value.exit_code, "\n" in caught.value.message) == (1, False)
    assert 0 < status(out).done < PARTS
    assert not [name for name in tree(out) if name.endswith(".partial")]
    with pytest.raises(StoreError, match="unfinished"):
        open_store(out)
    run(fake_recipe(**SMALL), out, progress=False)
    assert tree(out) == reference


def test_a_full_disk_while_planning_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(WfmError, match="disk full"):
        init(fake_recipe(**SMALL), tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())


def test_real_file_size_limit(tmp_path):
    """The operating system itself refuses, at a limit that lets the small files pass and the shards not."""
    code = """
import resource
from wfm_cli.errors import WfmError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    run(fake_recipe(samples=1024), out, progress=False)
except WfmError as error:
    print(error.message, file=sys.stderr)
"""
    job = python(code, tmp_path / "x.zarr")
    lines = job.communicate(timeout=60)[1].splitlines()
    assert lines == [f"file size limit reached while writing {tmp_path / 'x.zarr' / 'channel' / 'c.0.0.0'}"]
    assert status(tmp_path / "x.zarr").done == 0


def test_a_nan_stops_the_build_by_name_and_row(tmp_path, monkeypatch):
    real = FakeBuilder.rows

    def bad(self, start, stop, state):
        made = real(self, start, stop, state)
        if start <= 77 < stop:
            made["meta/log_power_db"][77 - start] = np.nan
        return made

    monkeypatch.setattr(FakeBuilder, "rows", bad)
    out = tmp_path / "x.zarr"
    with pytest.raises(InputError, match="meta/log_power_db: row 77 holds NaN or infinity"):
        run(fake_recipe(**SMALL), out, progress=False)
    assert status(out).done == 4


@pytest.mark.parametrize("spoil", ["missing", "shape", "dtype"])
def test_a_builder_that_breaks_its_promise_is_a_bug(tmp_path, monkeypatch, spoil):
    real = FakeBuilder.rows

    def bad(self, start, stop, state):
        made = real(self, start, stop, state)
        if spoil == "missing":
            del made["labels/los"]
        else:
            made["labels/los"] = made["labels/los"][1:] if spoil == "shape" else made["labels/los"].astype(np.int16)
        return made

    monkeypatch.setattr(FakeBuilder, "rows", bad)
    with pytest.raises(ValueError, match="labels/los"):
        run(fake_recipe(**SMALL), tmp_path / "x.zarr", progress=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: (out.mkdir(), (out / "notes.txt").touch()), "exists and is not empty"),
        (lambda out: out.touch(), "exists and is not empty"),
        (lambda out: make_store(out), "holds a finished store"),
    ],
)
def test_used_folders_are_refused_with_both_ways_out(tmp_path, make, words):
    out = tmp_path / "x.zarr"
    make(out)
    for begin in (init, run):
        with pytest.raises(StoreError, match=words) as caught:
            begin(fake_recipe(), out)
        assert caught.value.hint == "choose another --out, or remove it first"


def test_an_empty_folder_is_welcome(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    run(fake_recipe(), tmp_path / "x.zarr", progress=False)
    assert open_store(tmp_path / "x.zarr").samples == 64


def test_a_link_to_an_empty_folder_stays_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "x.zarr").symlink_to(tmp_path / "scratch")
    run(fake_recipe(), tmp_path / "x.zarr", progress=False)
    assert (tmp_path / "x.zarr").is_symlink()
    assert open_store(tmp_path / "scratch").samples == 64


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WfmError, match=r"cannot write .*x\.zarr: Not a directory"):
        init(fake_recipe(), tmp_path / "file" / "x.zarr")


def test_errors_of_a_builder_cross_the_pool(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    os.environ["WFM_FAKE_BROKEN"] = "1"
    try:
        with pytest.raises(InputError, match="the source has gone") as caught:
            load(out, workers=2, progress=False)
    finally:
        del os.environ["WFM_FAKE_BROKEN"]
    assert caught.value.hint == "bring it back"


def test_the_folder_does_not_decide_which_code_runs(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(), out)
    path = out / "_wfm" / "plan.json"
    path.write_text(path.read_text().replace('"kind": "fake"', '"kind": "os:system"'))
    with pytest.raises(InputError, match="no builder is called 'os:system'"):
        load(out, progress=False)


def test_another_recipe_is_refused_by_the_key_that_differs(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    with pytest.raises(StoreError, match="unfinished build") as caught:
        init(fake_recipe(**SMALL), out)
    assert "wfm prepare load" in (caught.value.hint or "")
    other = fake_recipe(**{**SMALL, "antennas": 4, "chunk_mib": 0.004})
    with pytest.raises(StoreError, match=r"layout\.chunk_mib is 0\.002 there and 0\.004 here; source\.antennas is 8"):
        run(other, out)
    renamed = fake_recipe(**SMALL).model_copy(update={"name": "other", "description": "same data"})
    run(renamed, out, progress=False)


def test_changed_inputs_are_refused(tmp_path, monkeypatch):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    monkeypatch.setattr("tests.fakes.stores.SOURCE_DIGEST", "f" * 64)
    with pytest.raises(StoreError, match=r"input has changed since this build began: sources\[0\]\.sha256"):
        run(fake_recipe(**SMALL), out)


def test_part_numbers_are_checked(tmp_path):
    init(fake_recipe(**SMALL), tmp_path / "x.zarr")
    for part in ((0, 3), (4, 3), (1, 0)):
        with pytest.raises(InputError, match="part"):
            load(tmp_path / "x.zarr", part)


@pytest.mark.parametrize("call", [load, finalise, status])
def test_folders_without_a_build(tmp_path, call):
    with pytest.raises(StoreError, match="holds no unfinished build"):
        call(tmp_path)


def test_a_vanished_shard_stops_the_last_step(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    load(out, progress=False)
    (out / "labels" / "los" / "c.3").unlink()
    with pytest.raises(StoreError, match=r"labels/los/c\.3: has vanished"):
        finalise(out)


def test_a_build_of_another_version_is_refused(tmp_path):
    out = tmp_path / "x.zarr"
    init(fake_recipe(**SMALL), out)
    path = out / "_wfm" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(StoreError, match="format version 99"):
        load(out)
