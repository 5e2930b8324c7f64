"""The encoder of spectrograms: places, scales, poolings."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.lwm_spectro import LWMSpectroEncoder, mean_and_deviation
from wfm_cli.core.objectives.masks import build_sampler
from wfm_cli.core.recipe.masks import AnyMask
from wfm_cli.core.recipe.models import LWMSpectroModel, ModelBlock
from wfm_cli.errors import InputError


def encoder(shape: tuple[int, ...] = (1, 16, 24), **sizes: object) -> LWMSpectroEncoder:
    torch.manual_seed(0)
    block = LWMSpectroModel.model_validate({"layers": 1, "width": 16, "heads": 2, **sizes})
    made = build_encoder(block, shape)
    assert isinstance(made, LWMSpectroEncoder)
    return made.eval()


def test_published_size() -> None:
    made = build_encoder(LWMSpectroModel(), (1, 128, 128))
    assert sum(p.numel() for p in made.parameters()) == 2_531_728
    assert made.tokenize(torch.randn(1, 1, 128, 128)).values.shape == (1, 1024, 16)
    assert made.default_pooling == "mean"


def test_patches_of_other_shapes_are_rows_and_columns() -> None:
    made = encoder(patch=(8, 4))
    batch = torch.randn(2, 1, 16, 24)
    grid = made.tokenize(batch)
    scaled = made.scaled(batch)[:, 0]
    assert grid.values.shape == (2, 12, 32)
    assert grid.axes == ("frequency", "time")
    for token in range(12):
        row, column = divmod(token, 6)
        assert grid.coords[token].tolist() == [row, column]
        want = scaled[:, 8 * row : 8 * row + 8, 4 * column : 4 * column + 4].flatten(1)
        assert torch.equal(grid.values[:, token], want)
    torch.testing.assert_close(made.untokenize(grid.values), scaled.unsqueeze(1))


def test_a_corpus_scale_keeps_levels_and_a_sample_scale_does_not() -> None:
    batch = torch.randn(3, 1, 16, 24) * 6 - 80
    corpus, sample = encoder(normalise="corpus", corpus_db=(-80.0, 6.0)), encoder()
    torch.testing.assert_close(corpus.tokenize(batch).values, sample.tokenize(batch).values, atol=0.3, rtol=0.1)
    louder = batch + 12
    assert torch.allclose(sample.tokenize(louder).values, sample.tokenize(batch).values, atol=1e-4)
    assert torch.allclose(corpus.tokenize(louder).values, corpus.tokenize(batch).values + 2, atol=1e-5)
    with pytest.raises(InputError, match=r"model\.corpus_db"):
        encoder(normalise="corpus")


def test_silence_has_finite_tokens() -> None:
    assert torch.isfinite(encoder().embed(torch.full((2, 1, 16, 24), -90.0))).all()


def test_smaller_samples_take_their_part_of_the_position_table() -> None:
    made = encoder(grid=(4, 8))
    assert made.rows == 33
    small = torch.randn(2, 1, 8, 12)
    grid = made.tokenize(small)
    with torch.no_grad():
        got = made.encode(grid)
        table = made.embedding.position
        rows = [0] + [1 + 8 * row + column for row in range(2) for column in range(3)]
        want = made.encode_sequence(torch.cat([torch.full((2, 1, 16), 0.2), grid.values], 1), table[rows])
        torch.testing.assert_close(got, want)
        keep = torch.tensor([[5, 0], [1, 4]])
        assert made.encode(grid, keep).shape == (2, 3, 16)
        assert made.embed(small, "mean_std").shape == (2, 32)
    with pytest.raises(InputError, match=r"10 x 3 patches, its position table has 4 x 8"):
        made.embed(torch.randn(1, 1, 40, 12))


@pytest.mark.parametrize("pooling", ["mean", "cls", "all", "concat", "mean_std"])
def test_poolings_and_their_sizes(pooling: str) -> None:
    made = encoder(pooling=pooling)
    batch = torch.randn(2, 1, 16, 24)
    with torch.no_grad():
        hidden = made.encode(made.tokenize(batch))
        got = made.embed(batch)
    assert got.shape == (2, made.embedding_dim())
    want = {
        "mean": hidden[:, 1:].mean(1),
        "cls": hidden[:, 0],
        "all": hidden.mean(1),
        "concat": torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1),
        "mean_std": torch.cat([hidden[:, 1:].mean(1), hidden[:, 1:].view(2, 4, 6, 16).mean(1).std(1, correction=0)], 1),
    }[pooling]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_the_deviation_sees_what_changes_in_time_alone() -> None:
    coords = torch.cartesian_prod(torch.arange(3), torch.arange(8))
    steady = torch.randn(1, 3, 1, 5).expand(1, 3, 8, 5).reshape(1, 24, 5).clone().requires_grad_()
    fading = steady.detach().view(1, 3, 8, 5) + torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    still, moving = mean_and_deviation(steady, coords), mean_and_deviation(fading.reshape(1, 24, 5), coords)
    torch.testing.assert_close(still[:, :5], moving[:, :5])
    assert still[:, 5:].abs().max() < 1e-5
    torch.testing.assert_close(moving[:, 5:], torch.ones(1, 5))
    still.sum().backward()
    assert torch.isfinite(steady.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["random", "region", "frequency", "time", "temporal"])
def test_every_geometry_of_its_axes_cuts_the_grid(kind: str) -> None:
    grid = encoder().tokenize(torch.zeros(1, 1, 16, 24))
    block = TypeAdapter(AnyMask).validate_python({"kind": kind})
    masks = build_sampler(block, grid.axes, grid.coords)(torch.arange(3), 0, 0)
    assert 0 < masks.target.shape[1] < grid.count


def test_the_wiring_of_earlier_runs_becomes_the_kind() -> None:
    old = {"kind": "lwm", "wiring": "spectro", "layers": 2, "scale": "published", "max_tokens": 1025}
    block = TypeAdapter(ModelBlock).validate_python(old)
    assert isinstance(block, LWMSpectroModel)
    assert (block.layers, block.pooling) == (2, "cls")
