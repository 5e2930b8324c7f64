"""Probe and benchmark from recipe to results: what lands, what resumes, what fails and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.evaluation import encoder_run, store_of, street
from wfm_cli.core.evaluation import suite as suite_module
from wfm_cli.core.evaluation.benchmarking import run_benchmark
from wfm_cli.core.evaluation.findings import findings
from wfm_cli.core.evaluation.metrics import ClassPredictions
from wfm_cli.core.evaluation.probing import run_probe
from wfm_cli.core.evaluation.statistics import t_interval
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, ProbeRecipe
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError, RecipeError, WfmError

FAST = {"labels": (10, "all"), "seeds": 3, "bootstrap": 50, "l2": (1.0, 1e-2)}


def benchmark_recipe(store: Store, encoder: Path, **changes: Any) -> BenchmarkRecipe:
    fields = {
        "name": "small", "data": str(store.path), "tasks": ("los",), "probe": FAST,
        "encoders": ({"encoder": f"{encoder}@cls", "label": "tiny CLS"}, {"encoder": f"{encoder}@mean"}),
    }  # fmt: skip
    return BenchmarkRecipe.model_validate({**fields, **changes})


def probe_recipe(store: Store, encoder: str, **changes: Any) -> ProbeRecipe:
    fields = {"data": str(store.path), "encoder": encoder, "tasks": ("los",), "probe": FAST, "baselines": False}
    return ProbeRecipe.model_validate({**fields, **changes})


def contents(run: Run) -> dict[str, Any]:
    """Everything of all units but how long they took."""
    return {
        unit.key: (
            {key: value for key, value in unit.attrs.items() if key != "seconds"},
            {name: unit.array(name).tolist() for name in ("metrics/macro_f1", "predictions", "labels")},
        )
        for unit in run.units()
        if unit.attrs["status"] == "ok"
    }


@pytest.fixture(scope="module")
def finished(store: Store, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_benchmark(benchmark_recipe(store, encoder), tmp_path_factory.mktemp("suite") / "b.zarr", progress=False)


def test_every_row_task_and_budget_is_one_unit(finished: Run) -> None:
    rows = [unit.attrs for unit in finished.units() if unit.attrs["budget"] == 10]
    assert [row["label"] for row in rows] == [
        "tiny CLS",
        "tiny (mean)",
        "raw input",
        "tiny untrained (cls)",
        "log power",
        "DFT magnitude (32 bins)",
        "DFT magnitude (64 bins)",
        "angular power (32 bins)",
        "angle-delay magnitude",
        "angle + delay + log power",
        "majority class / mean",
    ]
    assert [row["role"] for row in rows] == ["encoder"] * 2 + ["baseline", "control"] + ["baseline"] * 6 + ["reference"]
    assert sorted(finished.attrs["manifest"]) == [unit.key for unit in finished.units()]
    assert finished.complete
    assert finished.kind == "benchmark"


def test_a_unit_holds_what_reports_need(finished: Run, store: Store) -> None:
    unit = finished.unit("los.04-log-power.logistic.10")
    attrs = unit.attrs
    assert {key: attrs[key] for key in ("kind", "benchmark", "task", "task_version", "encoder", "probe", "budget")} == {
        "kind": "probe", "benchmark": "small", "task": "los", "task_version": 1, "encoder": "baseline:log_power",
        "probe": "logistic", "budget": 10,
    }  # fmt: skip
    assert (attrs["seeds"], attrs["n_train"], attrs["classes_seen"]) == ([0, 1, 2], [10] * 3, [2] * 3)
    assert (attrs["n_val"], attrs["n_test"], attrs["classes"]) == (48, 48, ["NLoS", "LoS"])
    assert (attrs["split"], attrs["split_leak"], attrs["data_digest"]) == ("random", {"share": 0.25}, store.digest)
    assert set(attrs["chosen_l2"]) <= {1.0, 1e-2}
    predictions, labels = unit.array("predictions"), unit.array("labels")
    assert predictions.shape == (3, 48)
    np.testing.assert_array_equal(labels, store.read("labels/los")[store.indices("test")])
    scores = ClassPredictions(labels.astype(int), predictions.astype(int), None, 2).scores()
    for name, entry in attrs["metrics"].items():
        np.testing.assert_allclose(unit.array(f"metrics/{name}"), scores[name][0])
        mean, half = t_interval(scores[name][0])
        assert (entry["mean"], entry["half_width"]) == (pytest.approx(mean), pytest.approx(half))
        assert entry["boot"][0] <= mean <= entry["boot"][1]


def test_all_labels_are_one_fit_and_the_naive_predictor_one_number(finished: Run) -> None:
    everything = finished.unit("los.04-log-power.logistic.all").attrs
    assert (everything["seeds"], everything["n_train"]) == ([0], [144])
    assert everything["metrics"]["macro_f1"]["half_width"] is None
    naive = [finished.unit(f"los.10-majority-class-mean.majority.{budget}") for budget in ("10", "all")]
    assert naive[0].attrs["metrics"] == naive[1].attrs["metrics"]
    assert len(np.unique(naive[0].array("predictions"))) == 1


def test_what_beats_an_encoder_is_said(finished: Run) -> None:
    lines = findings([unit.attrs for unit in finished.units()])
    assert any(line.startswith("LoS/NLoS, 10 labels: ") and "log power" in line for line in lines)


def test_the_same_recipe_gives_the_same_numbers(finished: Run, store: Store, encoder: Path, tmp_path: Path) -> None:
    again = run_benchmark(benchmark_recipe(store, encoder), tmp_path / "again.zarr", progress=False)
    assert contents(again) == contents(finished)


def test_several_processes_give_the_same_numbers(
    finished: Run, store: Store, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "spread.zarr", benchmark_recipe(store, encoder)
    assert contents(run_benchmark(recipe, out, workers=2)) == contents(finished)
    assert Run.open(out).complete
    said = capfd.readouterr().err.splitlines()
    assert [line.split("]")[0] for line in said if line.startswith("[")] == [f"[{n}/22" for n in range(1, 23)]
    assert contents(run_benchmark(recipe, out, workers=2, resume=True)) == contents(finished)
    assert "22 of 22 units are done already" in capfd.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stopped_run_resumes_to_the_same_results(
    finished: Run,
    store: Store,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
) -> None:
    out, recipe, real, calls = tmp_path / "b.zarr", benchmark_recipe(store, encoder), suite_module.run_unit, []

    def killed(*args: Any) -> Any:
        calls.append(args[0].key)
        if len(calls) == 6:
            raise stop
        return real(*args)

    monkeypatch.setattr(suite_module, "run_unit", killed)
    with pytest.raises(stop):
        run_benchmark(recipe, out, progress=False)
    run = Run.open(out)
    assert len(contents(run)) == 5
    assert (run.attrs["status"], run.complete) == ("interrupted", False)
    assert contents(run_benchmark(recipe, out, resume=True, progress=False)) == contents(finished)
    assert len(calls) == 6 + len(finished.attrs["manifest"]) - 5
    assert len(set(calls)) == len(finished.attrs["manifest"])


def test_a_broken_unit_does_not_cost_the_others(
    finished: Run, store: Store, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, recipe, real = tmp_path / "b.zarr", benchmark_recipe(store, encoder), suite_module.cached

    def broken(run: Run, source: Any, *args: Any, **more: Any) -> Any:
        if source.spec == "baseline:raw":
            raise RuntimeError("out of\nmemory")
        return real(run, source, *args, **more)

    monkeypatch.setattr(suite_module, "cached", broken)
    with pytest.raises(WfmError) as error:
        run_benchmark(recipe, out, progress=False)
    assert error.value.exit_code == 1
    assert "2 of 22 units failed" in error.value.message
    assert "RuntimeError: out of memory" in error.value.message
    run = Run.open(out)
    assert len(contents(run)) == 20
    assert not run.complete
    failed = run.unit("los.02-raw-input.logistic.10").attrs
    assert (failed["status"], failed["error"]) == ("failed", "RuntimeError: out of memory")
    monkeypatch.setattr(suite_module, "cached", real)
    assert contents(run_benchmark(recipe, out, resume=True, progress=False)) == contents(finished)
    assert Run.open(out).complete


def test_an_output_that_is_in_use_is_refused(finished: Run, store: Store, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not empty") as error:
        run_benchmark(benchmark_recipe(store, encoder), finished.path, progress=False)
    assert "--resume" in (error.value.hint or "")
    assert "--out" in (error.value.hint or "")
    changed = benchmark_recipe(store, encoder, tasks=("los", "beam_16"), probe={**FAST, "seeds": 4})
    with pytest.raises(RecipeError, match=r"changed since the run began: probe\.seeds, tasks$"):
        run_benchmark(changed, finished.path, resume=True, progress=False)
    with pytest.raises(InputError, match="holds a benchmark run"):
        run_probe(probe_recipe(store, str(encoder)), finished.path, resume=True, progress=False)


def test_other_weights_or_data_are_refused_on_resume(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s.zarr", street(60))
    run = encoder_run(tmp_path / "e.zarr")
    recipe = probe_recipe(store, str(run.path))
    run_probe(recipe, tmp_path / "p.zarr", progress=False)
    weights = run.load_weights()
    run.save_weights({name: value + 1 for name, value in weights.items()}, "last")
    with pytest.raises(InputError, match=r"e\.zarr has other weights"):
        run_probe(recipe, tmp_path / "p.zarr", resume=True, progress=False)
    run.save_weights(weights, "last")
    other = store_of(tmp_path / "t.zarr", street(60, seed=1))
    store.path.rename(tmp_path / "old.zarr")
    other.path.rename(store.path)
    with pytest.raises(InputError, match="holds other data"):
        run_probe(recipe, tmp_path / "p.zarr", resume=True, progress=False)


def test_a_probe_stands_beside_its_baselines_unless_told_otherwise(store: Store, encoder: Path, tmp_path: Path) -> None:
    alone = run_probe(probe_recipe(store, str(encoder)), tmp_path / "a.zarr", progress=False)
    beside = run_probe(probe_recipe(store, str(encoder), baselines=True), tmp_path / "b.zarr", progress=False)
    assert {unit.attrs["role"] for unit in alone.units()} == {"encoder"}
    assert {unit.attrs["role"] for unit in beside.units()} == {"encoder", "control", "baseline", "reference"}
    # An encoder that is itself a baseline stands once, and without an untrained twin.
    power = run_probe(probe_recipe(store, "baseline:log_power", baselines=True), tmp_path / "c.zarr", progress=False)
    specs = [unit.attrs["encoder"] for unit in power.units() if unit.attrs["budget"] == "all"]
    assert sorted(specs) == sorted(set(specs))
    assert not any(spec.startswith("random:") for spec in specs)


@pytest.mark.parametrize(
    ("task", "kind"), [("beam_16", "knn"), ("beam_16", "ridge"), ("position", "knn"), ("position", None)]
)
def test_every_probe_on_every_kind_of_task(store: Store, tmp_path: Path, task: str, kind: str | None) -> None:
    probe = {**FAST, "kind": kind, "knn_k": (1, 3, 500)}
    recipe = probe_recipe(store, "baseline:classical", tasks=(task,), probe=probe)
    run = run_probe(recipe, tmp_path / "p.zarr", progress=False)
    everything = next(unit for unit in run.units() if unit.attrs["budget"] == "all")
    assert everything.attrs["probe"] == (kind or "ridge")
    entry = everything.attrs["metrics"]
    if task == "position":
        assert everything.array("predictions").shape == (1, 48, 2)
        assert entry["mean_distance"]["mean"] < 15  # the arc is 35 m across
        assert entry["mean_distance"]["unit"] == "m"
    else:
        assert set(entry) == {"macro_f1", "weighted_f1", "pca", "top1", "top3"}
        assert entry["top3"]["mean"] > entry["top1"]["mean"] > 30
    chosen = everything.attrs["chosen_k" if kind == "knn" else "chosen_l2"]
    assert len(chosen) == 1


def test_test_and_validation_features_leak_nowhere(tmp_path: Path) -> None:
    """Moving the test users changes no fit; moving validation users changes nothing but the choice."""
    arrays = street(120)
    recipe_changes = {"probe": {**FAST, "l2": (1e-2,)}, "tasks": ("beam_16",)}
    runs = []
    for name, part in (("as-is", None), ("validation", 1), ("other-tests", 2)):
        moved = {key: values.copy() for key, values in arrays.items()}
        rows = np.flatnonzero(arrays["split/random"] == part)
        if part == 1:
            moved["channel"][rows] *= 1000
        elif part == 2:
            moved["channel"][rows[1:]] *= 1000  # all test users but the first
        store = store_of(tmp_path / f"{name}.zarr", moved)
        runs.append(
            run_probe(
                probe_recipe(store, "baseline:raw", **recipe_changes), tmp_path / f"{name}-p.zarr", progress=False
            )
        )
    keys = [unit.key for unit in runs[0].units()]
    for key in keys:
        as_is, validation, others = (run.unit(key).array("predictions") for run in runs)
        np.testing.assert_array_equal(as_is, validation)
        np.testing.assert_array_equal(as_is[:, 0], others[:, 0])


def test_a_budget_below_the_classes_says_so(store: Store, tmp_path: Path) -> None:
    recipe = probe_recipe(store, "baseline:dft_32", tasks=("beam_16",), probe={**FAST, "labels": (4, 1000)})
    few, many = run_probe(recipe, tmp_path / "p.zarr", progress=False).units()
    if few.attrs["budget"] != 4:
        few, many = many, few
    assert few.attrs["n_train"] == [4, 4, 4]
    assert few.attrs["classes_seen"] == [4, 4, 4]
    assert many.attrs["n_train"] == [144]  # all there are, once
    assert many.attrs["budget"] == 1000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ("lso",)}, "task lso: there is no such task"),
        ({"tasks": ("beam_64",)}, r"task beam_64 needs labels/beam_64"),
        ({"data": "nowhere.zarr"}, "nowhere.zarr"),
        ({"encoder": "baseline:rwa"}, "no such baseline"),
        ({"probe": {**FAST, "split": "spatial"}}, "has no split 'spatial'"),
        ({"probe": {**FAST, "kind": "logistic"}, "tasks": ("position",)}, "logistic regression cannot fit"),
        ({"probe": {**FAST, "split": "city"}, "tasks": ("position",)}, "share no frame with training"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        run_probe(probe_recipe(store, changes.pop("encoder", "baseline:raw"), **changes), tmp_path / "p.zarr")
    assert "\n" not in error.value.message
    assert not (tmp_path / "p.zarr").exists()


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    arrays = street(60)
    arrays["labels/los"] = arrays["labels/los"] + 1
    store = store_of(tmp_path / "s.zarr", arrays)
    with pytest.raises(InputError, match="holds class 2, task los has classes 0 to 1"):
        run_probe(probe_recipe(store, "baseline:raw"), tmp_path / "p.zarr", progress=False)
    arrays["labels/los"] = arrays["meta/log_power_db"]
    store = store_of(tmp_path / "t.zarr", arrays)
    with pytest.raises(InputError, match="not one class per sample"):
        run_probe(probe_recipe(store, "baseline:raw"), tmp_path / "p.zarr", progress=False)


def test_unlabelled_users_are_left_out(tmp_path: Path) -> None:
    arrays = street(60)
    arrays["labels/los"] = np.where(np.arange(60) % 3 == 0, -1, arrays["labels/los"]).astype(np.int8)
    store = store_of(tmp_path / "s.zarr", arrays)
    run = run_probe(probe_recipe(store, "baseline:log_power"), tmp_path / "p.zarr", progress=False)
    attrs = next(unit.attrs for unit in run.units() if unit.attrs["budget"] == "all")
    assert attrs["n_train"][0] + attrs["n_val"] + attrs["n_test"] == 40


def test_progress_names_split_leak_and_every_unit(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = street(60)
    arrays["channel"] = np.ascontiguousarray(np.tile(arrays["channel"], (1, 6, 1)))
    wide = store_of(tmp_path / "wide.zarr", arrays)
    run_probe(probe_recipe(wide, "baseline:raw", baselines=True), tmp_path / "p.zarr")
    out, err = capsys.readouterr()
    assert out == ""
    assert "split random: 36 train, 12 val, 12 test; leak: share 0.25" in err
    assert "left out: dft_32 cuts off elements of an array of 48 antennas" in err
    assert "[1/12] los, raw input, logistic, 10 labels: macro F1 " in err
