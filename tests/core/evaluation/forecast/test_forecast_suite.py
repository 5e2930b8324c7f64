"""From a store of sequences to a table: heads on a frozen run beside untrained, joint, trained and naive rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import wfm_cli as wfm
from tests.fakes.deepsense import make_sequences
from wfm_cli.core.evaluation.forecast.suite import plan_forecasts
from wfm_cli.core.evaluation.report import render
from wfm_cli.core.evaluation.report.csv import horizon
from wfm_cli.core.evaluation.tasks import load_task
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError

SMALL = [
    "model.history=4", "model.horizon=2", "model.width=16", "model.heads=2", "model.layers=1",
    "model.predictor_layers=1", "train.steps=2", "train.batch_size=4", "train.eval_samples=4", "train.threads=1",
]  # fmt: skip
SUITE = """
step: benchmark
data: {store}
tasks: [localisation, beam_prediction, rssi_prediction]
encoders:
  - {{encoder: {run}, label: frozen}}
  - {{encoder: {run}, label: no past, forecast: {{history: missing, guided: false, tokens: radar}}}}
  - {{encoder: "random:{run}", label: together, forecast: {{weights: multitask, without: [image]}}}}
probe:
  bootstrap: 20
  forecast: {{epochs: 0.1, min_steps: 2, looks: 1, seeds: 2, joint_steps: 1, joint_batch: 2, rank_windows: 4,
    vision_frozen_steps: 2, vision_steps: 1}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("forecast")
    store, run = make_sequences(folder).path, folder / "jepa.zarr"
    wfm.pretrain("pretrain/jepa-msac-small", run, overrides=[f"data.store={store}", *SMALL])
    recipe = folder / "suite.yaml"
    recipe.write_text(SUITE.format(store=store, run=run))
    return wfm.benchmark(recipe, folder / "table.zarr")


def test_every_row_is_scored_with_curves_and_intervals(table: Run) -> None:
    units = {(unit.attrs["task"], unit.attrs["label"]): unit.attrs for unit in table.units()}
    assert all(attrs["status"] == "ok" for attrs in units.values())
    assert {attrs["role"] for attrs in units.values()} == {
        "encoder", "supervised", "control", "baseline", "reference"
    }  # fmt: skip
    ours = units["localisation", "frozen"]["metrics"]
    assert {"ade", "fde", "rank_me", "lda_rank", "parameters_k"} == set(ours)
    head = units["localisation", "frozen"]["trainable_parameters"]
    assert ours["parameters_k"]["mean"] == pytest.approx(head / 1000)
    assert head > 100_000
    assert len(ours["ade"]["horizon"]["mean"]) == 2
    assert ours["ade"]["horizon"]["mean"][-1] == pytest.approx(ours["fde"]["mean"])
    low, high = ours["ade"]["boot"]
    assert low <= ours["ade"]["mean"] <= high
    assert units["beam_prediction", "frozen"]["seeds"] == [0, 1]
    assert units["rssi_prediction", "together"]["seeds"] == [0]
    seen = units["rssi_prediction", "vision and position (no ImageNet weights)"]
    assert (seen["role"], seen["seeds"]) == ("baseline", [0, 1])
    assert seen["trainable_parameters"] > 1_000_000


def test_a_missing_history_is_a_harder_task(table: Run) -> None:
    units = {(unit.attrs["task"], unit.attrs["label"]): unit.attrs["metrics"] for unit in table.units()}
    for task, metric in (("localisation", "ade"), ("rssi_prediction", "rssi_rmse")):
        assert units[task, "no past"][metric]["mean"] > units[task, "frozen"][metric]["mean"]


def test_reports_hold_all_metrics_side_by_side(table: Run, tmp_path: Path) -> None:
    render(table, "table", tmp_path)
    text = (tmp_path / "report.txt").read_text()
    for word in (
        "ADE (m)",
        "FDE (m)",
        "LDA rank",
        "lost power (dB)",
        "constant velocity per second",
        "JEPA-MSAC, D 128",
    ):
        assert word in text
    assert "is ahead of" in text  # something without pretraining always is after two steps
    for form in ("html", "csv", "latex", "md", "png"):
        render(table, form, tmp_path)
    assert (tmp_path / "horizon.png").is_file()
    assert horizon(table) == (tmp_path / "horizon.csv").read_text()
    assert "beam_prediction.00-frozen,beam_prediction,frozen,encoder,top1,%,2," in horizon(table)


def test_what_does_not_fit_is_said(table: Run, tmp_path: Path) -> None:
    recipe = table.attrs["recipe"]
    run, store = recipe["encoders"][0]["encoder"], recipe["data"]
    with pytest.raises(InputError, match="los cannot stand beside predictive tasks"):
        wfm.probe(run, store, tasks=["localisation", "los"], out=tmp_path / "a.zarr")
    with pytest.raises(InputError, match="bring their own baselines"):
        wfm.probe("baseline:raw", store, tasks=["localisation"], out=tmp_path / "b.zarr")
    with pytest.raises(InputError, match="it sees 8 frames and predicts 5"):
        wfm.probe("random:pretrain/jepa-msac-small", store, tasks=["localisation"], out=tmp_path / "c.zarr")


def test_without_pictures_the_row_that_looks_at_them_is_left_out_and_named(tmp_path: Path) -> None:
    store = make_sequences(tmp_path, modalities=("radar", "gps", "power"))
    recipe = BenchmarkRecipe(data=str(store.path), tasks=("rssi_prediction",), encoders=({"encoder": "none.zarr"},))
    suite = plan_forecasts(recipe, (), store, [load_task("rssi_prediction")])
    assert [plan.label for plan in suite.units][-1] == "the head on the position alone"
    assert suite.left_out == (f"RSSI prediction, next frames, vision and position: {store.path} has no pictures",)


def test_weights_that_are_not_there_are_named_before_any_work(table: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vision_weights: there is no file none\.pth"):
        wfm.benchmark(
            table.path.parent / "suite.yaml", tmp_path / "t.zarr", overrides=["probe.forecast.vision_weights=none.pth"]
        )
    assert not (tmp_path / "t.zarr").exists()


def test_a_run_goes_on(table: Run) -> None:
    recipe = table.path.parent / "suite.yaml"
    before = {unit.key: unit.attrs["seconds"] for unit in table.units()}
    again = wfm.benchmark(recipe, table.path, resume=True)
    assert {unit.key: unit.attrs["seconds"] for unit in again.units()} == before
