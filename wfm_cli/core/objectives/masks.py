"""From the mask block of a recipe to hidden tokens of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wfm_cli.core.masking import geometry, rng
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.lwm import LWMEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.recipe.pretrain import MaskBlock
from wfm_cli.errors import RecipeError

PUBLISHED_RATIO = {"v1.0": 0.15, "v1.1": 0.4, "spectro": 0.7}
"""Share of masked tokens of each LWM wiring."""


@dataclass(frozen=True)
class Masks:
    """Hidden tokens of one batch, and the random source that made them."""

    index: Tensor
    """(B, K) int64 token indices."""
    seed: int
    step: int
    ids: Tensor
    """(B,) int64; not the sample ids when one mask serves all samples."""


class MaskSampler:
    """Draws the masks of a recipe."""

    def __init__(self, block: MaskBlock, encoder: Encoder) -> None:
        wiring = encoder.wiring if isinstance(encoder, LWMEncoder) else None
        ratio = block.ratio if block.ratio is not None else PUBLISHED_RATIO.get(wiring or "")
        if ratio is None:
            raise RecipeError(f"masks.ratio: model '{encoder.kind}' has no published ratio", "set masks.ratio")
        if block.published_v11_seed and wiring != "v1.1":
            raise RecipeError(
                "masks.published_v11_seed: only LWM v1.1 was published with one mask for all samples",
                "remove it, or set model.wiring=v1.1",
            )
        self.block = block
        self.ratio = ratio
        self._coords: Tensor | None = None
        self._pairs: Tensor | None = None

    def __call__(self, grid: TokenGrid, ids: Tensor, key: StepKey) -> Masks:
        """Masks of the samples `ids` (B,) on this grid: fresh for every step, or the same throughout."""
        step = rng.EVERY_STEP if self.block.frequency == "static" else key.step
        if self.block.published_v11_seed:
            one = torch.zeros_like(ids)
            # The published code draws positions from range(1, patches): the last patch is never hidden.
            count = geometry.count_of(grid.count, self.ratio)
            index = rng.choose(key.seed, rng.EVERY_STEP, one, grid.count - 1, count, 0)
            return Masks(index, key.seed, rng.EVERY_STEP, one)
        if self.block.kind == "lwm" and "part" in grid.axes:
            index = geometry.paired_tokens(key.seed, step, ids, self._pairs_of(grid), self.ratio)
        else:
            index = geometry.random_tokens(key.seed, step, ids, grid.count, self.ratio)
        return Masks(index, key.seed, step, ids)

    def _pairs_of(self, grid: TokenGrid) -> Tensor:
        """Real and imaginary tokens of the grid; computed once, as a model hands out the same coordinates."""
        if self._pairs is None or grid.coords is not self._coords:
            self._pairs, self._coords = geometry.pair_parts(grid.coords, grid.axes), grid.coords
        return self._pairs
