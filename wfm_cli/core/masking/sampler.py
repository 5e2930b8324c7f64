"""From geometries to the context and target tokens of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from wfm_cli.core.masking import rng
from wfm_cli.core.masking.cells import CellGrid
from wfm_cli.core.masking.geometries import Draw, Geometry

GEOMETRY, SIZES, CONTEXT = 12, 13, 14
"""Streams of `rng`: which geometry a step takes, its sizes, and which visible cells the context leaves out."""


@dataclass(frozen=True)
class MaskSet:
    """Context and target tokens of a batch. They never overlap."""

    context: Tensor
    """(B, Kc) int64 token indices that the context encoder sees; their order means nothing."""
    target: Tensor
    """(B, Kt) int64 token indices to predict; their order means nothing."""
    geometry: str
    """Name of the geometry, the same for the whole step."""


@dataclass(frozen=True)
class Part:
    """One geometry of a mixture, with what changes over the training."""

    name: str
    """Unique within the mixture."""
    geometry: Geometry
    """How it cuts."""
    ratio: Callable[[float, float], float]
    """Share of the grid that is the target, of the progress and of a uniform number that the step shares."""
    weight: Callable[[float], float]
    """Chance to be drawn, relative to the others', of the progress."""
    context: tuple[float, float] = (1.0, 1.0)
    """Range of the share of the visible cells that make up the context."""
    static: bool = False
    """One mask per sample for the whole training."""


@dataclass(frozen=True)
class Adaption:
    """How weights follow the loss of each geometry."""

    strength: float
    floor: float

    def __call__(self, weights: Sequence[float], losses: Sequence[float | None]) -> list[float]:
        """Weights times (loss / mean loss)^strength, mixed with a share `floor` of the weights as they were.

        Args:
            weights: non-negative, not all zero.
            losses: mean loss of each geometry; None where none is known yet, which counts as the mean.
        """
        plain = [weight / sum(weights) for weight in weights]
        known = [(p, loss) for p, loss in zip(plain, losses, strict=True) if loss is not None and loss > 0 and p > 0]
        if not known:
            return plain
        mean = sum(p * loss for p, loss in known) / sum(p for p, _ in known)
        tilted = [
            p * min(max(loss / mean, 1e-2), 1e2) ** self.strength if loss is not None and loss > 0 else p
            for p, loss in zip(plain, losses, strict=True)
        ]
        whole = sum(tilted)
        return [self.floor * p + (1.0 - self.floor) * t / whole for p, t in zip(plain, tilted, strict=True)]


class Sampler:
    """Draws one geometry per step, then places of every sample.

    Both are pure functions: the geometry and all sizes of (seed, step, progress, losses), so ranks and micro-batches
    agree and tensors are rectangular; the places of (seed, step, sample id) besides, so nothing depends on the batch.

    Attributes:
        geometries: names of the geometries in the mixture, in order.
        adaptive: whether the mixture follows the `losses` given to it.
    """

    def __init__(self, grid: CellGrid, parts: Sequence[Part], adaption: Adaption | None = None) -> None:
        self.grid = grid
        self.parts = {part.name: part for part in parts}
        self.adaption = adaption
        self.geometries = tuple(self.parts)
        self.adaptive = adaption is not None

    def __call__(
        self,
        ids: Tensor,
        seed: int,
        step: int,
        progress: float = 0.0,
        *,
        losses: Sequence[float | None] | None = None,
        geometry: str | None = None,
    ) -> MaskSet:
        """Masks of the samples `ids`.

        Args:
            ids: (B,) int64 sample ids, on the device on which the masks are made.
            seed: seed of the run.
            step: optimiser step.
            progress: share of the training that is done, 0 to 1.
            losses: mean loss of each of `geometries`, the same on all ranks; only an adaptive mixture looks at it.
            geometry: take this one of `geometries` in place of drawing one.
        """
        part = self.parts[geometry or self.draw(seed, step, progress, losses)]
        size, share = rng.common(seed, step, 2, SIZES)
        draw = Draw(seed, rng.EVERY_STEP if part.static else step, ids)
        visible, hidden = part.geometry.split(draw, part.ratio(progress, size))
        keep = share_of_context(visible.shape[1], part.context, share)
        if keep < visible.shape[1]:
            kept, _ = rng.shuffle(seed, draw.step, ids, visible.shape[1], keep, CONTEXT)
            visible = visible.gather(1, kept)
        return MaskSet(self.grid.expand(visible), self.grid.expand(hidden), part.name)

    def weights(self, progress: float, losses: Sequence[float | None] | None = None) -> list[float]:
        """Chance of every geometry at this progress; they add up to one."""
        weights = [part.weight(progress) for part in self.parts.values()]
        if self.adaption is not None and losses is not None:
            return self.adaption(weights, losses)
        return [weight / sum(weights) for weight in weights]

    def draw(self, seed: int, step: int, progress: float, losses: Sequence[float | None] | None = None) -> str:
        """Name of the geometry of a step."""
        if len(self.parts) == 1:
            return self.geometries[0]
        left = rng.common(seed, step, 1, GEOMETRY)[0]
        chances = self.weights(progress, losses)
        for name, chance in zip(self.geometries, chances, strict=True):
            left -= chance
            if left < 0:
                return name
        # Chances that add up to a little less than one: the last that can be drawn at all.
        return next(name for name, chance in reversed([*zip(self.geometries, chances, strict=True)]) if chance > 0)


def share_of_context(visible: int, bounds: tuple[float, float], number: float) -> int:
    """Cells of the context among the visible ones, at least one, for a uniform number that the step shares."""
    return max(1, min(visible, round((bounds[0] + (bounds[1] - bounds[0]) * number) * visible)))
