"""Tables: columns whose rows are not the samples, such as an index of windows into frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.fakes.stores import FakeBuilder, fake_recipe
from wfm_cli.core.store import BUILDERS, ArraySpec, BuildPlan, finalise, init, load, open_store, verify

WINDOWS, STEPS = 301, 4
INDEX = np.arange(WINDOWS * STEPS, dtype=np.int32).reshape(WINDOWS, STEPS) % 40


class WindowedBuilder(FakeBuilder):
    """The fake builder with a table of 301 windows over its 40 samples."""

    def plan(self) -> BuildPlan:
        plan = super().plan()
        spec = ArraySpec("windows/index", "int32", (STEPS,), ("window", "step"), "1", "sample of every step")
        part = ArraySpec("windows/split_paper", "uint8", (), ("window",), "1", "part of every window")
        columns = (*plan.columns, (spec, INDEX), (part, (np.arange(WINDOWS) % 3).astype(np.uint8)))
        return BuildPlan(**{**vars(plan), "columns": columns})


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS, "fake", "tests.core.store.test_tables:WindowedBuilder")


def test_a_table_keeps_its_own_length(tmp_path: Any, windowed: None) -> None:
    out = tmp_path / "x.zarr"
    begun = init(fake_recipe(samples=40, shard_mib=0.001, chunk_mib=0.0005), out)
    load(out, progress=False)
    finalise(out)
    store = open_store(out)
    assert store.samples == begun.samples == 40
    assert np.array_equal(store.read("windows/index"), INDEX)
    assert np.array_equal(store.rows("windows/index").take(np.array([300, 0, 7])), INDEX[[300, 0, 7]])
    assert store.spec("windows/index").dims == ("window", "step")
    assert store.read("channel").shape[0] == 40
    assert list(store.attrs["splits"]["available"]) == ["random", "spatial"]
    tables = WINDOWS * (4 * STEPS + 1)
    rows = sum(store.spec(name).row_bytes for name in store.names if not store.spec(name).is_table)
    assert store.bytes == begun.bytes == 40 * rows + tables
    assert verify(out).ok


def test_damage_in_a_table_is_found(tmp_path: Any, windowed: None) -> None:
    out = tmp_path / "x.zarr"
    init(fake_recipe(samples=40), out)
    load(out, progress=False)
    finalise(out)
    shard = next((out / "windows" / "index").glob("c.*"))
    damaged = bytearray(shard.read_bytes())
    damaged[300 * STEPS * 4] ^= 1
    shard.write_bytes(damaged)
    assert [problem for problem in verify(out).problems if "windows/index" in problem]


def test_arrays_made_by_rows_cannot_be_tables() -> None:
    table = ArraySpec("windows/index", "int32", (4,), ("window", "step"), "1", "")
    with pytest.raises(ValueError, match="one row per sample"):
        BuildPlan("x", 3, (table,))
