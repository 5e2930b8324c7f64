"""Windows of frames: the same as gathering every frame by hand, whether held in memory or read from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.deepsense import make_sequences
from tests.fakes.stores import make_store
from wfm_cli.core.store import Store, open_store
from wfm_cli.core.store.loader import BatchLoader
from wfm_cli.core.store.sequences import (
    INDEX,
    MODALITIES,
    WindowRows,
    training_scales,
    window_indices,
    window_split,
)
from wfm_cli.errors import InputError, StoreError

ROWS = np.array([3, 0, 3, 17, 5])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_sequences(tmp_path_factory.mktemp("sequences"), sequences=5)


def gathered(store: Store, name: str, row: int) -> np.ndarray[Any, Any]:
    """Frames of one window, read one by one."""
    array = store.array(name)
    return np.stack([np.asarray(array[int(frame)]) for frame in np.asarray(store.array(INDEX)[row])])


@pytest.mark.parametrize("in_memory", [True, False])
def test_windows_are_their_frames(store: Store, in_memory: bool) -> None:
    with WindowRows(store, in_memory=in_memory) as rows:
        assert (rows.how == "memory") == in_memory
        assert rows.shape == (len(store.read(INDEX)),)
        taken = rows.take(ROWS)
    assert list(taken.dtype.names or ()) == list(MODALITIES)
    for name, array in MODALITIES.items():
        for place, row in enumerate(ROWS):
            truth = gathered(store, array, row)
            assert np.array_equal(taken[name][place], truth.astype(taken[name].dtype)), name
    assert taken["image"].dtype == np.uint8
    assert taken["gps"].dtype == np.float32


def test_some_modalities_and_linear_power(store: Store) -> None:
    rows = WindowRows(store, ["power", "gps"], linear_power=True)
    assert rows.dtype.names == ("power", "gps")
    assert np.array_equal(rows.take(ROWS[:1])["power"][0], gathered(store, "frames/power", 3))


def test_windows_never_cross_sequences(store: Store) -> None:
    index, sequence, time = store.read(INDEX), store.read("meta/sequence"), store.read("meta/time_s")
    assert (sequence[index] == sequence[index[:, :1]]).all()
    assert (np.diff(index, axis=1) == 1).all()
    assert (np.diff(time[index], axis=1) >= 0).all()


def test_what_a_store_lacks_is_named_with_the_remedy(tmp_path: Path) -> None:
    few = make_sequences(tmp_path, modalities=("lidar", "gps", "power"))
    assert WindowRows(few).dtype.names == ("lidar", "gps", "power")
    with pytest.raises(InputError, match=r"sequences\.zarr: has no image and no radar") as refused:
        WindowRows(few, ["image", "radar", "gps"])
    assert refused.value.hint == "leave it out: model.modalities=[gps]"


def test_stores_without_windows_are_refused(tmp_path: Path) -> None:
    plain = make_store(tmp_path / "s.zarr", samples=12)
    with pytest.raises(InputError, match="has no windows"):
        WindowRows(plain)
    with pytest.raises(StoreError, match="has no split 'paper' of windows"):
        window_split(plain, "paper")


def test_parts_of_a_split(store: Store) -> None:
    parts = {part: window_indices(store, part) for part in ("train", "val", "test")}
    assert store.attrs["windows"]["default"] == "sequence"
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(store.read(INDEX))))
    frames = {part: set(store.read(INDEX)[rows].ravel().tolist()) for part, rows in parts.items()}
    assert not frames["train"] & frames["test"]
    told = store.attrs["windows"]["splits"]
    assert {part: len(rows) for part, rows in parts.items()} == {part: told["sequence"][part] for part in parts}
    paper = {part: window_indices(store, part, "paper") for part in parts}
    seen = set(store.read(INDEX)[paper["train"]].ravel().tolist())
    test = set(store.read(INDEX)[paper["test"]].ravel().tolist())
    assert told["paper"]["test_frames_in_training"] == pytest.approx(len(seen & test) / len(test), abs=1e-4)
    assert told["paper"]["test_frames_in_training"] > 0.3
    with pytest.raises(StoreError, match="has no split 'day' of windows") as refused:
        window_split(store, "day")
    assert "sequence" in (refused.value.hint or "")


def test_scales_are_those_of_the_training_frames(store: Store) -> None:
    frames = sorted(set(store.read(INDEX)[window_indices(store, "train")].ravel().tolist()))
    position = np.stack([store.array("frames/position")[frame] for frame in frames])
    level = np.stack([store.array("frames/power_db")[frame] for frame in frames]).astype(np.float64)
    linear = np.stack([store.array("frames/power")[frame] for frame in frames]).astype(np.float64)
    found = training_scales(store)
    assert found == pytest.approx(
        {
            "gps_scale": np.sqrt(np.mean(position**2)), "power_mean": level.mean(), "power_scale": level.std(),
            "linear_mean": linear.mean(), "linear_scale": linear.std(),
        }
    )  # fmt: skip
    assert training_scales(store, "paper") != found


@pytest.mark.parametrize("prefetch", [0, 2])
def test_the_loader_serves_windows_by_their_numbers(store: Store, prefetch: int) -> None:
    rows, indices = WindowRows(store, ["gps", "radar"]), window_indices(store, "train")
    loader = BatchLoader(open_store(store.path), INDEX, indices, 4, seed=3, prefetch=prefetch, rows=rows)
    met = []
    for batch in loader.iterate(0, loader.steps_per_epoch):
        met += batch.ids.tolist()
        assert np.array_equal(batch.data, WindowRows(store, ["gps", "radar"], in_memory=False).take(batch.ids))
    assert len(set(met)) == len(met) == len(indices) // 4 * 4
    assert set(met) <= set(indices.tolist())
