"""The grid that masks cut: cells of the physical axes, each with the tokens that lie there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from wfm_cli.errors import InputError

SHARED_AXES = ("channel", "part")
"""Axes along which co-located tokens are hidden together: one of them alone would give the others away."""


@dataclass(frozen=True)
class CellGrid:
    """A complete grid of cells.

    Attributes:
        axes: names of the physical axes.
        sizes: cells along each axis.
        tokens: (C, T) int64, the tokens in every cell; cells in row-major order of `axes`.
    """

    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    tokens: Tensor

    @property
    def count(self) -> int:
        """Cells C."""
        return math.prod(self.sizes)

    def rows(self, axis: int) -> Tensor:
        """(n, C / n) int64: the cells of every row across an axis, ascending."""
        cells = torch.arange(self.count, device=self.tokens.device).view(self.sizes)
        return cells.movedim(axis, 0).flatten(1)

    def expand(self, cells: Tensor) -> Tensor:
        """Tokens of cells: (B, K) -> (B, K * T) int64."""
        return cells if self.plain else pick(self.tokens, cells)

    @cached_property
    def plain(self) -> bool:
        """Whether cell i is token i."""
        return torch.equal(self.tokens.flatten().cpu(), torch.arange(self.count))


def pick(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of a table (n, T), side by side: (B, K) -> (B, K * T)."""
    return table.to(rows.device).index_select(0, rows.reshape(-1)).view(rows.shape[0], -1)


def cell_grid(axes: tuple[str, ...], coords: Tensor) -> CellGrid:
    """Sort tokens into cells.

    Args:
        axes: names of the A axes of the token grid.
        coords: (N, A) int64 coordinates of the tokens.

    Raises:
        InputError: the tokens do not fill a grid, every cell with equally many.
    """
    physical = [column for column, name in enumerate(axes) if name not in SHARED_AXES]
    if not physical:
        raise InputError(f"masks: no axis to cut in a grid of {', '.join(axes)}", "choose another model")
    cell = coords.new_zeros(coords.shape[0])
    sizes: list[int] = []
    for column in physical:
        values, place = torch.unique(coords[:, column], return_inverse=True)
        cell = cell * len(values) + place
        sizes.append(len(values))
    count = math.prod(sizes)
    filled = torch.bincount(cell, minlength=count)
    names = tuple(axes[column] for column in physical)
    if int(filled.min()) != int(filled.max()):
        raise InputError(
            f"masks: the tokens do not fill a grid of {' x '.join(map(str, sizes))} ({', '.join(names)}) evenly",
            "give a patch size that divides the sample",
        )
    if count < 2:
        raise InputError("masks: the grid has a single cell, nothing would stay visible", "set a smaller model.patch")
    return CellGrid(names, tuple(sizes), cell.argsort(stable=True).view(count, -1))
