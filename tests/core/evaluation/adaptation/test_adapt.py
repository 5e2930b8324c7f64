"""Trained probes beside strict ones: same draws, one budget, choice on validation, test scored once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes.evaluation import encoder_run, store_of, street
from wfm_cli.core.evaluation.adaptation.adapt import adapt
from wfm_cli.core.evaluation.adaptation.fit import _Order, total_steps
from wfm_cli.core.evaluation.adaptation.samples import Row, Samples, Tokens
from wfm_cli.core.evaluation.benchmarking import run_benchmark
from wfm_cli.core.evaluation.encoders import ModelSource, resolve
from wfm_cli.core.evaluation.planning import plan_suite
from wfm_cli.core.evaluation.probing import run_probe
from wfm_cli.core.evaluation.report import report_data
from wfm_cli.core.evaluation.taskdata import load_task_data
from wfm_cli.core.evaluation.tasks import load_task
from wfm_cli.core.recipe.evaluate import AdaptBlock, BenchmarkRecipe, ProbeBlock, ProbeRecipe
from wfm_cli.core.recipe.probes import FinetuneProbe, named
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError, WfmError

ALL = ("linear", "knn", "attentive", {"kind": "finetune", "blocks": 1}, {"kind": "lora", "rank": 4}, "full", "scratch")
QUICK = {"min_steps": 12, "epochs": 3, "batch_size": 32, "looks": 3}
TRAINED = ("attentive", "finetune last 1", "lora r4 a16", "full", "scratch")


def recipe(store: Store, encoder: Path, **changes: Any) -> BenchmarkRecipe:
    probe = {"labels": (10, "all"), "seeds": 2, "bootstrap": 20, "l2": (1.0, 1e-2), "probes": ALL, "adapt": QUICK}
    fields = {
        "name": "side by side", "data": str(store.path), "tasks": ("los",), "baselines": False,
        "encoders": ({"encoder": f"{encoder}@cls", "label": "CLS"}, {"encoder": f"{encoder}@mean", "label": "mean"}),
    }  # fmt: skip
    return BenchmarkRecipe.model_validate({**fields, **changes, "probe": {**probe, **changes.get("probe", {})}})


@pytest.fixture(scope="module")
def finished(store: Store, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_benchmark(recipe(store, encoder), tmp_path_factory.mktemp("adapt") / "b.zarr", progress=False)


def by_name(run: Run, budget: int | str = 10) -> dict[tuple[str, str], Any]:
    units = (unit for unit in run.units() if unit.attrs["budget"] == budget)
    return {(unit.attrs["label"], unit.attrs["probe"]): unit for unit in units}


def test_every_probe_stands_beside_the_others(finished: Run) -> None:
    untrained = "tiny untrained (cls)"
    assert set(by_name(finished)) == {
        *(("CLS", name) for name in ("logistic", "knn", *TRAINED[:-1])),
        *(
            ("mean", name) for name in ("logistic", "knn", *TRAINED[1:-1])
        ),  # attention sees tokens, poolings do not matter
        (untrained, "scratch"),
    }
    assert by_name(finished)[untrained, "scratch"].attrs["role"] == "control"
    rows = {row["label"] + row["probe"] for row in report_data(finished)["tables"][0]["rows"]}
    assert len(rows) == 12


def test_trained_units_hold_the_same_things_as_strict_ones(finished: Run) -> None:
    for budget, count in ((10, 10), ("all", 144)):
        units = by_name(finished, budget)
        strict = units["CLS", "logistic"]
        for (_, name), unit in units.items():
            if name not in TRAINED:
                continue
            attrs = unit.attrs
            assert set(strict.attrs) - {"chosen_l2"} <= set(attrs)
            assert (attrs["n_train"], attrs["seeds"]) == ([count] * 2, [0, 1])
            assert unit.array("predictions").shape == (2, 48)
            np.testing.assert_array_equal(unit.array("labels"), strict.array("labels"))
            assert attrs["steps"] == ([12, 12] if budget == 10 else [14, 14])
            assert set(attrs["chosen_step"]) <= {4, 8, 12} | {5, 9, 14}
            assert (attrs["chosen_lr"], attrs["class_weight"]) == ([1e-3] * 2, "balanced")
            assert attrs["optimiser"]["weight_decay"] == 0.05
    kinds = {unit.attrs["probe_kind"]: unit.attrs for unit in by_name(finished).values()}
    assert kinds["lora"]["probe_settings"] == {"kind": "lora", "rank": 4, "alpha": 16.0, "scale": "rank"}
    sizes = {kind: attrs["trainable_parameters"] for kind, attrs in kinds.items()}
    assert sizes["knn"] == 0 < sizes["logistic"] == 34 < sizes["lora"] < sizes["finetune"] < sizes["full"]
    assert sizes["scratch"] == sizes["full"]


def test_the_same_recipe_gives_the_same_numbers_and_leaves_the_encoder_alone(
    finished: Run, store: Store, encoder: Path, tmp_path: Path
) -> None:
    state = torch.random.get_rng_state()
    again = run_benchmark(recipe(store, encoder), tmp_path / "again.zarr", progress=False)
    assert torch.equal(state, torch.random.get_rng_state())
    for unit in finished.units():
        np.testing.assert_array_equal(unit.array("predictions"), again.unit(unit.key).array("predictions"))
    assert again.attrs["encoders"] == finished.attrs["encoders"]


@pytest.fixture(scope="module")
def row(store: Store, encoder: Path) -> Row:
    return Row(resolve(f"{encoder}@mean", store), store)


@pytest.mark.parametrize("kind", ["attentive", "finetune", "lora", "full", "scratch"])
def test_a_probe_learns_what_its_labels_teach(store: Store, row: Row, kind: str) -> None:
    data = load_task_data(store, load_task("los"), None)
    block = ProbeBlock(seeds=1, adapt=AdaptBlock(min_steps=120, epochs=1, batch_size=48, lr=(3e-3,)))
    choice = FinetuneProbe(kind="finetune", blocks=1) if kind == "finetune" else named(kind)
    found = adapt(choice, data, row, "all", block, balanced=True)
    assert found.predictions.scores()["macro_f1"][0, 0] > 85
    assert found.attrs["validation"][0] > 85


def test_values_are_learnt_in_their_own_unit(tmp_path: Path) -> None:
    arrays = street(120)
    arrays["meta/position"] = arrays["meta/position"] * 0 + np.array([1000.0, -50.0], np.float32)
    arrays["meta/position"][:, 0] += arrays["labels/los"]
    store = store_of(tmp_path / "s.zarr", arrays)
    data = load_task_data(store, load_task("position"), "random")
    source = resolve(str(encoder_run(tmp_path / "e.zarr").path), store)
    block = ProbeBlock(seeds=1, adapt=AdaptBlock(min_steps=20, epochs=1))
    found = adapt(named("full"), data, Row(source, store), "all", block, balanced=False)
    assert found.predictions.scores()["mean_distance"][0, 0] < 0.6


def test_test_samples_are_looked_at_once_after_the_choice(tmp_path: Path) -> None:
    arrays, found = street(120), []
    encoder = encoder_run(tmp_path / "e.zarr").path
    for name in ("as-is", "moved"):
        if name == "moved":
            rows = np.flatnonzero(arrays["split/random"] == 2)[1:]
            arrays["channel"][rows] *= 1000
            arrays["labels/los"][rows] = 1 - arrays["labels/los"][rows]
        store = store_of(tmp_path / f"{name}.zarr", arrays)
        data = load_task_data(store, load_task("los"), "random")
        block = ProbeBlock(seeds=2, adapt=AdaptBlock(min_steps=10, epochs=1, looks=5, lr=(1e-3, 1e-2)))
        found.append(adapt(named("full"), data, Row(resolve(str(encoder), store), store), 20, block, balanced=True))
    first, second = found
    assert first.attrs == second.attrs
    assert set(first.attrs["chosen_lr"]) <= {1e-3, 1e-2}
    np.testing.assert_array_equal(first.predictions.guesses[:, 0], second.predictions.guesses[:, 0])


def test_seeds_differ_in_more_than_the_draw(store: Store, row: Row) -> None:
    data = load_task_data(store, load_task("los"), None)
    block = ProbeBlock(seeds=3, adapt=AdaptBlock(min_steps=5, epochs=0.1, seeds=2))
    found = adapt(named("scratch"), data, row, "all", block, balanced=True)
    assert (found.seeds, found.rows.shape) == ([0, 1], (2, 144))
    assert (found.predictions.guesses[0] != found.predictions.guesses[1]).any()


def test_a_rate_that_breaks_the_weights_says_so(store: Store, row: Row) -> None:
    data = load_task_data(store, load_task("los"), None)
    block = ProbeBlock(seeds=1, adapt=AdaptBlock(min_steps=5, epochs=0.1, lr=(1e38,), warmup=0, clip=1e30))
    with pytest.raises(WfmError, match="training at rate 1e\\+38 gave no finite scores"):
        adapt(named("full"), data, row, 10, block, balanced=True)


def test_tokens_are_kept_or_made_anew_with_the_same_numbers(store: Store, encoder: Path) -> None:
    source = resolve(str(encoder), store)
    assert isinstance(source, ModelSource)
    samples = Samples(source, store)
    kept, anew = Tokens(samples), Tokens(samples, kept_bytes=0)
    rows = np.array([7, 3, 7, 200])
    torch.testing.assert_close(kept.take(rows), anew.take(rows))
    torch.testing.assert_close(kept.take(rows[::-1].copy()), anew.take(rows[::-1].copy()))
    samples.close()


def test_batches_cover_every_label_evenly() -> None:
    order = _Order(10, 4)
    seen = torch.cat([order.take() for _ in range(5)])
    assert sorted(seen.tolist()) == sorted(2 * list(range(10)))
    assert total_steps(AdaptBlock(epochs=3, min_steps=1, batch_size=4), 10) == 8
    assert total_steps(AdaptBlock(epochs=3, min_steps=50, batch_size=64), 10) == 50


def test_rows_take_the_probes_that_fit_them(store: Store, encoder: Path) -> None:
    rows = ({"encoder": str(encoder)}, {"encoder": "baseline:raw"}, {"encoder": f"{encoder}@mean", "probes": ("knn",)})
    probe = {"adapt": {"labels": (50,)}, "seed": 1}  # the untrained twin of the fake encoder is then another one
    asked = recipe(store, encoder, encoders=rows, baselines=True, probe=probe)
    suite = plan_suite(asked, asked.encoders, progress=False)
    probes = {row.source.spec: {p.kind for p in row.probes} for row in suite.rows}
    assert probes["baseline:raw"] == probes["baseline:classical"] == {"linear", "knn"}
    assert probes[f"{encoder}@mean"] == {"knn"}
    assert probes[f"random:{encoder}"] == {"linear", "knn", "attentive", "scratch"}
    assert probes["baseline:majority"] == set()
    budgets: dict[str, set[int | str]] = {unit.probe: set() for unit in suite.units}
    for unit in suite.units:
        budgets[unit.probe].add(unit.budget)
    assert budgets["full"] == {50}
    assert budgets["knn"] == {10, "all"}


def test_what_cannot_be_adapted_is_refused(store: Store, encoder: Path, tmp_path: Path) -> None:
    fields = {"data": str(store.path), "tasks": ("los",), "baselines": False}
    for spec, probe, words in (
        ("baseline:raw", {"kind": "lora"}, r"baseline:raw: it has no weights to adapt \(lora r8 a16\)"),
        (str(encoder), {"probes": ("finetune",)}, "2 blocks are to be tuned, encoder 'lwm' has 1"),
    ):
        with pytest.raises(InputError, match=words):
            run_probe(ProbeRecipe.model_validate({**fields, "encoder": spec, "probe": probe}), tmp_path / "p.zarr")


@pytest.mark.parametrize(("weight", "said"), [(None, "balanced"), ("none", "none")])
def test_class_weights_of_the_linear_probe_are_stated(tmp_path: Path, weight: str | None, said: str) -> None:
    arrays = street(240)
    rare = np.arange(240) % 5 > 0  # most users with line of sight lose their label
    arrays["labels/los"] = np.where(rare & (arrays["labels/los"] == 1), -1, arrays["labels/los"]).astype(np.int8)
    store = store_of(tmp_path / "s.zarr", arrays)
    probe = {"labels": ("all",), "class_weight": weight, "l2": (10.0,), "probes": ("linear", "knn"), "bootstrap": 0}
    fields = {"data": str(store.path), "encoder": "baseline:log_power", "tasks": ("los",), "baselines": False}
    run = run_probe(ProbeRecipe.model_validate({**fields, "probe": probe}), tmp_path / "p.zarr", progress=False)
    units = {unit.attrs["probe"]: unit for unit in run.units()}
    assert units["logistic"].attrs["class_weight"] == said
    assert units["knn"].attrs["class_weight"] == "none"
    guesses = units["logistic"].array("predictions")
    assert (guesses == 1).any() == (weight is None)  # under a strong penalty the bias is all that is left
