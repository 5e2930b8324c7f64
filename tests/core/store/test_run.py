"""Runs: everything lands atomically and comes back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.store import run as run_module
from wfm_cli.core.store.curves import ROWS, Curves
from wfm_cli.core.store.run import Run, load_tensors, save_tensors, tensor_attrs
from wfm_cli.errors import InputError, StoreError


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    tensors = {
        "a.weight": torch.randn(3, 4),
        "b": torch.randn(5).to(torch.bfloat16),
        "n": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "view": torch.arange(12.0).reshape(3, 4).t(),
        "flags": torch.tensor([True, False]),
    }
    save_tensors(tmp_path / "w", tensors, {"step": 3})
    back = load_tensors(tmp_path / "w")
    assert set(back) == set(tensors)
    for name, value in tensors.items():
        assert back[name].dtype == value.dtype
        assert torch.equal(back[name], value), name
    assert tensor_attrs(tmp_path / "w") == {"step": 3}


def test_missing_or_cut_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        load_tensors(tmp_path / "nothing")
    save_tensors(tmp_path / "w", {"a": torch.randn(10)})
    group = zarr.open_group(tmp_path / "w", mode="r+")
    group.attrs["layout"] = {"a": {"dtype": "float32", "offset": 5, "shape": [10]}}
    with pytest.raises(StoreError, match="cut short"):
        load_tensors(tmp_path / "w")


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path / "r.zarr", "probe", {})
    run.write_unit("k", {"v": 1}, {"x": np.arange(3)})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module.zarr, "create_group", full)
    with pytest.raises(OSError, match="No space"):
        run.write_unit("k", {"v": 2}, {"x": np.arange(4)})
    assert run.unit("k").attrs == {"v": 1}
    assert sorted(p.name for p in (run.path / "results").iterdir()) == ["k", "zarr.json"]


def test_a_run_is_one_zarr_hierarchy(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r.zarr", "pretrain", {"seed": 1})
    run.save_weights({"encoder.w": torch.ones(2)}, "best")
    run.write_unit("los.raw", {}, {"metrics/f1": np.arange(3.0)})
    run.cached("abc", lambda: np.ones((2, 3), np.float32))
    run.curves.append({"step": 1, "loss": 2})
    curves = run.curves
    curves.append({"step": 1, "loss": 2})
    curves.flush()
    names = {name for name, _ in zarr.open_group(run.path, mode="r").members(max_depth=None)}
    assert {"weights/best/float32", "results/los.raw/metrics/f1", "features/abc/values", "curves/loss"} <= names


def test_the_cache_is_made_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r.zarr", "probe", {})
    calls: list[int] = []

    def make() -> np.ndarray:
        calls.append(1)
        return np.arange(6.0).reshape(2, 3)

    assert np.array_equal(run.cached("f", make), run.cached("f", make))
    assert calls == [1]


def test_weights_prefer_the_best(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r.zarr", "pretrain", {})
    with pytest.raises(StoreError, match="no weights"):
        run.load_weights()
    run.save_weights({"w": torch.zeros(1)}, "last")
    assert run.load_weights()["w"] == 0
    run.save_weights({"w": torch.ones(1)}, "best")
    assert run.load_weights()["w"] == 1
    assert run.load_weights("last")["w"] == 0


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty") as caught:
        Run.create(tmp_path, "probe", {})
    assert "--resume" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content", [None, "{}", '{"attributes": {"wfm_run": {"format_version": 99}}}', "version https"]
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(StoreError):
        Run.open(tmp_path)


def test_bad_keys_are_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r.zarr", "probe", {})
    with pytest.raises(ValueError, match="key"):
        run.write_unit("../up", {}, {})


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["loss", "lr"]), st.floats(-5, 5), max_size=2), max_size=30),
    flushes=st.sets(st.integers(0, 29)),
)
def test_curves_hold_what_was_appended(
    rows: list[dict[str, float]], flushes: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("c") / "curves"
    curves = Curves(path)
    for i, row in enumerate(rows):
        curves.append({"step": i, **row})
        if i in flushes:
            curves.flush()
    curves.flush()
    back = Curves(path).read()
    for i, row in enumerate(rows):
        for name in ("loss", "lr"):
            if name in back:
                assert np.array_equal(back[name][i], row.get(name, np.nan), equal_nan=True)


def test_curves_span_chunks_truncate_and_open_with_zarr(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "c")
    for i in range(ROWS + 10):
        curves.append({"step": i, "loss": i / 2})
        if i == 100:
            curves.flush()
    curves.flush()
    array = zarr.open_array(tmp_path / "c" / "loss", mode="r")
    assert np.array_equal(array[...], np.arange(ROWS + 10) / 2)
    again = Curves(tmp_path / "c")
    again.truncate(50)
    again.append({"step": 51, "loss": -1})
    again.flush()
    assert np.array_equal(Curves(tmp_path / "c").read()["loss"], [*np.arange(51) / 2, -1])
