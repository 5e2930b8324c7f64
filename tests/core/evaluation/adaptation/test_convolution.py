"""Convolutional heads and networks: sizes as published, what they learn, where they stand in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes.evaluation import ANTENNAS, SUBCARRIERS, encoder_run, store_of, street
from tests.fakes.stores import make_spectrogram_store
from wfm_cli.core.evaluation.adaptation.adapt import adapt
from wfm_cli.core.evaluation.adaptation.convolution import res1dcnn, resnet18, supervised
from wfm_cli.core.evaluation.adaptation.networks import trainable
from wfm_cli.core.evaluation.adaptation.samples import Row, Tokens
from wfm_cli.core.evaluation.benchmarking import run_benchmark
from wfm_cli.core.evaluation.encoders import resolve
from wfm_cli.core.evaluation.findings import findings
from wfm_cli.core.evaluation.planning import plan_suite
from wfm_cli.core.evaluation.raw import RawSource
from wfm_cli.core.evaluation.report import report_data
from wfm_cli.core.evaluation.taskdata import load_task_data
from wfm_cli.core.evaluation.tasks import load_task
from wfm_cli.core.recipe.evaluate import AdaptBlock, BenchmarkRecipe, ProbeBlock
from wfm_cli.core.recipe.probes import ConvProbe, LoraProbe, ProbeChoice, Res1DCNNProbe, ResNetProbe, named
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import InputError

SMALL = {"cnn": ConvProbe(kind="cnn", widths=(8, 16)), "resnet18": ResNetProbe(kind="resnet18", width=4)}


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_spectrogram_store(tmp_path_factory.mktemp("spectrograms") / "s.zarr", 168, 16)


def test_sizes_are_the_published_ones() -> None:
    body, width = resnet18(64, 1)
    # torchvision's ResNet-18 has 11,689,512 weights with three colours and 1000 classes.
    assert sum(p.numel() for p in body.parameters()) == 11_689_512 - 2 * 64 * 49 - 513 * 1000
    assert width == 512
    assert 450_000 < trainable(res1dcnn(Res1DCNNProbe(kind="res1dcnn"), 64, 16)) < 550_000
    small = supervised(ResNetProbe(kind="resnet18", width=16), 1, 14)
    assert 690_000 < trainable(small) < 710_000
    cnn = supervised(ConvProbe(kind="cnn"), 1, 14)
    expected = sum(9 * (i * o + o * o) + 4 * o for i, o in zip((1, 16, 32, 64), (16, 32, 64, 128), strict=True))
    assert trainable(cnn) == expected + 129 * 14


def test_shapes_at_the_size_of_the_paper() -> None:
    for choice in (ConvProbe(kind="cnn"), ResNetProbe(kind="resnet18", width=16)):
        assert supervised(choice, 2, 5).eval()(torch.zeros(1, 128, 128, 2)).shape == (1, 5)
    tokens, embedding = Res1DCNNProbe(kind="res1dcnn"), Res1DCNNProbe(kind="res1dcnn", input="embedding")
    assert res1dcnn(tokens, 24, 5).eval()(torch.zeros(2, 1025, 24)).shape == (2, 5)
    assert res1dcnn(embedding, 24, 5).eval()(torch.zeros(2, 24)).shape == (2, 5)
    assert res1dcnn(tokens, 24, 5).train()(torch.randn(2, 2, 24)).shape == (2, 5)


def bars(samples: int = 96) -> dict[str, Any]:
    """Pictures with a bar: lying or standing, at any place, so that no pixel tells by itself."""
    rng = np.random.default_rng(0)
    standing = np.arange(samples) % 2
    pictures = rng.normal(0, 0.3, (samples, 1, 16, 16)).astype(np.float32)
    for row, place in enumerate(rng.integers(0, 14, samples)):
        if standing[row]:
            pictures[row, 0, :, place : place + 2] += 2
        else:
            pictures[row, 0, place : place + 2] += 2
    parts = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], np.uint8)[np.arange(samples) // 2 % 10]
    return {"channel": pictures, "labels/los": standing.astype(np.int8), "split/random": parts}


@pytest.mark.parametrize("kind", SMALL)
def test_networks_from_scratch_learn_what_no_single_pixel_tells(tmp_path: Path, kind: str) -> None:
    store = store_of(tmp_path / "s.zarr", bars())
    data = load_task_data(store, load_task("los"), None)
    block = ProbeBlock(seeds=1, adapt=AdaptBlock(min_steps=80, epochs=1, batch_size=24, lr=(1e-2,), looks=4))
    source = RawSource(kind, store)
    found = adapt(SMALL[kind], data, Row(source, store), "all", block, balanced=True)
    assert found.predictions.scores()["macro_f1"][0, 0] > 90
    again = adapt(SMALL[kind], data, Row(source, store), "all", block, balanced=True)
    np.testing.assert_array_equal(found.predictions.guesses, again.predictions.guesses)


@pytest.mark.parametrize("given", ["tokens", "embedding"])
def test_the_residual_head_learns_from_a_frozen_encoder(tmp_path: Path, given: Any) -> None:
    arrays = street(160)
    delay = np.where(arrays["labels/los"], 2, -6)[:, None] * np.arange(SUBCARRIERS) / SUBCARRIERS
    phase = np.random.default_rng(5).random((160, ANTENNAS, 1))
    arrays["channel"] = (3 * np.exp(2j * np.pi * (delay[:, None] + phase))).astype(np.complex64)
    store = store_of(tmp_path / "s.zarr", arrays, channel={"normalise": "published"})
    source = resolve(str(encoder_run(tmp_path / "e.zarr").path), store)
    data = load_task_data(store, load_task("los"), "random")
    adapted = AdaptBlock(min_steps=60, epochs=1, batch_size=32, lr=(3e-3,), looks=4)
    choice = Res1DCNNProbe(kind="res1dcnn", input=given, dropout=0.1)
    row = Row(source, store)
    found = adapt(choice, data, row, "all", ProbeBlock(seeds=1, adapt=adapted), balanced=True)
    assert found.predictions.scores()["macro_f1"][0, 0] > 90
    rows = np.arange(4)
    shape = row.embeddings.take(rows).shape if given == "embedding" else row.tokens.take(rows).shape[::2]
    assert shape == (4, 16)
    torch.testing.assert_close(
        Tokens(row.samples, pooling="mean").take(rows), source.encoder.embed(row.samples.take(rows), "mean")
    )
    row.close()


def test_one_row_per_network_and_none_per_encoder(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s.zarr", street(80), channel={"normalise": "published"})
    encoder = encoder_run(tmp_path / "e.zarr").path
    probes = ("linear", "res1dcnn", {"kind": "cnn", "widths": (4, 8)}, {"kind": "resnet18", "width": 4})
    recipe = BenchmarkRecipe.model_validate({
        "name": "networks", "data": str(store.path), "tasks": ("los",),
        "encoders": ({"encoder": f"{encoder}@cls"}, {"encoder": f"{encoder}@mean"}),
        "probe": {
            "labels": ("8 per class",), "seeds": 2, "seed": 1, "bootstrap": 20, "l2": (1.0,), "probes": probes,
            "adapt": {"min_steps": 2, "epochs": 0.1, "looks": 1, "batch_size": 8},
        },
    })  # fmt: skip
    rows = plan_suite(recipe, recipe.encoders, progress=False).rows
    kinds = {row.source.spec: [p.kind for p in row.probes] for row in rows}
    assert kinds[f"{encoder}@cls"] == ["linear", "res1dcnn"]
    assert kinds[f"{encoder}@mean"] == ["linear"]  # the head sees tokens, poolings do not matter
    assert kinds[f"random:{encoder}@cls"] == ["linear", "res1dcnn"]
    assert kinds["baseline:raw"] == ["linear"]
    assert [spec for spec in kinds if spec.startswith("supervised:")] == [
        "supervised:cnn 4-8",
        "supervised:resnet18 w4",
    ]
    run = run_benchmark(recipe, tmp_path / "b.zarr", progress=False)
    units = {(unit.attrs["label"], unit.attrs["probe"]): unit.attrs for unit in run.units()}
    network = units["cnn 4-8 from scratch", "cnn 4-8"]
    assert (network["role"], network["dim"], network["n_train"]) == ("supervised", 2 * 8 * 16, [16, 16])
    assert network["trainable_parameters"] == 9 * (2 * 4 + 16 + 32 + 64) + 2 * 2 * (4 + 8) + 9 * 2
    assert units["e (cls)", "res1dcnn"]["pooling"] == "tokens"
    table = report_data(run)["tables"][0]
    roles = [row["role"] for row in table["rows"]]
    assert roles == sorted(roles, key=["encoder", "control", "supervised", "baseline", "reference"].index)
    assert roles.count("supervised") == 2


def test_a_network_that_wins_is_said_to_win_by_labels_alone() -> None:
    def unit(label: str, role: str, probe: str, mean: float) -> dict[str, Any]:
        metrics = {"macro_f1": {"mean": mean, "half_width": 0.5}}
        return {
            "status": "ok", "task": "t", "task_title": "T", "primary": "macro_f1", "metrics": metrics, "label": label,
            "role": role, "probe": probe, "budget": "5 per class", "split": "s",
        }  # fmt: skip

    units = [
        unit("MoE", "encoder", "logistic", 60),
        unit("cnn from scratch", "supervised", "cnn", 80),
        unit("PSD statistics", "baseline", "logistic", 70),
    ]
    (sentence,) = findings(units)
    assert sentence == (
        "T, 5 labels per class: cnn from scratch (labels alone) is ahead of every encoder (the best is MoE, "
        "logistic): macro F1 80.0 ± 0.5 % against 60.0 ± 0.5 %; so is PSD statistics, logistic."
    )


def test_pictures_of_every_kind(tmp_path: Path, spectrograms: Store) -> None:
    source = RawSource("cnn", spectrograms)
    rows = spectrograms.read("spectrogram")[:3]
    assert (source.channels, source.dim) == (1, 256)
    pictures = source.prepare(rows)
    assert pictures.shape == (3, 16, 16, 1)
    np.testing.assert_array_equal(pictures[..., 0].numpy(), rows[:, 0].astype(np.float32))
    assert source.extract(rows).shape == (3, 256)
    channel = street(20)
    complex_store = store_of(tmp_path / "c.zarr", channel)
    prepared = RawSource("cnn", complex_store).prepare(channel["channel"][:2])
    np.testing.assert_array_equal(prepared[..., 1].numpy(), channel["channel"][:2].imag)
    channel["channel"] = np.zeros((20, 8), np.complex64)
    flat = store_of(tmp_path / "f.zarr", channel)
    with pytest.raises(InputError, match=r"resnet18 needs pictures, not samples of shape \(8,\)"):
        RawSource("resnet18", flat)


def test_two_scales_of_lora() -> None:
    plain, root = LoraProbe(kind="lora"), LoraProbe(kind="lora", rank=16, alpha=8, scale="sqrt_rank")
    assert (plain.factor, root.factor) == (2.0, 2.0)
    assert (plain.name, root.name) == ("lora r8 a16", "lora r16 a8 sqrt")


def test_names_in_tables() -> None:
    choices: tuple[ProbeChoice, ...] = (
        named("cnn"), named("resnet18"), named("res1dcnn"), Res1DCNNProbe(kind="res1dcnn", input="embedding")
    )  # fmt: skip
    names = [choice.name for choice in choices]
    assert names == ["cnn 16-32-64-128", "resnet18 w64", "res1dcnn", "res1dcnn on embedding"]
