"""Recipe blocks of masks: which tokens are hidden, and how that changes over the training."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.msac import ModalityMask

DEFAULT_RATIO = 0.6
"""Share of the grid that is the target when a recipe names none, the same for every geometry so that geometries are
compared at equal area (published figures lie between 0.5 and 0.75)."""

Ratio = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class MaskBlock(Strict):
    """Which tokens are masked."""

    kind: Literal["lwm", "random"] = "lwm"
    """`lwm`: the published geometry of the wiring (v1.0: paired Re/Im half rows); `random`: uniform tokens."""
    ratio: float | None = Field(None, gt=0, lt=1)
    """Share of masked tokens. By default the wiring's published ratio for LWM (v1.0 0.15, v1.1 0.4, Spectro 0.7), and
    0.6, as for every geometry, elsewhere."""
    frequency: Literal["epoch", "static"] = "epoch"
    """`epoch`: fresh masks at every visit; `static`: one mask per sample for ever, as published for v1.0."""
    published_v11_seed: bool = False
    """Reproduce the published v1.1 defect: one mask for all samples, the last patch never masked."""


class _Geometry(Strict):
    """What all geometries share."""

    edges: Literal["wrap", "inside"] = "wrap"
    """`wrap`: what runs over an edge re-enters on the other side, so that every token is the target equally often;
    `inside`: every position within the grid is equally likely, which hides tokens at the edges less often."""
    context: tuple[Share, Share] = (1.0, 1.0)
    """Range of the share of the remaining grid that the context encoder sees, drawn once per step; which tokens are
    left out is random."""

    @model_validator(mode="after")
    def _context_rises(self) -> _Geometry:
        if self.context[0] > self.context[1]:
            raise ValueError("context: the lower bound comes first")
        return self


class RegionMask(_Geometry):
    """Rectangles, as the multi-block masks of I-JEPA (arXiv 2301.08243, section 3).

    The shape of the rectangles is drawn once per step, their places per sample. They may overlap; the target is their
    union, and the rectangles grow around their centres until it has exactly the size that was asked for. So every
    sample of every rank has the same number of target tokens, and none is cut off.
    """

    kind: Literal["region"] = "region"
    blocks: int = Field(4, ge=1, le=64)
    """Rectangles per sample."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Range of height / width, in tokens; drawn once per step, uniform in its logarithm."""
    ratio: Ratio | None = None
    """Share of the grid that is the target; 0.6 by default, as for every geometry."""
    scale: tuple[Ratio, Ratio] | None = None
    """In place of `ratio`: range of the area of one rectangle as a share of the grid, drawn once per step, of which
    the target's size follows as the mean union of so many rectangles, 1 - (1 - area)^blocks. Published for I-JEPA:
    [0.15, 0.2]."""
    context: tuple[Share, Share] = (0.85, 1.0)
    """Range of the share of the remaining grid that the context encoder sees, drawn once per step; which tokens are
    left out is random."""

    @model_validator(mode="after")
    def _ranges(self) -> RegionMask:
        if self.ratio is not None and self.scale is not None:
            raise ValueError("give either ratio or scale")
        if self.scale is not None and self.scale[0] > self.scale[1]:
            raise ValueError("scale: the lower bound comes first")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError("aspect: two positive numbers, the lower one first")
        return self


class FrequencyMask(_Geometry):
    """Strips of frequency, all the way along the other axis: the axis `frequency`, or `subcarrier` of a channel."""

    kind: Literal["frequency"] = "frequency"
    strips: int = Field(2, ge=1, le=1024)
    """Separate strips; fewer where the grid is too small to keep them apart."""
    ratio: Ratio = DEFAULT_RATIO
    """Share of the rows that is the target, rounded to whole rows."""


class TimeMask(_Geometry):
    """Strips of time, all the way along the other axis."""

    kind: Literal["time"] = "time"
    strips: int = Field(2, ge=1, le=1024)
    """Separate strips; fewer where the grid is too small to keep them apart."""
    ratio: Ratio = DEFAULT_RATIO
    """Share of the columns that is the target, rounded to whole columns."""


class TemporalMask(_Geometry):
    """One contiguous stretch of time: predict what is missing from what comes before and after."""

    kind: Literal["temporal"] = "temporal"
    ratio: Ratio = DEFAULT_RATIO
    """Share of the columns that is the target, rounded to whole columns."""
    edges: Literal["wrap", "inside"] = "inside"
    """`inside`: the stretch stays in one piece; `wrap`: it may run over the end and go on at the start, so that every
    token is the target equally often."""


