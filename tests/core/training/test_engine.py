"""From a recipe to a run, with a small LWM on a small store."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.core.training.test_resume import same_tensors
from tests.fakes.stores import make_store
from wfm_cli.core.models import build_encoder
from wfm_cli.core.recipe.loading import parse_recipe
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.run import Run
from wfm_cli.core.training.checkpoint import Checkpoints
from wfm_cli.core.training.engine import pretrain
from wfm_cli.core.training.journal import TIMED
from wfm_cli.core.training.step import Stepper
from wfm_cli.errors import InputError, MissingExtraError, RecipeError, Requeue, StoreError, WfmError

STEPS = 12
LAST = f"checkpoints/step_{STEPS:08d}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "s.zarr"
    make_store(path, samples=100)
    return path


def recipe(store: Path, *, seed: int = 0, data: dict[str, Any] | None = None, **train: Any) -> PretrainRecipe:
    model = {"kind": "lwm", "wiring": "v1.1", "layers": 2, "width": 16, "heads": 2, "ffn": 32, "max_tokens": 9}
    block = {"steps": STEPS, "batch_size": 16, "log_every": 2, "eval_every": 4, "save_every": 4, "threads": 1} | train
    block = {key: value for key, value in block.items() if value is not None}
    data = {"store": str(store), **(data or {})}
    return parse_recipe({"name": "small", "seed": seed, "data": data, "model": model, "train": block}, PretrainRecipe)


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run.zarr"
    pretrain(recipe(store), out, progress=False)
    return out


def stop_in_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM while step `number` (from 1) runs; it is noticed in the next."""
    plain, count = Stepper.__call__, 0

    def call(self: Stepper, *args: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *args)

    monkeypatch.setattr(Stepper, "__call__", call)


def test_run_holds_what_others_need(finished: Path, store: Path) -> None:
    run = Run.open(finished)
    assert run.complete
    assert run.attrs["status"] == "complete"
    assert run.attrs["sample_shape"] == [8, 8, 2]
    assert run.attrs["store"]["path"] == str(store)
    assert run.attrs["model"]["attention"] == "auto"
    encoder = build_encoder(LWMModel.model_validate(run.attrs["model"]), tuple(run.attrs["sample_shape"]))
    assert run.attrs["parameters"] == sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    for which in ("best", "last"):
        weights = run.load_weights(which)
        encoder.load_state_dict({n.removeprefix("encoder."): v for n, v in weights.items() if n.startswith("encoder.")})
    assert torch.isfinite(encoder.eval().embed(torch.randn(3, 8, 8, 2))).all()


def test_curves_have_one_row_per_step_with_news(finished: Path) -> None:
    curves = Run.open(finished).curves.read()
    np.testing.assert_array_equal(curves["step"], [2, 4, 6, 8, 10, 12])
    np.testing.assert_allclose(curves["epoch"], curves["step"] / 4)  # 70 training samples, 4 full batches
    known = {"loss", "lr", "grad_norm", "samples_per_s", "seconds", "refused_steps"}
    assert all(np.isfinite(curves[name]).all() for name in known)
    validated = curves["step"] % 4 == 0
    for name in ("val_loss", "val_nmse_db_median", "val_nmse_rank2_db_p90", "rankme", "feature_std"):
        np.testing.assert_array_equal(np.isfinite(curves[name]), validated, err_msg=name)
    assert set(curves["rankme_rows"][validated]) == {10}
    references = curves["val_nmse_rank1_db_median"][validated]
    np.testing.assert_array_equal(references, references[0])  # the same masks at every validation


def test_validation_unit_holds_every_sample(finished: Path, store: Path) -> None:
    run = Run.open(finished)
    unit, summary = run.unit("validation"), run.attrs["summary"]
    assert unit.array("ids").shape == unit.array("nmse").shape == unit.array("nmse_rank2").shape == (10,)
    median = 10 * np.log10(np.median(unit.array("nmse")))
    assert summary["quantiles"]["nmse"]["median"] == pytest.approx(median, abs=0.2)
    assert unit.attrs["quantiles"] == summary["quantiles"]
    assert "which needs no training, does better" in summary["verdict"]
    curves = run.curves.read()
    best = curves["step"] == run.attrs["best_step"]
    assert summary["quantiles"]["nmse"]["median"] == curves["val_nmse_db_median"][best][0]
    assert summary["val_loss"] == np.nanmin(curves["val_loss"])


