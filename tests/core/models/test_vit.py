"""LatentWave and WavesFM: published sizes, tokens, what is seen and what is not, and the way through a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.fakes.stores import make_store
from wfm_cli.core.evaluation.encoders import load_encoder, resolve
from wfm_cli.core.exchange import export_run
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks.images import cut
from wfm_cli.core.models.blocks.predictor import Predictor
from wfm_cli.core.models.vit import PatchEncoder
from wfm_cli.core.models.wavesfm import WavesFMEncoder
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.models import LatentWaveModel, ViTModel, WavesFMModel
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError

SMALL = {"layers": 2, "width": 32, "heads": 4, "patch": 4}
SYSTEMS = [
    LatentWaveModel(**SMALL, power_token=True, channel_embedding=True),
    LatentWaveModel(**SMALL, parts="joint", normalise="none"),
    WavesFMModel(**SMALL, power_token=True),
    WavesFMModel(**SMALL, channels="adapter"),
    WavesFMModel(**SMALL, stem="iq"),
]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def small(block: ViTModel, shape: tuple[int, ...] = (8, 12, 2), dims: tuple[str, ...] | None = None) -> PatchEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(block, shape, dims)  # type: ignore[arg-type]
    assert isinstance(encoder, PatchEncoder)
    return encoder


def test_published_size_of_latentwave() -> None:
    encoder = small(LatentWaveModel(), (1, 224, 224))
    table = encoder.place(encoder.tokenize(torch.zeros(1, 1, 224, 224)).coords)
    sizes = [count(encoder.blocks), count(encoder.get_submodule("projection")), count(encoder.norm), table.numel()]
    assert sizes == [6_318_080, 65_792, 512, 50_176]
    assert count(encoder) + table.numel() == 6_434_560
    assert not table.requires_grad


@pytest.mark.parametrize(("depth", "total"), [(4, 884_480), (2, 487_936)])
def test_published_size_of_the_predictor(depth: int, total: int) -> None:
    grid = small(LatentWaveModel(layers=1), (1, 224, 224)).tokenize(torch.zeros(1, 1, 224, 224))
    predictor = Predictor(grid.axes, grid.coords, 256, 256, width=128, depth=depth, heads=8, where="")
    assert count(predictor) + predictor.positions(grid.coords).numel() == total


def test_published_size_of_wavesfm() -> None:
    encoder = small(WavesFMModel(), (1, 224, 224))
    assert count(encoder.blocks) + count(encoder.norm) == 6_318_592
    assert count(encoder) == 6_318_592 + 65_792 + 256


@pytest.mark.parametrize("block", SYSTEMS)
def test_tokens_hold_every_number_once(block: ViTModel) -> None:
    encoder = small(block)
    batch = torch.randn(3, 8, 12, 2)
    patches = encoder.patches(batch)
    torch.testing.assert_close(encoder.untokenize(patches), batch)
    grid = encoder.tokenize(batch)
    assert grid.values.shape == patches.shape
    assert len(grid.coords) == grid.count
    assert len(grid.coords.unique(dim=0)) == grid.count


def test_a_token_is_where_its_coordinates_say() -> None:
    encoder = small(LatentWaveModel(**SMALL, normalise="none"))
    batch = torch.zeros(1, 8, 12, 2)
    batch[0, 5, 9, 1] = 1.0  # antenna 5, subcarrier 9, imaginary part
    grid = encoder.tokenize(batch)
    (token,) = grid.values[0].abs().sum(1).nonzero().flatten().tolist()
    assert grid.coords[token].tolist() == [1, 2, 1]
    assert grid.axes == ("antenna", "subcarrier", "channel")
    assert grid.values[0, token].view(4, 4)[1, 1] == 1.0


def test_patches_at_the_far_end_are_padded() -> None:
    images = torch.arange(30.0).view(1, 1, 5, 6)
    patches = cut(images, (4, 4))
    assert patches.shape == (1, 1, 4, 16)
    assert patches[0, 0, 3].view(4, 4).tolist() == [[28, 29, 0, 0], [0] * 4, [0] * 4, [0] * 4]


@pytest.mark.parametrize("block", SYSTEMS)
def test_hidden_tokens_are_not_seen_at_all(block: ViTModel) -> None:
    encoder = small(block)
    grid = encoder.tokenize(torch.randn(2, 8, 12, 2))
    keep = torch.stack([torch.randperm(grid.count)[:3] for _ in range(2)])
    other = grid.values.clone()
    hidden = torch.ones(2, grid.count, dtype=torch.bool).scatter(1, keep, False)
    other[hidden] = torch.nan
    lengths = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    torch.testing.assert_close(encoder.encode(grid, keep), encoder.encode(grid.with_values(other), keep))
    assert lengths == [encoder.prefix + 3] * 2
    everything = torch.arange(grid.count).expand(2, -1)
    torch.testing.assert_close(encoder.encode(grid, everything), encoder.encode(grid), rtol=1e-4, atol=1e-5)


def test_per_sample_scale_and_the_power_token() -> None:
    batch = torch.randn(2, 8, 12, 2)
    plain = small(LatentWaveModel(**SMALL))
    torch.testing.assert_close(plain.embed(batch), plain.embed(batch * 100), rtol=1e-4, atol=1e-5)
    told = small(LatentWaveModel(**SMALL, power_token=True))
    assert told.default_pooling == "concat"
    assert told.embed(batch).shape == (2, 64)
    assert not torch.allclose(told.embed(batch), told.embed(batch * 100), atol=1e-2)
    level = told.tokenize(batch * 100).level_db
    expected = 10 * np.log10((batch.numpy() ** 2).mean((1, 2, 3)) * 1e4)
    np.testing.assert_allclose(level, expected, rtol=1e-4)
    standard = small(LatentWaveModel(**SMALL, normalise="standard"), (8, 12))
    values = standard.tokenize(5 + 3 * torch.randn(2, 8, 12)).values
    torch.testing.assert_close(torch.std_mean(values.flatten(1), 1, correction=0)[0], torch.ones(2))


def test_pooling_by_mean_and_deviation() -> None:
    for block, front in ((LatentWaveModel(**SMALL), 0), (LatentWaveModel(**SMALL, power_token=True), 1)):
        encoder, batch = small(block), torch.randn(3, 8, 12, 2)
        hidden = encoder.encode(encoder.tokenize(batch))
        found = encoder.embed(batch, "concat_std")
        assert found.shape == (3, encoder.embedding_dim("concat_std")) == (3, (front + 2) * 32)
        expected = hidden[:, front:].numpy(force=True)
        np.testing.assert_allclose(found[:, -32:].numpy(force=True), expected.std(1), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[:, -64:-32].numpy(force=True), expected.mean(1), rtol=1e-3, atol=1e-5)


def test_any_number_of_channels_in_any_order() -> None:
    encoder = small(LatentWaveModel(**SMALL), (2, 8, 12), ("sample", "antenna", "frequency", "time"))
    batch = torch.randn(2, 5, 8, 12)
    torch.testing.assert_close(encoder.embed(batch), encoder.embed(batch.flip(1)), rtol=1e-4, atol=1e-5)
    told = small(LatentWaveModel(**SMALL, channel_embedding=True), (2, 8, 12), ("sample", "c", "frequency", "time"))
    assert not torch.allclose(told.embed(batch[:, :2]), told.embed(batch[:, :2].flip(1)), atol=1e-4)
    assert told.embed(batch[:, :1]).shape == (2, 32)
    with pytest.raises(InputError, match="knows 2 channels"):
        told.embed(batch)


def test_other_grids_than_the_trained_one() -> None:
    encoder = small(LatentWaveModel(**SMALL))
    assert encoder.embed(torch.randn(2, 16, 20, 2)).shape == (2, 32)
    assert encoder.tokenize(torch.randn(2, 16, 20, 2)).count == 2 * 4 * 5


@pytest.mark.parametrize(
    ("shape", "dims", "kind", "axes"),
    [
        ((8, 12, 2), ("sample", "antenna", "subcarrier"), "complex", ("antenna", "subcarrier")),
        ((3, 8, 2), ("sample", "antenna", "frequency", "time"), "image", ("frequency", "time")),
        ((3, 8, 12, 2), ("sample", "station", "antenna", "subcarrier"), "complex", ("antenna", "subcarrier")),
        ((8, 12), None, "image", ("frequency", "time")),
    ],
)
def test_the_store_says_how_samples_lie(
    shape: tuple[int, ...], dims: tuple[str, ...] | None, kind: str, axes: tuple[str, str]
) -> None:
    encoder = small(LatentWaveModel(**SMALL), shape, dims)
    assert (encoder.block.input, encoder.block.axes) == (kind, axes)
    again = small(encoder.block, shape)  # from the resolved block alone
    assert again.tokenize(torch.zeros(1, *shape)).axes == (*axes, "channel")
    batch = torch.randn(2, *shape)
    torch.testing.assert_close(again.embed(batch), encoder.embed(batch))


def test_the_adapter_starts_as_the_mean_of_the_channels() -> None:
    encoder = small(WavesFMModel(**SMALL, channels="adapter", normalise="none"), (3, 8, 12))
    assert isinstance(encoder, WavesFMEncoder)
    batch = torch.randn(2, 3, 8, 12)
    assert encoder.adapter is not None
    torch.testing.assert_close(
        encoder.adapter(encoder.tokenize(batch).values), cut(batch.mean(1, keepdim=True), (4, 4))[:, 0]
    )


def test_the_iq_stem_cuts_time_and_tells_antennas_apart() -> None:
    encoder = small(WavesFMModel(**(SMALL | {"patch": 16}), stem="iq", normalise="none"), (2, 3, 64))
    grid = encoder.tokenize(torch.randn(2, 2, 3, 64))
    assert grid.axes == ("antenna", "time", "channel")
    assert (grid.count, grid.patch) == (3 * 4, 32)
    batch = torch.randn(2, 2, 3, 64)
    assert not torch.allclose(encoder.embed(batch), encoder.embed(batch.flip(2)), atol=1e-4)
    with pytest.raises(InputError, match="knows 3 antennas"):
        encoder.embed(torch.randn(2, 2, 4, 64))
    with pytest.raises(InputError, match="iq takes samples"):
        small(WavesFMModel(**SMALL, stem="iq"), (3, 8, 12))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "5 heads do not divide"),
        ({"power_token": True, "normalise": "none"}, "model.power_token"),
        ({"parts": "joint", "input": "image"}, "model.parts"),
    ],
)
def test_contradictions_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(LatentWaveModel.model_validate(SMALL | changes))


@pytest.mark.parametrize("block", SYSTEMS)
def test_through_a_run_and_out_again(block: ViTModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    store = make_store(tmp_path / "s.zarr", antennas=8, subcarriers=12)
    encoder = small(block)
    encoder.embed(torch.randn(2, 8, 12, 2)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.blocks.parameters())
    attrs = {"model": to_dict(encoder.block), "sample_shape": [8, 12, 2], "array": "channel", "normalise": None}
    run = Run.create(tmp_path / "run.zarr", "pretrain", {}, attrs)
    run.save_weights({f"encoder.{k}": v for k, v in encoder.state_dict().items()}, "last")
    run.set_attrs(complete=True)
    raw = store.read("channel")[:4]
    batch = torch.view_as_real(torch.from_numpy(raw))
    expected = encoder.eval().embed(batch, "mean").detach()
    torch.testing.assert_close(load_encoder(run.path).embed(batch, "mean").detach(), expected)
    source = resolve(f"{run.path}@mean", store)
    np.testing.assert_allclose(source.extract(raw), expected, rtol=1e-4, atol=1e-5)
    export_run(run.path, tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {name.removeprefix("encoder.") for name in saved} == set(encoder.state_dict())
