"""Geometries on a grid of cells: random cells, strips along an axis, rectangles. Whole batches, no loop over samples.

How many cells are hidden follows from the ratio alone, so every batch is rectangular, every rank has the same shapes,
and no sample feels its batch. Where they are is a pure function of (seed, step, sample id).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from wfm_cli.core.masking import rng
from wfm_cli.core.masking.cells import CellGrid, pick
from wfm_cli.errors import InputError

PLACE, CUTS, SHAPE = 8, 9, 10
"""Streams of `rng`: positions, gaps between strips, and what a whole step shares."""


@dataclass(frozen=True)
class Draw:
    """Where random numbers come from."""

    seed: int
    """Seed of the run."""
    step: int
    """Optimiser step, or `rng.EVERY_STEP`."""
    ids: Tensor
    """(B,) int64 sample ids."""


class Geometry(ABC):
    """A way to divide the cells of a grid into visible and hidden ones."""

    def __init__(self, grid: CellGrid) -> None:
        self.grid = grid

    @abstractmethod
    def split(self, draw: Draw, ratio: float) -> tuple[Tensor, Tensor]:
        """Visible and hidden cells of every sample.

        Args:
            draw: seed, step and samples.
            ratio: share of hidden cells; at least one cell is hidden and at least one stays visible.

        Returns:
            (B, C - K) and (B, K) int64 cells; their order within a sample means nothing.
        """


class RandomCells(Geometry):
    """Cells without replacement, every subset equally likely."""

    def split(self, draw: Draw, ratio: float) -> tuple[Tensor, Tensor]:
        """See `Geometry.split`."""
        cells = self.grid.count
        hidden, visible = rng.shuffle(draw.seed, draw.step, draw.ids, cells, share_of(cells, ratio), PLACE)
        return visible, hidden


class Strips(Geometry):
    """Separate strips of neighbouring rows of an axis, all the way along the others.

    The hidden rows are shared out evenly among the strips. With `wrap` the axis is a ring: the gaps between strips are
    a random composition of the visible rows and the whole pattern is turned by a random angle, so every row is hidden
    equally often. Otherwise every set of separate places between the two ends is equally likely.
    """

    def __init__(self, grid: CellGrid, axis: str, strips: int, wrap: bool) -> None:
        super().__init__(grid)
        column = grid.axes.index(axis)
        self.size, self.strips, self.wrap = grid.sizes[column], strips, wrap
        if self.size < 2:
            raise InputError(
                f"masks: the grid has a single row along its axis '{axis}', nothing would stay visible",
                "set a smaller model.patch, or choose another geometry",
            )
        # Twice, so that a turned row needs no remainder.
        self._cells = grid.rows(column).repeat(2, 1)

    def split(self, draw: Draw, ratio: float) -> tuple[Tensor, Tensor]:
        """See `Geometry.split`; the ratio is rounded to whole rows."""
        rows, visible = self.rows(draw, ratio)
        cells, cut = pick(self._cells, rows), visible * self._cells.shape[1]
        return cells[:, :cut], cells[:, cut:]

    def rows(self, draw: Draw, ratio: float) -> tuple[Tensor, int]:
        """(B, n) rows, visible ones first, and how many these are; n more than the row with `wrap` after a turn."""
        hidden = share_of(self.size, ratio)
        visible = self.size - hidden
        strips = min(self.strips, hidden, visible if self.wrap else visible + 1)
        cuts = self._cuts(draw, visible, strips)
        starts, widths, strip_of = _layout(self.size, hidden, strips, cuts.device)
        # A strip stands before the visible row of its cut.
        passed = (cuts.unsqueeze(1) <= starts[:visible, None]).long().mul_(widths).sum(2)
        result = torch.cat([passed, cuts.index_select(1, strip_of)], dim=1).add_(starts)
        if self.wrap:
            result.add_(rng.integers(draw.seed, draw.step, draw.ids, 1, self.size, PLACE))
        return result, visible

    def _cuts(self, draw: Draw, visible: int, strips: int) -> Tensor:
        """(B, strips) ascending: how many visible rows lie before each strip."""
        if not self.wrap:
            return rng.choose(draw.seed, draw.step, draw.ids, visible + 1, strips, CUTS)
        first = draw.ids.new_zeros(draw.ids.shape[0], 1)
        if strips == 1:
            return first
        more = rng.choose(draw.seed, draw.step, draw.ids, visible - 1, strips - 1, CUTS) + 1
        return torch.cat([first, more], dim=1)


@lru_cache(maxsize=256)
def _count(size: int, device: torch.device) -> Tensor:
    """(n, 1) float32: 0, 1, 2, ..."""
    return torch.arange(size, device=device, dtype=torch.float32).unsqueeze(1)


@lru_cache(maxsize=256)
def _layout(size: int, hidden: int, strips: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where rows would stand without strips and strips without gaps (n,); widths (strips,); strips of hidden rows."""
    order = torch.arange(strips, device=device)
    # The first strips have one row more.
    starts = order * (hidden // strips) + order.clamp(max=hidden % strips)
    widths = (order < hidden % strips).long() + hidden // strips
    covered = torch.arange(hidden, device=device)
    strip_of = torch.searchsorted(starts, covered, right=True) - 1
    return torch.cat([torch.arange(size - hidden, device=device), covered]), widths, strip_of


class Regions(Geometry):
    """Rectangles around random centres that grow together until their union has the size asked for.

    A cell is reached when the nearest rectangle, blown up around its centre, touches it; the K cells that are reached
    first are hidden. That gives exactly K cells without cutting any off in raster order. With `wrap` the centres are
    uniform on a torus, so every cell is hidden equally often; otherwise they are uniform among those whose rectangle
    of mean size lies within the grid.
    """

    def __init__(self, grid: CellGrid, blocks: int, aspect: tuple[float, float], wrap: bool) -> None:
        super().__init__(grid)
        if len(grid.sizes) > 2:
            raise InputError(
                f"masks.kind 'region' cuts grids of two axes, this one has {', '.join(grid.axes)}",
                "choose masks.kind=random, or strips along one axis",
            )
        self.blocks, self.aspect, self.wrap = blocks, aspect, wrap

    def split(self, draw: Draw, ratio: float) -> tuple[Tensor, Tensor]:
        """See `Geometry.split`."""
        cells = self.grid.count
        hidden = share_of(cells, ratio)
        distance = self._distance(draw, self.extents(draw, hidden / cells))
        # Positive floats order as the integers that their bits spell.
        keys = distance.view(torch.int32)
        hidden_cells, visible_cells = rng.smallest(keys if cells <= 1024 else keys.long() << 24, hidden)
        return visible_cells, hidden_cells

    def extents(self, draw: Draw, ratio: float) -> tuple[float, ...]:
        """Mean extent of a rectangle along each axis, in cells, the same for a whole step."""
        area = (1.0 - (1.0 - ratio) ** (1.0 / self.blocks)) * self.grid.count
        if len(self.grid.sizes) == 1:
            return (area,)
        low, high = map(math.log, self.aspect)
        aspect = math.exp(low + (high - low) * rng.common(draw.seed, draw.step, 1, SHAPE)[0])
        rows, columns = self.grid.sizes
        # The area is less than the grid's, so a side that fits leaves the other one fitting too.
        height = min(max(math.sqrt(area * aspect), area / columns), rows)
        return height, area / height

    def _distance(self, draw: Draw, extents: tuple[float, ...]) -> Tensor:
        """(B, C) float32: by how much the nearest rectangle must be blown up to touch a cell."""
        count = self.blocks * len(extents)
        # 16 bits place a centre: products with the size are exact, so every device cuts the same cells.
        words = rng.bits(draw.seed, draw.step, draw.ids, (count + 3) // 4, PLACE).view(torch.int16)[:, :count]
        # The batch is the last axis until the end: its numbers lie side by side, whatever the grid.
        numbers = words.t().float().contiguous().mul_(2.0**-16).add_(0.5)
        centres = numbers.view(len(extents), self.blocks, 1, -1)
        along = [self._along(centres[i], n, extents[i]) for i, n in enumerate(self.grid.sizes)]
        if len(along) == 1:
            return along[0].amin(0).t().contiguous()
        rows, columns = along[0].unsqueeze(2), along[1].unsqueeze(1)
        best = rows[0] + columns[0]
        far = torch.empty_like(best)
        for block in range(1, self.blocks):
            # Block by block, the arrays stay in the cache.
            torch.minimum(best, torch.add(rows[block], columns[block], out=far), out=best)
        return best.flatten(0, 1).t().contiguous()

    def _along(self, numbers: Tensor, size: int, extent: float) -> Tensor:
        """(blocks, n, B) eighth power of the distance from centres along an axis, in extents.

        Sums of eighth powers order cells nearly as the larger distance does (corners come 9 % later), and the cells
        of a side, which the larger distance reaches all at once, from its middle outwards.

        Args:
            numbers: (blocks, 1, B) uniform numbers.
            size: cells along the axis.
            extent: mean extent of a rectangle along the axis, in cells.
        """
        cells = _count(size, numbers.device)
        if self.wrap:
            away = torch.sub(cells, numbers, alpha=size).abs_()
            away = torch.minimum(away, size - away)
        else:
            away = torch.sub(cells, numbers, alpha=size - extent).sub_(0.5 * (extent - 1.0))
        away.mul_(1.0 / extent)
        return away.square_().square_().square_()


def share_of(count: int, ratio: float) -> int:
    """The nearest whole number to a share of `count`, at least one and never all."""
    return max(1, min(round(ratio * count), count - 1))