def test_resumed_run_equals_uninterrupted_run(
    finished: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run.zarr"
    with monkeypatch.context() as patch:
        stop_in_step(5, patch)
        with pytest.raises(Requeue):
            pretrain(recipe(store), out, progress=False)
    assert 5 <= Checkpoints(out).steps()[-1] <= 6
    pretrain(recipe(store), out, resume=True, progress=False)
    for part in ("weights/best", "weights/last", f"{LAST}/model", f"{LAST}/optimizer"):
        assert same_tensors(finished / part, out / part), part
    straight, resumed = Run.open(finished).curves.read(), Run.open(out).curves.read()
    for name in straight.keys() - TIMED:
        np.testing.assert_array_equal(straight[name], resumed[name], err_msg=name)


def test_resume_refuses_another_training_by_key(finished: Path, store: Path) -> None:
    changed = recipe(store, seed=3, lr=0.5, steps=20, log_every=1, threads=2)
    with pytest.raises(RecipeError) as refused:
        pretrain(changed, finished, resume=True, progress=False)
    assert "seed (0 -> 3), train.lr (0.001 -> 0.5)" in refused.value.message
    assert "log_every" not in refused.value.message


def test_resume_refuses_other_data(finished: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "other.zarr", samples=100, seed=9)
    with pytest.raises(InputError, match="holds other data"):
        pretrain(recipe(tmp_path / "other.zarr"), finished, resume=True, progress=False)


def test_resume_refuses_fewer_steps(finished: Path, store: Path) -> None:
    with pytest.raises(RecipeError, match="ends at step 6, the run is at step 12"):
        pretrain(recipe(store, steps=6), finished, resume=True, progress=False)


def test_complete_run_says_so(finished: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "zarr.json").read_bytes()
    assert pretrain(recipe(store), finished, resume=True) == Run.open(finished).attrs["summary"]
    captured = capsys.readouterr()
    assert "complete already" in captured.err
    assert captured.out == ""
    assert (finished / "zarr.json").read_bytes() == before


def test_more_steps_go_on(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.zarr"
    pretrain(recipe(store, steps=4), out, progress=False)
    summary = pretrain(recipe(store, steps=8), out, resume=True)
    assert summary is not None
    assert summary["steps"] == 8
    assert "going on from step 4 of 8" in capsys.readouterr().err
    assert Run.open(out).complete


def test_resume_without_checkpoint_begins(finished: Path, store: Path, tmp_path: Path) -> None:
    pretrain(recipe(store), tmp_path / "absent.zarr", resume=True, progress=False)
    early = tmp_path / "early.zarr"
    attrs = Run.open(finished).attrs
    Run.create(early, "pretrain", attrs["recipe"], {key: attrs[key] for key in ("store", "threads")})
    pretrain(recipe(store), early, resume=True, progress=False)
    for out in (tmp_path / "absent.zarr", early):
        assert same_tensors(finished / "weights/last", out / "weights/last")


def test_run_killed_behind_its_last_step_is_brought_to_its_end(finished: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.zarr"
    shutil.copytree(finished, out)
    for part in ("weights", "results"):
        shutil.rmtree(out / part)
    Run.open(out).set_attrs(complete=False, summary=None)
    summary = pretrain(recipe(store), out, resume=True, progress=False)
    assert summary is not None
    assert summary["quantiles"] == Run.open(finished).attrs["summary"]["quantiles"]
    for which in ("best", "last"):
        assert same_tensors(finished / "weights" / which, out / "weights" / which)


def test_full_disk_is_one_line(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "run.zarr"
    monkeypatch.setattr(Run, "save_weights", full)
    with pytest.raises(WfmError, match=r"weights/best: cannot be written \(No space left on device\)") as failed:
        pretrain(recipe(store), out, progress=False)
    assert failed.value.exit_code == 1
    assert Run.open(out).attrs["status"] == "failed"
    monkeypatch.undo()
    assert pretrain(recipe(store), out, resume=True, progress=False) is not None


def test_half_precision_without_scaling_is_refused(store: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.precision"):
        recipe(store, precision="fp16")


def test_moved_store_is_recognised(finished: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "moved.zarr").symlink_to(store)
    assert pretrain(recipe(tmp_path / "moved.zarr"), finished, resume=True, progress=False) is not None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"batch_size": 71}, RecipeError, "train.batch_size: 71 is more than the 70 training samples"),
        ({"data": {"array": "channels"}}, StoreError, "has no array 'channels'"),
        ({"data": {"split": "city"}}, StoreError, "has no split 'city'"),
        ({"data": {"samples": 8}}, RecipeError, "more than the 8 training samples"),
    ],
)
def test_recipe_that_does_not_fit_leaves_nothing(
    store: Path, tmp_path: Path, options: dict[str, Any], error: type[InputError], words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        pretrain(recipe(store, **options), tmp_path / "run.zarr", progress=False)
    assert refused.value.exit_code == 2
    assert refused.value.hint
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_gpu_is_said(store: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.device: cuda"):
        pretrain(recipe(store, device="cuda"), tmp_path / "run.zarr", progress=False)


def test_missing_tracker_ends_before_training(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb"):
        pretrain(recipe(store, tracking=["wandb"]), tmp_path / "run.zarr", progress=False)
    assert not (tmp_path / "run.zarr").exists()


def test_output_that_is_not_empty_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="not empty") as refused:
        pretrain(recipe(store), tmp_path, progress=False)
    assert "--resume" in (refused.value.hint or "")
    with pytest.raises(StoreError, match="not a run"):
        pretrain(recipe(store), tmp_path, resume=True, progress=False)


def test_progress_goes_to_stderr(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(recipe(store, steps=4, log_every=1), tmp_path / "run.zarr")
    captured = capsys.readouterr()
    assert captured.out == ""
    for words in ("step 4/4  loss", "samples/s", "ETA", "rank-2 completion", "does better than the model"):
        assert words in captured.err
