"""JEPA-MSAC on windows of frames through the whole engine: curves, resume, micro-batches, processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wfm_cli as wfm
from tests.core.training.test_engine import stop_in_step
from tests.core.training.test_resume import same_tensors
from tests.fakes.deepsense import make_sequences
from tests.fakes.stores import make_store
from wfm_cli.core.evaluation.probing import run_probe
from wfm_cli.core.recipe.evaluate import ProbeRecipe
from wfm_cli.core.recipe.loading import parse_recipe, to_dict
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store import Store
from wfm_cli.core.store.run import Run
from wfm_cli.core.store.sequences import WindowRows, training_scales, window_indices
from wfm_cli.core.training.checkpoint import Checkpoints
from wfm_cli.core.training.engine import pretrain
from wfm_cli.core.training.journal import TIMED
from wfm_cli.core.training.samples import samples_of
from wfm_cli.errors import InputError, RecipeError, Requeue

STEPS = 6
MODEL = {
    "kind": "jepa_msac", "width": 16, "heads": 2, "layers": 1, "predictor_layers": 1, "history": 4, "horizon": 2,
    "vision": {"network": "cnn"},
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_sequences(tmp_path_factory.mktemp("sequences"), sequences=3)


def recipe(
    store: Store, *, model: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **train: Any
) -> PretrainRecipe:
    block = {"steps": STEPS, "batch_size": 4, "log_every": 1, "eval_every": 3, "save_every": 3, "eval_samples": 6}
    return parse_recipe(
        {
            "data": {"store": str(store.path), "array": "windows/index", **(data or {})},
            "model": {**MODEL, **(model or {})},
            "masks": {"kind": "modality", "future": 0.25},
            "objective": {"kind": "jepa_msac"},
            "train": {**block, "threads": 1, "device": "cpu", "lr": 3e-3, **train},
        },
        PretrainRecipe,
    )


@pytest.fixture(scope="module")
def finished(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run.zarr"
    pretrain(recipe(store), out, progress=False)
    return out


def test_a_run_holds_what_later_tasks_need(finished: Path, store: Store) -> None:
    run = Run.open(finished)
    assert run.complete
    assert run.attrs["array"] == "windows/index"
    assert run.attrs["store"]["split"] == "sequence"
    assert run.attrs["store"]["samples"]["train"] == len(window_indices(store, "train"))
    scales = training_scales(store)
    assert {name: run.attrs["model"][name] for name in ("gps_scale", "power_mean", "power_scale")} == {
        name: scales[name] for name in ("gps_scale", "power_mean", "power_scale")
    }
    curves = run.curves.read()
    assert np.isfinite(curves["loss"]).all()
    assert np.isfinite(curves["val_nmse_latent_future_db_median"]).sum() >= 2
    assert np.nanmax(curves["ema_gap"]) > 0
    held = run.unit("validation").array("nmse_latent")
    assert held.shape == (min(6, len(window_indices(store, "val"))),)
    assert wfm.load_encoder(finished).sample_shape == (6,)


def check_resumed(finished: Path, made: PretrainRecipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is stopped in step 3 and resumed ends as `finished` did, weights, optimiser and curves."""
    with monkeypatch.context() as patch:
        stop_in_step(3, patch)
        with pytest.raises(Requeue):
            pretrain(made, out, progress=False)
    assert 3 <= Checkpoints(out).steps()[-1] < STEPS
    pretrain(made, out, resume=True, progress=False)
    last = f"checkpoints/step_{STEPS:08d}"
    for part in ("weights/best", "weights/last", f"{last}/model", f"{last}/optimizer"):
        assert same_tensors(finished / part, out / part), part
    straight, resumed = Run.open(finished).curves.read(), Run.open(out).curves.read()
    assert straight.keys() == resumed.keys()
    for name in straight.keys() - TIMED:
        np.testing.assert_array_equal(straight[name], resumed[name], err_msg=name)


