"""What holds for every task: parts, splits, leaks, a store from beginning to end."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.wfm_datasets.wavesfm.conftest import Make
from wfm_cli.core.recipe.prepare import PrepareRecipe, WavesFMSource
from wfm_cli.core.store import open_store, parts
from wfm_cli.core.store.verify import verify
from wfm_cli.errors import InputError
from wfm_datasets.wavesfm.builder import READERS

DEFAULTS = {
    "sensing": "official",
    "rfs": "recording",
    "pos": "position",
    "radcom": "block",
    "rml": "block",
    "rfp": "day",
    "interf": "recording",
    "uwb-indoor": "location",
    "uwb-industrial": "official",
}
GROUP = {
    "rfs": "meta/recording",
    "pos": "meta/place",
    "radcom": "meta/block",
    "rml": "meta/block",
    "rfp": "meta/recording",
    "interf": "meta/recording",
    "uwb-indoor": "meta/place",
}


@pytest.mark.parametrize("task", READERS)
def test_rows_do_not_depend_on_how_they_are_cut(task: str, builder: Make) -> None:
    made = builder(task)
    plan = made.plan()
    name = plan.attrs["input"]
    whole = made.rows(0, plan.samples, plan.state)[name]
    assert whole.shape == (plan.samples, *plan.arrays[0].shape)
    assert whole.dtype == plan.arrays[0].dtype
    assert np.isfinite(whole).all()
    assert len(np.unique(whole.reshape(len(whole), -1).sum(1))) > 0.9 * plan.samples  # no row stands for another
    cuts = [0, 1, plan.samples // 3, plan.samples - 5, plan.samples]
    pieces = [made.rows(a, b, plan.state)[name] for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("task", READERS)
def test_the_default_split_is_by_group_and_the_published_one_tells_its_leak(task: str, builder: Make) -> None:
    plan = builder(task).plan()
    columns = {spec.name: values for spec, values in plan.columns}
    told = plan.attrs["splits"]
    assert told["default"] == DEFAULTS[task]
    for name, entry in told["available"].items():
        counts = np.bincount(columns[f"split/{name}"], minlength=3)
        assert [entry[part] for part in ("train", "val", "test")] == counts.tolist()
        assert counts.all()
    split = columns[f"split/{told['default']}"]
    assert told["available"][told["default"]]["leak"]["share"] == 0
    if task in GROUP:
        group, published = columns[GROUP[task]], columns["split/published"]
        assert not np.intersect1d(group[split == 0], group[split == 2]).size
        assert not np.intersect1d(group[split == 1], group[split == 2]).size
        tested = group[published == 2]
        share = np.mean([value in set(group[published == 0]) for value in tested])
        assert told["available"]["published"]["leak"]["share"] == pytest.approx(share)
    again = {spec.name: values for spec, values in builder(task).plan().columns}
    np.testing.assert_array_equal(split, again[f"split/{told['default']}"])


def test_snr_copies_of_a_position_never_straddle_train_and_test(builder: Make) -> None:
    plan = builder("pos").plan()
    columns = {spec.name: values for spec, values in plan.columns}
    place, snr, split = (columns[name] for name in ("meta/position", "meta/snr_db", "split/position"))
    assert sorted(set(snr)) == [10, 20, 50]
    for part in (0, 1, 2):
        mine = {tuple(p) for p in place[split == part]}
        assert not mine & {tuple(p) for p in place[split != part]}
    assert plan.attrs["splits"]["available"]["published"]["leak"]["share"] > 0.7


def test_held_out_splits_test_on_another_day_and_room(builder: Make) -> None:
    day = {spec.name: values for spec, values in builder("rfp").plan().columns}
    assert set(day["meta/day"][day["split/day"] == 2]) == {2}
    assert set(day["meta/day"][day["split/day"] != 2]) == {1}
    room = {spec.name: values for spec, values in builder("uwb-indoor").plan().columns}
    assert set(room["meta/environment"][room["split/environment"] == 2]) == {1}


def test_every_class_is_in_every_part_of_a_group_split(builder: Make) -> None:
    for task, split, label in (("rfs", "recording", "labels/signal"), ("rml", "block", "labels/modulation")):
        columns = {spec.name: values for spec, values in builder(task).plan().columns}
        for part in (0, 1, 2):
            assert set(columns[label][columns[f"split/{split}"] == part]) == set(columns[label])


def test_the_split_can_be_chosen_and_an_impossible_one_is_named(builder: Make) -> None:
    assert builder("pos", split="published").plan().attrs["splits"]["default"] == "published"
    with pytest.raises(InputError, match="split: 'day' cannot be made") as caught:
        builder("pos", split="day").plan()
    assert caught.value.hint == "possible: position, published"


def test_too_few_groups_are_not_split_at_random_silently(builder: Make, raw: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="too few groups") as caught:
        builder("rfp", raw["rfp"] / "4G_Day_1_bes_s1.bin", raw["rfp"] / "4G_Day_1_bes_s2.bin").plan()
    assert "give more files" in (caught.value.hint or "")


@pytest.mark.parametrize("task", ["pos", "rml"])
def test_a_store_from_beginning_to_end(task: str, raw: dict[str, Path], tmp_path: Path) -> None:
    source = WavesFMSource(task=task, paths=(str(raw[task]),), size=8)  # type: ignore[arg-type]
    small = PrepareRecipe.model_validate({"source": source.model_dump(), "layout": {"shard_mib": 0.05}})
    parts.run(small, tmp_path / "s.zarr", progress=False)
    store = open_store(tmp_path / "s.zarr")
    assert verify(store.path).problems == ()
    assert store.input in store.names
    assert store.attrs["task"] == task
    assert store.attrs["sources"][0]["sha256"]
    assert store.spec(store.input).attrs["normalise"] == "file"


@pytest.mark.parametrize("task", READERS)
def test_bad_paths_get_one_line(task: str, builder: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: does not exist"):
        builder(task, tmp_path / "nowhere").plan()
    (tmp_path / "walkie-talkie.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"holds no .* file \(it holds 1 \.wav\)") as caught:
        builder(task, tmp_path).plan()
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("task", READERS)
def test_lfs_pointers_are_named(task: str, builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    """Every file of the data set becomes a pointer; what stands beside it (CSV, JSON of recordings) stays."""
    root = raw[task] if raw[task].is_dir() else raw[task].parent
    data = {".mat", ".png", ".hdf5", ".01a", ".bin", ".jsonl"} | ({".json"} if task == "uwb-indoor" else set())
    files = [f for f in root.rglob("*") if f.is_file() and (f.parent != root or raw[task] in (root, f))]
    for file in files:
        target = tmp_path / root.name / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n".encode()
        target.write_bytes(pointer if file.suffix.lower() in data else file.read_bytes())
    with pytest.raises(InputError, match="Git LFS pointer"):
        builder(task, tmp_path / root.name).plan()
