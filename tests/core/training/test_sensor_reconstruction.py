"""Masked reconstruction of windows through the whole engine: units, resume, micro-batches, processes, later use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wfm_cli as wfm
from tests.core.training.test_windows import check_resumed, near
from tests.core.training.test_windows import recipe as windows_recipe
from tests.fakes.deepsense import make_sequences
from wfm_cli.core.evaluation.report.pretraining import summarise
from wfm_cli.core.models.bundle import Bundle
from wfm_cli.core.recipe.loading import parse_recipe, to_dict
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store import Store
from wfm_cli.core.store.run import Run
from wfm_cli.core.store.sequences import WindowRows, window_indices
from wfm_cli.core.training.engine import pretrain


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_sequences(tmp_path_factory.mktemp("sequences"), sequences=3)


def recipe(store: Store, **train: Any) -> PretrainRecipe:
    block = to_dict(windows_recipe(store, **train)) | {"objective": {"kind": "sensor_reconstruction", "image_cell": 2}}
    return parse_recipe(block, PretrainRecipe)


@pytest.fixture(scope="module")
def finished(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run.zarr"
    pretrain(recipe(store), out, progress=False)
    return out


def test_a_run_says_how_it_compares_with_what_needs_no_training(finished: Path) -> None:
    run = Run.open(finished)
    assert run.complete
    curves, summary = run.curves.read(), run.attrs["summary"]
    assert np.isfinite(curves["loss"]).all()
    assert np.isfinite(curves["val_nmse_power_nearest"]).sum() >= 2
    assert {"nmse", "nmse_future", "nmse_nearest", "nmse_mean"} == set(summary["quantiles"])
    assert summary["references"] == ["nmse_nearest", "nmse_mean"]
    assert "nearest visible frame" in summary["verdict"] or "training mean" in summary["verdict"]
    report = summarise(run)
    assert report is not None
    assert [label for label, _ in report.rows] == [
        "this model", "this model, future hidden", "nearest visible frame (no training)", "training mean (no training)",
    ]  # fmt: skip


def test_units_are_those_of_the_training_windows(finished: Path, store: Store) -> None:
    rows = WindowRows(store, ["gps"]).take(window_indices(store, "train"))
    gps = rows["gps"].reshape(-1, 2).astype(np.float64) / Run.open(finished).attrs["model"]["gps_scale"]
    weights = Run.open(finished).load_weights("last")
    np.testing.assert_allclose(weights["contents.mean_gps"][0], gps.mean(0), rtol=1e-4, atol=1e-6)
    spread = np.sqrt(np.square(gps - gps.mean(0)).mean())
    assert float(weights["contents.deviation_gps"]) == pytest.approx(spread, rel=1e-4)


def test_a_resumed_run_equals_one_that_never_stopped(
    finished: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_resumed(finished, recipe(store), tmp_path / "run.zarr", monkeypatch)


COLUMNS = ("loss", "loss_image", "loss_power", "grad_norm", "val_loss", "val_nmse_radar")


def test_micro_batches_change_nothing(finished: Path, store: Store, tmp_path: Path) -> None:
    pretrain(recipe(store, micro_batch=1), tmp_path / "parts", progress=False)
    near(finished, tmp_path / "parts", COLUMNS)


def test_two_processes_equal_one(finished: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(to_dict(recipe(store))))
    wfm.pretrain(tmp_path / "small.yaml", tmp_path / "two", devices=2)
    near(finished, tmp_path / "two", COLUMNS)


def test_bf16_is_near(finished: Path, store: Store, tmp_path: Path) -> None:
    pretrain(recipe(store, precision="bf16"), tmp_path / "half", progress=False)
    near(finished, tmp_path / "half", COLUMNS, 0.05)


def test_the_predictor_forecasts_as_after_jepa_msac(finished: Path, store: Store, tmp_path: Path) -> None:
    pretrain(windows_recipe(store, steps=1), tmp_path / "jepa", progress=False)
    encoders: list[Any] = [wfm.load_encoder(path) for path in (finished, tmp_path / "jepa")]
    names = [{name: value.shape for name, value in encoder.state_dict().items()} for encoder in encoders]
    assert names[0] == names[1]
    rows = WindowRows(store, encoders[0].block.modalities).take(np.arange(3))
    batch = Bundle({name: torch.from_numpy(rows[name]) for name in rows.dtype.names})
    with torch.no_grad():
        made = [encoder.forecast(batch) for encoder in encoders]
    assert made[0].shape == made[1].shape == (3, 2, 43, 16)
    assert not torch.equal(made[0], made[1])