def test_a_resumed_run_equals_one_that_never_stopped(
    finished: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_resumed(finished, recipe(store), tmp_path / "run.zarr", monkeypatch)


def test_where_frames_are_read_does_not_matter(finished: Path, store: Store, tmp_path: Path) -> None:
    pretrain(recipe(store, data={"in_memory": False}), tmp_path / "files", progress=False)
    assert Run.open(finished).attrs["store"]["reading"] == "memory"
    assert Run.open(tmp_path / "files").attrs["store"]["reading"] == "preadv"
    assert same_tensors(finished / "weights/last", tmp_path / "files" / "weights/last")


def test_training_and_validation_hold_the_frames_once(store: Store) -> None:
    held, read = (samples_of(store, recipe(store, data={"in_memory": how})).rows for how in (True, False))
    assert held() is held()
    assert read() is not read()  # the loader's thread and a validation may read at once


COLUMNS = ("loss", "grad_norm", "ema_gap", "val_loss")


def near(a: Path, b: Path, columns: tuple[str, ...] = COLUMNS, tolerance: float = 1e-3) -> None:
    """The same training up to the order of sums: losses, gradients and other columns of every step."""
    one, two = Run.open(a).curves.read(), Run.open(b).curves.read()
    for column in columns:
        np.testing.assert_allclose(two[column], one[column], rtol=tolerance, atol=1e-5, err_msg=column)


def test_micro_batches_change_nothing(finished: Path, store: Store, tmp_path: Path) -> None:
    pretrain(recipe(store, micro_batch=1), tmp_path / "parts", progress=False)
    near(finished, tmp_path / "parts")


def test_two_processes_equal_one(finished: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(to_dict(recipe(store))))
    wfm.pretrain(tmp_path / "small.yaml", tmp_path / "two", devices=2)
    near(finished, tmp_path / "two")


def test_some_sensors_alone_train(store: Store, tmp_path: Path) -> None:
    few = recipe(store, model={"modalities": ["gps", "power"], "power_unit": "linear"}, steps=1)
    pretrain(few, tmp_path / "few", progress=False)
    assert Run.open(tmp_path / "few").attrs["model"]["power_mean"] == training_scales(store)["linear_mean"]
    batch: Any = {"gps": torch.zeros(2, 4, 2), "power": torch.zeros(2, 4, 64)}
    assert wfm.load_encoder(tmp_path / "few").embed(batch).shape == (2, 16)
    rows = WindowRows(store, ["gps", "power"], linear_power=True).take(np.arange(5))
    batch = {name: torch.from_numpy(rows[name]) for name in ("gps", "power")}
    with torch.no_grad():
        expected = wfm.load_encoder(tmp_path / "few").embed(batch).numpy()
    np.testing.assert_allclose(wfm.embed(str(tmp_path / "few"), store, indices=range(5)), expected, atol=1e-5)
    assert wfm.embed(f"{tmp_path / 'few'}@last", store).shape == (len(store.read("windows/index")), 16)


def test_windows_have_no_labels_of_single_frames(finished: Path, store: Store, tmp_path: Path) -> None:
    asked = {"encoder": str(finished), "data": str(store.path), "tasks": [str(tmp_path / "beam.yaml")]}
    words = "name: beam\nversion: 1\ntitle: Beam\ndescription: Best.\nlabel: labels/beam\nkind: classes\nclasses: 64\n"
    (tmp_path / "beam.yaml").write_text(words + "primary: top1\nbaselines: [majority]\n")
    with pytest.raises(InputError, match="embeds windows of frames, the tasks label single samples"):
        run_probe(ProbeRecipe.model_validate(asked), tmp_path / "probe", progress=False)


def test_what_does_not_go_together_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"windows of 7 frames, the store has windows of 6"):
        pretrain(recipe(store, model={"horizon": 3}), tmp_path / "a", progress=False)
    with pytest.raises(RecipeError, match=r"data.array: model 'jepa_msac' does not take 'channel'"):
        pretrain(recipe(store, data={"array": "channel"}), tmp_path / "b", progress=False)
    with pytest.raises(RecipeError, match=r"data.where: windows cannot be chosen by label"):
        pretrain(recipe(store, data={"where": {"meta/scenario": "31"}}), tmp_path / "c", progress=False)
    plain = make_store(tmp_path / "s.zarr", samples=24)
    with pytest.raises(InputError, match=r"windows/index"):
        pretrain(recipe(plain), tmp_path / "d", progress=False)
    assert not any((tmp_path / name).exists() for name in "abcd")
