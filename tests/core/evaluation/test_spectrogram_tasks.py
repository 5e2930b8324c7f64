"""Tasks on spectrograms: samples that belong to a task, labels per class, classical rows, networks from scratch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.fakes.evaluation import store_of
from tests.fakes.stores import MODULATIONS, make_spectrogram_store
from wfm_cli.core.evaluation.baselines import BASELINES, BaselineSource, unfit
from wfm_cli.core.evaluation.benchmarking import run_benchmark
from wfm_cli.core.evaluation.features import extract
from wfm_cli.core.evaluation.report import collect, render, report_data
from wfm_cli.core.evaluation.report.words import split_sentence
from wfm_cli.core.evaluation.taskdata import load_task_data
from wfm_cli.core.evaluation.tasks import Task, load_task
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, ProbeBlock
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import InputError


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_spectrogram_store(tmp_path_factory.mktemp("spectrograms") / "s.zarr", 336, 32)


def task(**changes: Any) -> Task:
    return Task.model_validate({**load_task("spectro_modulation").model_dump(), **changes})


def suite(store: Store, **changes: Any) -> BenchmarkRecipe:
    probe = {"labels": ("5 per class", "all"), "seeds": 3, "bootstrap": 50, "l2": (1.0, 1e-2)}
    fields = {
        "name": "spectro", "data": str(store.path), "tasks": ("spectro_snr_mobility",),
        "encoders": ({"encoder": "baseline:raw"},),
    }  # fmt: skip
    return BenchmarkRecipe.model_validate({**fields, **changes, "probe": {**probe, **changes.get("probe", {})}})


def test_a_task_keeps_the_samples_of_some_classes(spectrograms: Store) -> None:
    everything = load_task_data(spectrograms, task(), None)
    kept = load_task_data(spectrograms, task(only={"labels/modulation": ["qpsk", "bpsk", "256qam"]}), None)
    assert (everything.classes, everything.left_out) == (MODULATIONS, 0)
    assert kept.classes == ("bpsk", "qpsk", "256qam")  # the order of the label, closed up
    modulation = spectrograms.read("labels/modulation")
    wanted = np.isin(modulation, [0, 1, 4])
    assert kept.left_out == (~wanted).sum() > 0
    for part in ("train", "val", "test"):
        rows = getattr(kept, part)
        np.testing.assert_array_equal(rows, [row for row in getattr(everything, part) if wanted[row]])
    np.testing.assert_array_equal(kept.labels[wanted], np.searchsorted([0, 1, 4], modulation[wanted]))


def test_classes_of_another_label_restrict_a_task(spectrograms: Store) -> None:
    walking = task(label="labels/snr_mobility", only={"labels/mobility": ["pedestrian", "tram"]})
    data = load_task_data(spectrograms, walking, None)
    assert data.classes == tuple(f"{snr} pedestrian" for snr in range(-5, 26, 5))
    assert data.left_out == 168
    assert len(data.train) + len(data.val) + len(data.test) == 168
    for only, words in (
        ({"labels/mobility": ["tram"]}, "labels/mobility has none of the classes tram"),
        ({"labels/speed": ["slow"]}, "task spectro_modulation needs labels/speed"),
    ):
        with pytest.raises(InputError, match=words):
            load_task_data(spectrograms, task(only=only), None)


def test_labels_per_class_in_units_and_reports(spectrograms: Store, tmp_path: Path) -> None:
    run = run_benchmark(suite(spectrograms, tasks=("spectro_modulation",)), tmp_path / "b.zarr", progress=False)
    units = {unit.key: unit.attrs for unit in run.units()}
    few = units["spectro_modulation.00-raw-input.logistic.5-per-class"]
    assert few["budget"] == "5 per class"
    assert few["n_train"] == [25] * 3
    assert few["classes_seen"] == [5] * 3
    table = report_data(run)["tables"][0]
    assert table["budgets"] == ["5 per class", "all"]
    text = render(run.path, "table", None)
    assert "5 per class" in _plain(text)
    figures = render(run.path, "png", tmp_path / "figures")
    assert all(Path(path).stat().st_size > 0 for path in figures)


def _plain(renderable: Any) -> str:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_values_have_no_classes_to_draw_from(spectrograms: Store) -> None:
    values = task(kind="values", label="meta/snr_db", primary="rmse")
    data = load_task_data(spectrograms, values, None)
    with pytest.raises(InputError, match="it has values, no classes of which to draw 5 per class"):
        data.draws("5 per class", 0, 2)


@pytest.mark.parametrize("text", ["0 per class", "5 per classes", "per class", "-1 per class"])
def test_mistaken_budgets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="labels"):
        ProbeBlock(labels=(text,))


def test_classical_rows_of_spectrograms(spectrograms: Store, tmp_path: Path) -> None:
    rows = np.arange(5)
    for name, width in (("psd", 4 * 32 + 15), ("energy", 6), ("flux", 2 * 32 + 2 * 4 + 1)):
        source = BaselineSource(name, spectrograms)
        assert extract(source, spectrograms, rows).shape == (5, width) == (5, source.dim)
    assert unfit("cumulants", spectrograms) == "cumulants needs the array iq, which the store does not hold"
    with pytest.raises(InputError, match="cumulants needs the array iq"):
        BaselineSource("cumulants", spectrograms)
    power = extract(BaselineSource("energy", spectrograms), spectrograms, np.arange(336))
    assert np.corrcoef(power[:, 2], spectrograms.read("meta/snr_db"))[0, 1] > 0.8


def test_a_store_without_iq_does_without_cumulants(
    spectrograms: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "walking.yaml"
    YAML(typ="safe").dump({**task(only={"labels/mobility": ["pedestrian"]}).model_dump(mode="json")}, file)
    run = run_benchmark(suite(spectrograms, tasks=(str(file),)), tmp_path / "b.zarr")
    said = capsys.readouterr().err
    assert "left out: cumulants needs the array iq, which the store does not hold" in said
    assert "spectro_modulation: 168 samples of other labels left out" in said
    assert "168 samples of other labels left out" in split_sentence(collect(run).tables[0])
    labels = {unit.attrs["label"] for unit in run.units()}
    assert labels == {
        "raw input", "PSD statistics", "level and noise floor", "temporal statistics", "majority class / mean"
    }  # fmt: skip


def test_cumulants_read_the_samples_beside_the_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    modulation = np.arange(60) % 2
    symbols = np.where(modulation[:, None, None], 1j ** rng.integers(0, 4, (60, 1, 256)), 0)
    symbols = np.where(modulation[:, None, None], symbols, rng.choice([-1, 1], (60, 1, 256)))
    arrays = {
        "channel": np.zeros((60, 4, 4), np.complex64),
        "iq": symbols.astype(np.complex64),
        "labels/modulation": modulation.astype(np.int8),
        "split/random": (np.arange(60) // 2 % 3).astype(np.uint8),
    }
    store = store_of(tmp_path / "s.zarr", arrays)
    assert unfit("cumulants", store) == "cumulants needs iq with axes (channel, time), not (axis0, axis1)"
    found = BASELINES["cumulants"].features(store.read("iq"))
    assert found[modulation == 0, 4].max() < -1.5 < found[modulation == 1, 4].min()