class AntennaMask(_Geometry):
    """Antennas: one block of neighbours, or several strips."""

    kind: Literal["antenna"] = "antenna"
    strips: int = Field(1, ge=1, le=1024)
    """Separate blocks of neighbouring antennas; fewer where the grid is too small to keep them apart."""
    ratio: Ratio = DEFAULT_RATIO
    """Share of the antenna rows that is the target, rounded to whole rows."""


SingleMask = Annotated[
    MaskBlock | RegionMask | FrequencyMask | TimeMask | TemporalMask | AntennaMask, Field(discriminator="kind")
]
"""Every geometry."""


class Schedule(Strict):
    """A number that changes over the training; progress runs from 0 to 1."""

    shape: Literal["constant", "linear", "cosine", "step"] = "constant"
    """`constant`: `start` throughout; `linear`, `cosine`: from `start` to `end`; `step`: from `start` to `end` in
    equal steps, one at every progress listed in `at`."""
    start: float = Field(ge=0)
    """Value at the beginning."""
    end: float | None = Field(None, ge=0)
    """Value at the end; needed by every shape but `constant`."""
    at: tuple[Share, ...] = ()
    """Progress of the steps, rising; for `step` alone."""

    @model_validator(mode="after")
    def _complete(self) -> Schedule:
        if (self.end is None) != (self.shape == "constant"):
            raise ValueError("a constant has no end; every other shape needs one")
        if bool(self.at) != (self.shape == "step"):
            raise ValueError("shape step needs at, and no other shape has it")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("at: every step once, in rising order")
        return self

    def value(self, progress: float) -> float:
        """The number at a progress between 0 and 1."""
        if self.end is None:
            return self.start
        if self.shape == "step":
            share = sum(progress >= at for at in self.at) / len(self.at)
        else:
            share = progress if self.shape == "linear" else (1.0 - math.cos(math.pi * progress)) / 2.0
        return self.start + (self.end - self.start) * share


class Component(Strict):
    """One geometry of a mixture."""

    mask: SingleMask
    """The geometry."""
    weight: Annotated[float, Field(ge=0)] | Schedule = 1.0
    """Its chance to be drawn at a step, relative to the others'."""
    ratio: Ratio | Schedule | None = None
    """Share of the grid that is the target; the geometry's own by default."""

    @model_validator(mode="after")
    def _usable(self) -> Component:
        if isinstance(self.mask, MaskBlock) and self.mask.kind == "lwm":
            raise ValueError("the geometry lwm belongs to masked_modelling alone; use random")
        if isinstance(self.ratio, Schedule):
            values = [self.ratio.start, self.ratio.start if self.ratio.end is None else self.ratio.end]
            if not all(0 < value < 1 for value in values):
                raise ValueError("a ratio lies between 0 and 1")
        if self.ratio is not None and isinstance(self.mask, RegionMask) and self.mask.scale is not None:
            raise ValueError("give either ratio or the region's scale")
        return self


class AdaptiveBlock(Strict):
    """How a mixture follows the loss of its geometries."""

    strength: float = 1.0
    """A geometry's weight is multiplied by (its loss / mean loss)^strength: positive numbers favour what is still
    hard, negative ones what is learned well."""
    memory: float = Field(0.98, ge=0, lt=1)
    """Decay of the moving average of each geometry's loss, per step at which it was drawn."""
    floor: float = Field(0.2, ge=0, le=1)
    """Share of the draws that follow the scheduled weights alone, so that no geometry dies out."""


class CurriculumMask(Strict):
    """A mixture of geometries whose weights and ratios follow a schedule. One geometry is drawn per step."""

    kind: Literal["curriculum"] = "curriculum"
    mixture: tuple[Component, ...] = Field(min_length=1)
    """The geometries."""
    adaptive: AdaptiveBlock | None = None
    """Follow the loss of each geometry on top of the schedule; off by default."""

    @model_validator(mode="after")
    def _weights(self) -> CurriculumMask:
        weights = [part.weight for part in self.mixture]
        steps = [at for weight in weights if isinstance(weight, Schedule) for at in weight.at]
        for progress in (0.0, *steps, 1.0):
            if not any(scheduled(weight, progress) > 0 for weight in weights):
                raise ValueError(f"mixture: every weight is zero at progress {progress:g}")
        return self


def scheduled(number: float | Schedule, progress: float) -> float:
    """A number, or a schedule's at this progress."""
    return number.value(progress) if isinstance(number, Schedule) else number


def _default_kind(value: Any) -> Any:
    """Recipes that name no kind mean the published masks of their model."""
    return {"kind": "lwm", **value} if isinstance(value, dict) else value


AnyMask = Annotated[
    MaskBlock | RegionMask | FrequencyMask | TimeMask | TemporalMask | AntennaMask | CurriculumMask | ModalityMask,
    Field(discriminator="kind"),
    BeforeValidator(_default_kind),
]
"""Everything that a recipe's `masks` can be."""
