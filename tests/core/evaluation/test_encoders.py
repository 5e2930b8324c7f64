"""From names to features: runs, untrained encoders, baselines, their scaling and their refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes.evaluation import TINY, encoder_run, store_of, street
from wfm_cli.core.evaluation.encoders import load_encoder, resolve, split_pooling
from wfm_cli.core.evaluation.features import cached, extract
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError, StoreError, WfmError

FEW = np.array([5, 1, 200, 17])


def test_a_run_gives_the_embeddings_of_its_encoder(store: Store, encoder: Path) -> None:
    source = resolve(f"{encoder}@mean", store)
    assert (source.role, source.dim, source.pooling, source.name) == ("encoder", 16, "mean", "tiny (mean)")
    batch = torch.view_as_real(torch.from_numpy(store.read("channel")[FEW]))
    with torch.inference_mode():
        expected = load_encoder(encoder).embed(batch, "mean")
    np.testing.assert_allclose(extract(source, store, FEW), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert resolve(str(encoder), store).pooling == "cls"


def test_batches_do_not_matter_and_order_is_kept(store: Store, encoder: Path) -> None:
    source = resolve(str(encoder), store)
    whole = extract(source, store, np.arange(store.samples))
    np.testing.assert_allclose(extract(source, store, FEW, batch=3), whole[FEW], rtol=1e-4, atol=1e-5)


def test_untrained_encoders_are_a_function_of_the_seed(store: Store, encoder: Path) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (resolve(f"random:{encoder}", store, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.role == "control"
    assert first.digest == again.digest
    assert first.digest not in (other.digest, resolve(str(encoder), store).digest)
    np.testing.assert_array_equal(extract(first, store, FEW), extract(again, store, FEW))


def test_an_untrained_encoder_from_a_recipe(store: Store, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text("step: pretrain\ndata: {store: x.zarr}\nmodel: {layers: 1, width: 24}\ntrain: {steps: 1}\n")
    source = resolve(f"random:{recipe}@mean", store)
    assert (source.dim, source.pooling) == (24, "mean")
    assert resolve("random:pretrain/lwm-v1", store).dim == 64
    with pytest.raises(InputError, match=r"random:pretrain/lwm-v0: .*no such recipe"):
        resolve("random:pretrain/lwm-v0", store)


@pytest.mark.parametrize(("held", "factor"), [("raw", 1e-6), ("published", 1.0)])
def test_scales_that_differ_by_a_factor_are_made_equal(
    tmp_path: Path, store: Store, encoder: Path, held: str, factor: float
) -> None:
    arrays = street()
    arrays["channel"] = (arrays["channel"] * factor).astype(np.complex64)
    other = store_of(tmp_path / "other.zarr", arrays, channel={"normalise": held})
    expected = extract(resolve(str(encoder), store), store, FEW)
    np.testing.assert_allclose(extract(resolve(str(encoder), other), other, FEW), expected, rtol=1e-4, atol=1e-5)


def test_a_store_that_lost_its_scale_is_refused(tmp_path: Path, encoder: Path) -> None:
    other = store_of(tmp_path / "power.zarr", street(), channel={"normalise": "power"})
    with pytest.raises(InputError, match=r"normalised 'power'.*trained on 'published'") as error:
        resolve(str(encoder), other)
    assert "source.normalise=published" in (error.value.hint or "")


def test_an_encoder_of_unit_power_normalises_by_itself(tmp_path: Path, store: Store) -> None:
    run = encoder_run(tmp_path / "unit.zarr", normalise="power")
    arrays = street()
    arrays["channel"] = (arrays["channel"] * 17).astype(np.complex64)
    louder = store_of(tmp_path / "louder.zarr", arrays, channel={"normalise": "raw"})
    features = [extract(resolve(str(run.path), s), s, FEW) for s in (store, louder)]
    np.testing.assert_allclose(features[0], features[1], rtol=1e-4, atol=1e-5)


def test_samples_that_do_not_fit_get_one_line(tmp_path: Path, encoder: Path) -> None:
    arrays = {name: values for name, values in street(30).items() if name != "labels/beam_16"}
    arrays["channel"] = np.ascontiguousarray(np.tile(arrays["channel"], (1, 20, 4)))
    large = store_of(tmp_path / "large.zarr", arrays)
    with pytest.raises(InputError) as error:
        resolve(str(encoder), large)
    assert "tiny.zarr" in error.value.message
    assert "large.zarr" in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.zarr", "not a run"),
        ("baseline:dft_46", "no such baseline"),
        ("{encoder}@max", "no pooling max"),
        ("random:{encoder}@max", "no pooling max"),
    ],
)
def test_names_of_nothing(store: Store, encoder: Path, spec: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve(spec.format(encoder=encoder), store)


def test_results_are_no_encoder(tmp_path: Path, store: Store) -> None:
    Run.create(tmp_path / "table.zarr", "benchmark", {})
    with pytest.raises(StoreError, match="holds no encoder"):
        resolve(str(tmp_path / "table.zarr"), store)


def test_a_model_of_another_version_is_refused(tmp_path: Path) -> None:
    run = encoder_run(tmp_path / "future.zarr", model={**TINY.model_dump(mode="json"), "wiring": "v9"})
    with pytest.raises(StoreError, match="not known to this wfm"):
        load_encoder(run.path)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a.zarr@cls", ("a.zarr", "cls")),
        ("a.zarr", ("a.zarr", None)),
        ("me@home/a.zarr", ("me@home/a.zarr", None)),
        ("me@home/a.zarr@mean", ("me@home/a.zarr", "mean")),
        ("a.zarr@", ("a.zarr@", None)),
    ],
)
def test_pooling_follows_the_last_at(spec: str, expected: tuple[str, str | None]) -> None:
    assert split_pooling(spec) == expected


def test_dear_features_are_made_once(tmp_path: Path, store: Store, encoder: Path) -> None:
    run = Run.create(tmp_path / "run.zarr", "probe", {})
    calls = []
    source, cheap = resolve(str(encoder), store), resolve("baseline:raw", store)
    made = source.extract_all
    source.extract_all = lambda *given: calls.append(1) or made(*given)  # type: ignore[func-returns-value, method-assign]
    first, again = (cached(run, source, store, FEW) for _ in range(2))
    assert len(calls) == 1
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(cached(run, source, store, FEW[::-1].copy()), first)  # other samples, other features
    cached(run, cheap, store, FEW)
    assert len(list((run.path / "features").glob("[!.z]*"))) == 2


def test_features_that_are_not_finite_stop_the_work(store: Store, encoder: Path) -> None:
    source = resolve(str(encoder), store)
    bad = np.where(np.arange(16) == 3, np.nan, np.ones((len(FEW), 16), np.float32))
    source.extract_all = lambda poolings, batch, *more: [bad]  # type: ignore[method-assign]
    with pytest.raises(WfmError, match=r"tiny\.zarr: features of sample 5 of .* are not finite"):
        extract(source, store, FEW)


def test_poolings_of_one_encoder_share_a_pass(store: Store, encoder: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.zarr", "probe", {})
    cls, mean, concat = (resolve(f"{encoder}@{pooling}", store) for pooling in ("cls", "mean", "all"))
    other = resolve(str(encoder_run(tmp_path / "other.zarr", seed=1).path), store)
    assert cls.weights == mean.weights == concat.weights != other.weights
    assert len({cls.digest, mean.digest, concat.digest}) == 3
    passes: list[int] = []
    made = cls.encoder.encode  # type: ignore[attr-defined]
    cls.encoder.encode = lambda tokens: passes.append(1) or made(tokens)  # type: ignore[attr-defined, func-returns-value]
    mean.extract_all = None  # type: ignore[assignment, method-assign]
    first = cached(run, cls, store, FEW, beside=(mean, concat))
    second = cached(run, mean, store, FEW)
    assert passes == [1]
    np.testing.assert_allclose(first, extract(cls, store, FEW))
    np.testing.assert_allclose(second, extract(resolve(f"{encoder}@mean", store), store, FEW))
