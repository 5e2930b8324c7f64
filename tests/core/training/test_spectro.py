"""LWM-Spectro through the whole engine: resume, selection, experts from runs, telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wfm_cli as wfm
from tests.fakes.stores import make_spectrogram_store
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.run import Run
from wfm_cli.core.training.engine import pretrain
from wfm_cli.core.training.monitors import examine
from wfm_cli.errors import RecipeError

EXPERT = {"kind": "lwm_spectro", "layers": 1, "width": 16, "heads": 2, "patch": 8}
MIXTURE = {"kind": "lwm_spectro_moe", "expert": EXPERT, "router": {"channels": [8, 8, 16, 16]}}
ROUTING = {"label": "labels/standard", "warmup": 0.3}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_spectrogram_store(tmp_path_factory.mktemp("spectrograms") / "s.zarr", 168).path


def recipe(
    store: Path, model: dict[str, Any] = EXPERT, where: dict[str, Any] | None = None, **parts: Any
) -> PretrainRecipe:
    train = {"steps": 6, "batch_size": 8, "log_every": 1, "eval_every": 3, "save_every": 3, "eval_samples": 24}
    return PretrainRecipe.model_validate(
        {
            "data": {"store": str(store), "array": "spectrogram", "where": where or {}},
            "model": model,
            "objective": {"kind": "spectro", **parts.pop("objective", {})},
            "train": {**train, "lr": 3e-3, "device": "cpu", "threads": 1, **parts.pop("train", {})},
            **parts,
        }
    )


def same_weights(a: Path, b: Path) -> bool:
    left, right = Run.open(a).load_weights("last"), Run.open(b).load_weights("last")
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("mixed", [False, True])
def test_a_resumed_run_equals_one_that_never_stopped(store: Path, tmp_path: Path, mixed: bool) -> None:
    parts: dict[str, Any] = {"objective": {"masked_first": 0.5}}
    if mixed:
        parts = {"model": {**MIXTURE, "top": 2}, "objective": {"routing": ROUTING}}
    pretrain(recipe(store, **parts), tmp_path / "straight", progress=False)
    # Half of the way and on: schedules go by the whole length, so the first half is cut out of the same training.
    stopped = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        from wfm_cli.core.training.loop import Trainer

        one = Trainer._one

        def broken(self: Trainer, batch: Any, stop: bool) -> Any:
            if batch.step == 4:
                raise MemoryError
            return one(self, batch, stop)

        patch.setattr(Trainer, "_one", broken)
        with pytest.raises(MemoryError):
            pretrain(recipe(store, **parts), stopped, progress=False)
    pretrain(recipe(store, **parts), stopped, resume=True, progress=False)
    assert same_weights(tmp_path / "straight", stopped)
    straight, again = (Run.open(tmp_path / name).curves.read() for name in ("straight", "stopped"))
    for name in set(straight) - {"samples_per_s", "seconds"}:
        np.testing.assert_array_equal(straight[name], again[name], err_msg=name)


def test_micro_batches_leave_masked_modelling_alone(store: Path, tmp_path: Path) -> None:
    model = {**EXPERT, "dropout": 0.0}
    for name, size in (("whole", None), ("parts", 2)):
        made = recipe(store, model, objective={"contrastive": None}, train={"micro_batch": size})
        pretrain(made, tmp_path / name, progress=False)
    left, right = (Run.open(tmp_path / name).load_weights("last") for name in ("whole", "parts"))
    for name in left:
        torch.testing.assert_close(left[name], right[name], atol=3e-4, rtol=1e-3)


def test_data_where_trains_the_expert_of_one_standard(store: Path, tmp_path: Path) -> None:
    made = recipe(store, where={"labels/standard": "WiFi"}, objective={"contrastive": None})
    pretrain(made, tmp_path / "wifi", progress=False)
    held = wfm.open_store(store)
    wifi = held.read("labels/standard") == 0
    counts = Run.open(tmp_path / "wifi").attrs["store"]["samples"]
    assert counts == {part: int(wifi[held.indices(part)].sum()) for part in ("train", "val")}
    ids = Run.open(tmp_path / "wifi").unit("validation").array("ids")
    assert wifi[ids].all()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"labels/none": "wifi"}, "no column 'labels/none'"),
        ({"labels/standard": "bluetooth"}, "no class 'bluetooth'"),
        ({"meta/snr_db": "loud"}, "holds numbers"),
        ({"meta/snr_db": 99.0}, "none of"),
    ],
)
def test_impossible_selections_are_named(store: Path, tmp_path: Path, where: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        pretrain(recipe(store, where=where), tmp_path / "run", progress=False)


def test_several_values_and_numbers_select(store: Path, tmp_path: Path) -> None:
    made = recipe(store, where={"meta/snr_db": (20, 25), "labels/standard": ("lte", "nr")})
    pretrain(made, tmp_path / "run", progress=False)
    held = wfm.open_store(store)
    keep = (held.read("meta/snr_db") >= 20) & (held.read("labels/standard") > 0)
    assert Run.open(tmp_path / "run").attrs["store"]["samples"]["train"] == int(keep[held.indices("train")].sum())


def test_a_corpus_scale_comes_from_the_store_and_stays_in_the_run(store: Path, tmp_path: Path) -> None:
    made = recipe(store, {**EXPERT, "normalise": "corpus"}, train={"steps": 1})
    pretrain(made, tmp_path / "run", progress=False)
    statistics = wfm.open_store(store).attrs["statistics"]["spectrogram"]
    block = Run.open(tmp_path / "run").attrs["model"]
    assert block["corpus_db"] == [statistics["mean"], statistics["std"]]
    assert wfm.load_encoder(tmp_path / "run").corpus_db == (statistics["mean"], statistics["std"])  # type: ignore[attr-defined]


def test_experts_start_from_runs_and_the_mixture_stands_alone(store: Path, tmp_path: Path) -> None:
    pretrain(recipe(store), tmp_path / "wifi.zarr", progress=False)
    model = {**MIXTURE, "experts": {"wifi": str(tmp_path / "wifi.zarr"), "lte": None, "nr": None}, "freeze": True}
    made = recipe(
        store, model, objective={"routing": ROUTING, "contrastive": None}, train={"monitor_label": "labels/standard"}
    )
    summary = pretrain(made, tmp_path / "moe.zarr", progress=False)
    trained, expert = (
        Run.open(tmp_path / "moe.zarr").load_weights("last"),
        Run.open(tmp_path / "wifi.zarr").load_weights(),
    )
    for name, value in expert.items():
        if name.startswith("encoder."):
            assert torch.equal(trained[f"encoder.experts.wifi.{name.removeprefix('encoder.')}"], value)
    assert summary is not None
    assert {"expert_wifi", "expert_entropy", "router_accuracy"} <= set(summary["means"])
    curves = Run.open(tmp_path / "moe.zarr").curves.read()
    assert {"val_expert_wifi", "val_router_accuracy", "router_loss", "loss_masked_lte", "expert_nr"} <= set(curves)
    (tmp_path / "wifi.zarr").rename(tmp_path / "gone.zarr")
    longer = recipe(
        store,
        model,
        objective={"routing": ROUTING, "contrastive": None},
        train={"monitor_label": "labels/standard", "steps": 7},
    )
    assert pretrain(longer, tmp_path / "moe.zarr", resume=True, progress=False)
    features = wfm.embed(f"{tmp_path / 'moe.zarr'}@mean_std", store, indices=range(5), array="spectrogram")
    assert features.shape == (5, 32)
    control = wfm.embed(f"random:{tmp_path / 'moe.zarr'}", store, indices=range(5), array="spectrogram")
    assert control.shape == (5, 16)


def test_experts_of_other_sizes_are_refused(store: Path, tmp_path: Path) -> None:
    pretrain(recipe(store, train={"steps": 1}), tmp_path / "run.zarr", progress=False)
    model = {**MIXTURE, "expert": {**EXPERT, "width": 24}, "experts": {"wifi": str(tmp_path / "run.zarr"), "lte": None}}
    with pytest.raises(RecipeError, match=r"model\.expert\.width: 24"):
        pretrain(recipe(store, model), tmp_path / "moe.zarr", progress=False)


def test_a_dead_expert_raises_the_alarm() -> None:
    embeddings = torch.randn(64, 16)
    shares = {"val_expert_wifi": 0.6, "val_expert_lte": 0.4, "val_expert_nr": 0.0, "val_expert_entropy": 0.6}
    alarm = examine(embeddings, None, shares).alarm
    assert alarm is not None
    assert "expert nr (0.0 %)" in alarm
    assert examine(embeddings, None, {**shares, "val_expert_nr": 0.1}).alarm is None
