"""From the mask block of a recipe to hidden tokens of a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wfm_cli.core.masking import geometry, rng
from wfm_cli.core.masking.cells import CellGrid, cell_grid
from wfm_cli.core.masking.geometries import Geometry, RandomCells, Regions, Strips
from wfm_cli.core.masking.sampler import Adaption, Part, Sampler
from wfm_cli.core.masking.sampler import MaskSet as MaskSet
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.recipe.masks import (
    DEFAULT_RATIO,
    AnyMask,
    Component,
    CurriculumMask,
    MaskBlock,
    RegionMask,
    SingleMask,
    TemporalMask,
    scheduled,
)
from wfm_cli.core.recipe.msac import ModalityMask
from wfm_cli.errors import InputError, RecipeError

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

    def __init__(self, block: AnyMask, encoder: Encoder) -> None:
        if not isinstance(block, MaskBlock):
            raise RecipeError(
                f"masks.kind '{block.kind}': masked_modelling hides tokens of kind lwm or random",
                "choose one of these, or another objective",
            )
        wiring = getattr(encoder, "wiring", "")
        ratio = block.ratio if block.ratio is not None else PUBLISHED_RATIO.get(wiring)
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


CUT_AXES: dict[str, tuple[str, ...]] = {
    "frequency": ("frequency", "subcarrier"),
    "time": ("time",),
    "temporal": ("time",),
    "antenna": ("antenna",),
}
"""Axes that each kind of strips cuts: the first that the grid has."""


def build_sampler(block: AnyMask, axes: tuple[str, ...], coords: Tensor) -> Sampler:
    """The context and target sampler of a recipe's masks on a token grid.

    Args:
        block: the masks of the recipe.
        axes: names of the A axes of the token grid; tokens that differ in `channel` or `part` alone go together.
        coords: (N, A) int64 coordinates of the tokens.

    Raises:
        InputError: the grid lacks the axis that a geometry cuts, is too small, or has holes.
        RecipeError: the masks are for masked modelling alone.
    """
    if isinstance(block, ModalityMask):
        raise RecipeError(
            "masks.kind 'modality': hides frames of windows, which this objective does not know",
            "choose another geometry, or objective.kind=jepa_msac or sensor_reconstruction",
        )
    grid = cell_grid(axes, coords)
    if not isinstance(block, CurriculumMask):
        return Sampler(grid, [_part(Component.model_construct(mask=block), grid, block.kind)])
    names: list[str] = []
    for component in block.mixture:
        kind, same = component.mask.kind, sum(name.split("_")[0] == component.mask.kind for name in names)
        names.append(f"{kind}_{same + 1}" if same else kind)
    parts = [_part(component, grid, name) for component, name in zip(block.mixture, names, strict=True)]
    adaptive = block.adaptive
    return Sampler(grid, parts, Adaption(adaptive.strength, adaptive.floor) if adaptive else None)


def _part(component: Component, grid: CellGrid, name: str) -> Part:
    mask, weight = component.mask, component.weight
    return Part(
        name,
        _geometry(mask, grid),
        _ratio(component),
        lambda progress: scheduled(weight, progress),
        (1.0, 1.0) if isinstance(mask, MaskBlock) else mask.context,
        isinstance(mask, MaskBlock) and mask.frequency == "static",
    )


def _ratio(component: Component) -> Callable[[float, float], float]:
    """Share of target cells, of the progress and of a uniform number that the step shares."""
    mask, ratio = component.mask, component.ratio
    if ratio is not None:
        return lambda progress, _: scheduled(ratio, progress)
    if isinstance(mask, RegionMask) and mask.scale is not None:
        low, high = mask.scale
        return lambda _, number: 1.0 - (1.0 - low - (high - low) * number) ** mask.blocks
    fixed = DEFAULT_RATIO if mask.ratio is None else mask.ratio
    return lambda *_: fixed


def _geometry(mask: SingleMask, grid: CellGrid) -> Geometry:
    if isinstance(mask, MaskBlock):
        if mask.kind == "lwm" or mask.published_v11_seed:
            raise RecipeError(
                "masks: the published masks of LWM go with masked_modelling alone",
                "set masks.kind to random, region, frequency, time, temporal, antenna or curriculum",
            )
        return RandomCells(grid)
    wrap = mask.edges == "wrap"
    if isinstance(mask, RegionMask):
        return Regions(grid, mask.blocks, mask.aspect, wrap)
    axis = next((name for name in CUT_AXES[mask.kind] if name in grid.axes), None)
    if axis is None:
        raise InputError(
            f"masks.kind '{mask.kind}' cuts the axis {' or '.join(CUT_AXES[mask.kind])}, "
            f"but this model's grid has axes {', '.join(grid.axes)}",
            "choose a geometry of these axes, or region or random, which go with any",
        )
    return Strips(grid, axis, 1 if isinstance(mask, TemporalMask) else mask.strips, wrap)
