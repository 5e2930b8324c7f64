"""Cross-validation over the folds of a store, and classes that training and test both hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.evaluation import store_of, street
from wfm_cli.core.evaluation.probing import run_probe
from wfm_cli.core.evaluation.report import collect
from wfm_cli.core.evaluation.report.words import split_sentence
from wfm_cli.core.evaluation.taskdata import load_task_data
from wfm_cli.core.evaluation.tasks import Task, load_task
from wfm_cli.core.recipe.evaluate import ProbeRecipe
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import InputError


def folded(samples: int = 90, folds: int = 3) -> dict[str, Any]:
    """Every third sample is tested by fold 0, 1, 2; every fifth of the others validates."""
    arrays = street(samples)
    place = np.arange(samples)
    for fold in range(folds):
        rest = np.where(place % 5 == 0, 1, 0)
        arrays[f"split/fold_{fold}"] = np.where(place % folds == fold, 2, rest).astype(np.uint8)
    return arrays


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("folds") / "s.zarr", folded())


def recipe(store: Store, **changes: Any) -> ProbeRecipe:
    probe = {"labels": ("5 per class", "all"), "seeds": 2, "bootstrap": 50, "l2": (1.0, 1e-2), "split": "folds"}
    fields = {"data": str(store.path), "encoder": "baseline:log_power", "tasks": ("los",), "baselines": False}
    return ProbeRecipe.model_validate({**fields, **changes, "probe": {**probe, **changes.get("probe", {})}})


@pytest.mark.parametrize("task", ["los", "position"])
def test_folds_are_one_unit_over_all_that_they_test(store: Store, tmp_path: Path, task: str) -> None:
    labels = ("5 per class", "all") if task == "los" else (10, "all")
    run = run_probe(recipe(store, tasks=(task,), probe={"labels": labels}), tmp_path / "all.zarr", progress=False)
    for budget in labels:
        together = next(unit for unit in run.units() if unit.attrs["budget"] == budget)
        data = load_task_data(store, load_task(task), "folds")
        np.testing.assert_array_equal(np.sort(data.test), np.arange(90))
        assert together.attrs["n_test"] == 90
        np.testing.assert_allclose(together.array("labels"), data.labels[data.test], rtol=1e-6)
        guesses = []
        for fold in range(3):
            single = recipe(store, tasks=(task,), probe={"split": f"fold_{fold}", "labels": (budget,)})
            (unit,) = run_probe(single, tmp_path / f"{fold}-{budget}.zarr", progress=False).units()
            guesses.append(unit.array("predictions"))
        np.testing.assert_allclose(together.array("predictions"), np.concatenate(guesses, 1), rtol=1e-4, atol=1e-4)
        assert len(together.attrs["chosen_l2"]) == 3 * (1 if budget == "all" else 2)
    assert [unit.attrs["n_train"] for unit in run.units() if unit.attrs["budget"] == "all"] == [[48]]
    table = collect(run).tables[0]
    assert split_sentence(table).startswith("Cross-validated: every test sample is scored once")


def test_a_trained_probe_is_cross_validated_too(tmp_path: Path) -> None:
    arrays = folded(60)
    arrays["channel"] = np.abs(arrays["channel"])[:, None].astype(np.float32)
    store = store_of(tmp_path / "s.zarr", arrays)
    adapt = {"min_steps": 3, "epochs": 0.1, "looks": 1}
    probes = ("linear", {"kind": "cnn", "widths": (4,)})
    changed = recipe(
        store, encoder="baseline:raw", probe={"labels": ("4 per class",), "probes": probes, "adapt": adapt}
    )
    run = run_probe(changed, tmp_path / "p.zarr", progress=False)
    network = next(unit for unit in run.units() if unit.attrs["probe_kind"] == "cnn")
    assert network.array("predictions").shape == (2, 60)
    assert (network.attrs["n_train"], len(network.attrs["chosen_step"])) == ([8, 8], 6)


def test_folds_must_be_there_and_apart(tmp_path: Path) -> None:
    arrays = folded()
    del arrays["split/fold_1"], arrays["split/fold_2"]
    with pytest.raises(InputError, match="has no folds"):
        load_task_data(store_of(tmp_path / "a.zarr", arrays), load_task("los"), "folds")
    arrays["split/fold_1"] = arrays["split/fold_0"]
    with pytest.raises(InputError, match="tested by more than one fold"):
        load_task_data(store_of(tmp_path / "b.zarr", arrays), load_task("los"), "folds")


def test_classes_that_training_and_test_do_not_share_are_left_out(tmp_path: Path) -> None:
    arrays = folded()
    kinds = np.arange(90) % 4  # class 3 is never tested by the random split, class 0 never trained
    arrays["labels/kind"] = kinds.astype(np.int16)
    arrays["split/random"] = np.select([kinds == 3, kinds == 0, np.arange(90) < 30], [0, 2, 1], np.arange(90) % 2 * 2)
    arrays["split/random"] = arrays["split/random"].astype(np.uint8)
    arrays["split/random"][kinds == 2] = (np.arange((kinds == 2).sum()) % 3).astype(np.uint8)
    arrays["split/random"][kinds == 1] = (np.arange((kinds == 1).sum()) % 3).astype(np.uint8)
    store = store_of(tmp_path / "s.zarr", arrays, **{"labels/kind": {"classes": ["a", "b", "c", "d"]}})
    fields = {**load_task("los").model_dump(), "label": "labels/kind", "classes": None, "in_both": True}
    data = load_task_data(store, Task.model_validate(fields), "random")
    assert data.classes == ("b", "c")
    assert data.left_out == (kinds == 0).sum() + (kinds == 3).sum()
    assert load_task_data(store, Task.model_validate(fields), "folds").classes == ("a", "b", "c", "d")
