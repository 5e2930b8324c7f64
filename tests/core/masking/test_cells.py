"""From tokens to the cells that masks cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wfm_cli.core.masking.cells import cell_grid
from wfm_cli.core.objectives.masks import build_sampler
from wfm_cli.core.recipe.masks import AnyMask, MaskBlock, RegionMask, TimeMask
from wfm_cli.errors import InputError

AXES = ("channel", "frequency", "time")


def grid(*sizes: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(n) for n in sizes])


@pytest.mark.parametrize("block", [MaskBlock(kind="random"), RegionMask(), TimeMask()])
@pytest.mark.parametrize("shuffled", [False, True])
def test_tokens_of_a_cell_are_hidden_together(block: AnyMask, shuffled: bool) -> None:
    coords = grid(3, 4, 5)
    if shuffled:
        coords = coords[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    masks = build_sampler(block, AXES, coords)(torch.arange(6), 0, 0)
    for side in (masks.context, masks.target):
        for row in side:
            cells, count = coords[row][:, 1:].unique(dim=0, return_counts=True)
            assert bool((count == 3).all())
            assert len(cells) * 3 == len(row)
    if block.kind == "time":
        assert all(len(coords[row][:, 2].unique()) * 12 == len(row) for row in masks.target)


def test_masks_are_the_same_for_any_number_of_channels() -> None:
    one = build_sampler(RegionMask(), AXES, grid(1, 6, 6))(torch.arange(9), 0, 0)
    three = build_sampler(RegionMask(), AXES, grid(3, 6, 6))(torch.arange(9), 0, 0)
    assert torch.equal((three.target % 36).view(9, -1, 3)[..., 0], one.target)


def test_coordinates_need_not_start_at_zero() -> None:
    cells = cell_grid(("antenna", "part"), grid(4, 2) * 3 + 5)
    assert (cells.axes, cells.sizes) == (("antenna",), (4,))
    assert cells.tokens.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("axes", "coords", "message"),
    [
        (("channel", "part"), grid(2, 2), "no axis to cut in a grid of channel, part"),
        (("antenna", "time"), grid(3, 3)[:-1], r"do not fill a grid of 3 x 3 \(antenna, time\) evenly"),
        (("antenna", "time"), grid(1, 1), "single cell"),
    ],
)
def test_grids_that_cannot_be_cut(axes: tuple[str, ...], coords: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cell_grid(axes, coords)
