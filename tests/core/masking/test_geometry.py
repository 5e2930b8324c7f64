"""Mask geometries and what stands in hidden tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.masking.corrupt import corrupt
from wfm_cli.core.masking.geometry import count_of, pair_parts, paired_tokens, random_tokens
from wfm_cli.errors import InputError

AXES = ("antenna", "subcarrier", "part")


def coords(antennas: int, halves: int) -> torch.Tensor:
    part, antenna, half = torch.cartesian_prod(torch.arange(2), torch.arange(antennas), torch.arange(halves)).unbind(1)
    return torch.stack([antenna, half, part], 1)


def test_published_counts() -> None:
    pairs = pair_parts(coords(32, 2), AXES)
    assert paired_tokens(0, 0, torch.arange(3), pairs, 0.15).shape == (3, 18)
    assert random_tokens(0, 0, torch.arange(3), 64, 0.4).shape == (3, 25)
    assert random_tokens(0, 0, torch.arange(3), 1024, 0.7).shape == (3, 716)


@given(st.integers(2, 2000), st.floats(0.001, 0.999))
def test_at_least_one_and_never_all_tokens_are_hidden(tokens: int, ratio: float) -> None:
    count = count_of(tokens, ratio)
    assert 1 <= count < tokens
    assert count == int(ratio * tokens) or count == 1


@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 0.9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_real_and_imaginary_twins_go_together(antennas: int, halves: int, ratio: float, seed: int) -> None:
    grid = coords(antennas + 1, halves)
    shuffled = grid[torch.randperm(len(grid), generator=torch.Generator().manual_seed(seed))]
    for points in (grid, shuffled[torch.cat([(shuffled[:, 2] == part).nonzero().squeeze(1) for part in (0, 1)])]):
        if not torch.equal(points[points[:, 2] == 0][:, :2], points[points[:, 2] == 1][:, :2]):
            with pytest.raises(InputError, match="do not pair up"):
                pair_parts(points, AXES)
            continue
        index = paired_tokens(seed, 0, torch.arange(4), pair_parts(points, AXES), ratio)
        real, imaginary = points[index].chunk(2, dim=1)
        assert torch.equal(real[..., :2], imaginary[..., :2])
        assert bool((real[..., 2] == 0).all())
        assert bool((imaginary[..., 2] == 1).all())


def test_pairs_need_a_part_axis() -> None:
    with pytest.raises(InputError, match="axes antenna, subcarrier"):
        pair_parts(torch.zeros(4, 2, dtype=torch.int64), ("antenna", "subcarrier"))


def replaced(shares: tuple[float, float, float], ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values = torch.full((len(ids), 20, 16), 5.0)
    index = random_tokens(0, 0, ids, 20, 0.5)
    return values, index, corrupt(values, index, shares, 0.1, seed=0, step=0, ids=ids)


def test_shares_of_replacements() -> None:
    ids = torch.arange(3000)
    values, index, result = replaced((0.8, 0.1, 0.1), ids)
    assert bool((values == 5.0).all())
    touched = result.gather(1, index.unsqueeze(-1).expand(-1, -1, 16))
    constant, kept = (touched == 0.1).all(-1), (touched == 5.0).all(-1)
    filled = ((touched >= 0) & (touched < 1)).all(-1) & ~constant
    assert bool((constant | kept | filled).all())
    for share, want in ((constant, 0.8), (filled, 0.1), (kept, 0.1)):
        assert float(share.float().mean()) == pytest.approx(want, abs=5 * (want * (1 - want) / share.numel()) ** 0.5)
    numbers = touched[filled]
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.01)
    assert len(numbers.unique(dim=0)) == len(numbers)
    visible = torch.ones(len(ids), 20, dtype=torch.bool).scatter(1, index, False)
    assert bool((result[visible] == 5.0).all())


def test_real_and_imaginary_twins_are_replaced_independently() -> None:
    ids = torch.arange(2000)
    values = torch.full((2000, 8, 4), 5.0)
    index = torch.tensor([[1, 5]]).expand(2000, -1)
    result = corrupt(values, index, (0.5, 0.0, 0.5), 0.1, seed=0, step=0, ids=ids)
    one, two = (result[:, token, 0] == 0.1 for token in (1, 5))
    assert float((one & two).float().mean()) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(("shares", "want"), [((1.0, 0.0, 0.0), 0.1), ((0.0, 0.0, 1.0), 5.0)])
def test_pure_replacements(shares: tuple[float, float, float], want: float) -> None:
    _, index, result = replaced(shares, torch.arange(5))
    assert bool((result.gather(1, index.unsqueeze(-1).expand(-1, -1, 16)) == want).all())


def test_tokens_may_be_views() -> None:
    ids = torch.arange(3)
    values = torch.randn(3, 4, 6).transpose(1, 2)
    index = random_tokens(0, 0, ids, 6, 0.5)
    want = corrupt(values.contiguous(), index, (0.8, 0.1, 0.1), 0.1, seed=0, step=0, ids=ids)
    assert torch.equal(corrupt(values, index, (0.8, 0.1, 0.1), 0.1, seed=0, step=0, ids=ids), want)


def test_replacement_does_not_feel_the_batch() -> None:
    ids = torch.tensor([7, 3, 11, 40, 2])
    _, _, whole = replaced((0.3, 0.5, 0.2), ids)
    _, _, part = replaced((0.3, 0.5, 0.2), ids[[3, 0]])
    assert torch.equal(whole[[3, 0]], part)
