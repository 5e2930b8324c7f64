"""Damaged and hostile files: an account in one line, or a right reading; nothing opened elsewhere, memory bounded."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import hostile
from tests.fakes.hostile import WEIRD, damage, damaged_json, explore, limited_memory, mutations
from tests.fakes.iq_seeds import META, SEEDS, iq, parts, wav
from wfm_datasets.iq.recording import open_windows
from wfm_datasets.iq.scan import ReadOptions, scan

EXAMPLES = int(os.environ.get("WFM_FUZZ_EXAMPLES", "0"))
"""Examples per kind of file; the suite takes few, always the same ones."""
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def few(examples: int) -> settings:
    return settings(
        max_examples=EXAMPLES or examples, derandomize=not EXAMPLES, deadline=None, database=None,
        suppress_health_check=SUPPRESSED,
    )  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The bytes of every file of every kind, by its path below the folder."""
    made = {}
    for kind, write in SEEDS.items():
        folder = tmp_path_factory.mktemp(kind)
        write(folder)
        scan([str(folder)], ReadOptions())  # imports are not watched
        made[kind] = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Path]]:
    """Writes files into a new folder each time."""
    numbers = itertools.count()
    (tmp_path / "outside.bin").write_bytes(iq(64).tobytes())
    (tmp_path / "outside.sigmf-data").write_bytes(iq(64).tobytes())

    def write(files: dict[str, bytes]) -> Path:
        shutil.rmtree(tmp_path / f"f{(number := next(numbers)) - 1}", ignore_errors=True)
        folder = tmp_path / f"f{number}"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    with limited_memory():
        yield write


Fresh = Callable[[dict[str, bytes]], Path]
Originals = dict[str, dict[str, bytes]]


@pytest.mark.parametrize("kind", SEEDS)
def test_whole_files_are_read(kind: str, originals: Originals, fresh: Fresh) -> None:
    found = explore(fresh(originals[kind]))
    assert not isinstance(found, Exception)
    assert found.recordings
    assert not found.failed


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_are_read_or_accounted_for(kind: str, originals: Originals, fresh: Fresh) -> None:
    files = originals[kind]

    @few(9)
    @given(st.integers(0, 99), mutations())
    def check(which: int, how: list[hostile.Mutation]) -> None:
        name = list(files)[which % len(files)]
        content = files[name]
        for mutation in how:
            content = damage(content, mutation)
        folder = fresh({**files, name: content})
        explore(folder)
        explore(folder, inputs=(str(folder / name),))

    check()


DESCRIBED = [("sigmf", ".sigmf-meta"), ("sigmf-headers", ".sigmf-meta"), ("sigmf-collection", ".sigmf-collection"),
             ("pairs", ".sigmf-meta"), ("pairs", ".json"), ("torchsig-old", ".json")]  # fmt: skip


@pytest.mark.parametrize(("kind", "suffix"), DESCRIBED)
def test_metadata_of_any_content(kind: str, suffix: str, originals: Originals, fresh: Fresh) -> None:
    name = next(name for name in originals[kind] if name.endswith(suffix))

    @few(15)
    @given(st.integers(0, 200), st.sampled_from(WEIRD), st.booleans())
    def check(which: int, value: Any, remove: bool) -> None:
        text = damaged_json(originals[kind][name].decode(), which, value, remove)
        explore(fresh({**originals[kind], name: text.encode()}))

    check()


CUT = {
    "x.cs16": parts("<i2", 20_000),
    "x.sigmf-data": parts("<i2", 20_000),
    "x.wav": wav(1, 16, parts("<i2", 20_000)),
    "x.cf32": iq(200).tobytes(),
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_left_of_a_cut_file_is_read_right_and_the_rest_is_told(name: str, fresh: Fresh) -> None:
    head = {**META["global"], "core:datatype": "ci16_le"}
    meta = {"x.sigmf-meta": json.dumps({"global": head}).encode()} if "sigmf" in name else {}

    def read(content: bytes) -> tuple[np.ndarray[Any, Any], int]:
        found = explore(fresh({**meta, name: content}))
        assert not isinstance(found, Exception)
        if not found.recordings:
            assert found.failed
            return np.zeros(0, np.complex64), 0
        (recording,) = found.recordings
        window = open_windows(recording)(np.zeros(1, np.int64), np.zeros(1, np.int64), recording.samples)
        return window[0, 0], recording.dropped_bytes

    whole, _ = read(CUT[name])
    unit = 8 if name.endswith("cf32") else 4

    @few(12)
    @given(st.integers(0, len(CUT[name])))
    def check(length: int) -> None:
        left, dropped = read(CUT[name][:length])
        assert np.array_equal(left, whole[: left.size])
        if left.size:
            inside = length - (len(CUT[name]) - unit * whole.size)
            assert (left.size, dropped) == divmod(inside, unit)

    check()
