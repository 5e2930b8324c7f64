"""Recipes of `wfm probe` and `wfm benchmark`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wfm_cli.core.recipe.base import Recipe, Strict
from wfm_cli.core.recipe.forecast import ForecastBlock, ForecastRow
from wfm_cli.core.recipe.probes import ProbeChoice, ProbeKind, named

PerClass = Annotated[str, Field(pattern=r"^[1-9][0-9]* per class$")]
"""So many labels of every class, as few-shot papers count: `5 per class`."""
Budget = Annotated[int, Field(ge=1)] | Literal["all"] | PerClass


class AdaptBlock(Strict):
    """The one budget of every probe that is trained by gradient descent: AdamW, warm-up, half a cosine down to zero.

    Validation looks `looks` times, evenly spaced, and keeps the weights that it likes best; test is scored once.
    """

    epochs: float = Field(30, gt=0)
    """Passes over the labels of a draw."""
    min_steps: int = Field(100, ge=1)
    """Optimiser steps at least: with few labels an epoch is one step."""
    batch_size: int = Field(64, ge=1)
    """Samples per step."""
    lr: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-3,), min_length=1)
    """Peak learning rates; more than one are all tried, and validation chooses."""
    weight_decay: float = Field(0.05, ge=0)
    """On matrices alone."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of a gradient."""
    looks: int = Field(10, ge=1)
    """Looks at validation."""
    seed: int = 0
    """Added to the seed of the draw: starting weights, order of samples, dropout."""
    seeds: int | None = Field(None, ge=1)
    """Draws of each budget; those of the strict probes, or the first of them."""
    labels: tuple[Budget, ...] | None = None
    """Label budgets; those of the strict probes if left out."""


class ProbeBlock(Strict):
    """How encoders are measured."""

    kind: ProbeKind | None = None
    """Probe; by default the task's own (logistic regression for classes, ridge for values)."""
    probes: tuple[ProbeChoice, ...] = ()
    """Several probes side by side, in place of `kind`: names, or mappings with settings such as `{kind: lora, rank: 8,
    alpha: 16}`. Rows beside the encoders (baselines, untrained encoders) take those that need no change of weights."""
    class_weight: Literal["balanced", "none"] | None = None
    """Weight of the samples in the loss of logistic and trained probes: all classes weigh alike, or all samples; by
    default `balanced` for two classes, `none` for more, whose rarest would outweigh everything else."""
    adapt: AdaptBlock = AdaptBlock()
    """Budget of all probes that are trained by gradient descent."""
    forecast: ForecastBlock = ForecastBlock()
    """Training of heads and baselines of predictive tasks, whose budget is always `all`."""
    labels: tuple[Budget, ...] = Field((10, 50, 200, "all"), min_length=1)
    """Label budgets: so many training labels in all, drawn evenly over the classes, so many of every class
    (`5 per class`), or `all`. Validation labels do not count."""
    seeds: int = Field(5, ge=1)
    """Independent draws of each label budget."""
    seed: int = 0
    """First seed."""
    split: str | None = None
    """Split of the store; its default if left out. `folds` is cross-validation over all splits `fold_0`, `fold_1` ...:
    one probe for each, and one score over all that they test."""
    knn_k: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
    """Neighbour counts tried on validation."""
    knn_distance: Literal["cosine", "euclid"] = "cosine"
    """How near is measured, on standardised features."""
    l2: tuple[Annotated[float, Field(gt=0)], ...] = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    """Ridge strengths relative to the mean loss, strong to weak; chosen on validation."""
    bootstrap: int = Field(1000, ge=0)
    """Resamples of the test set for the interval over samples."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoders compute and are adapted; strict probes always run on the CPU."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.kind and self.probes:
            raise ValueError("kind and probes exclude each other: list every probe in probes")
        return self

    @property
    def choices(self) -> tuple[ProbeChoice, ...]:
        """Every probe asked for, each once."""
        return tuple(dict.fromkeys(self.probes or (named(self.kind or "linear"),)))


class ProbeRecipe(Recipe):
    """One encoder, one store, one or more tasks."""

    step: Literal["probe"] = "probe"
    encoder: str
    """A run, `random:RECIPE` or `baseline:NAME`; `@POOLING` may follow (`RUN.zarr@mean`)."""
    data: str
    """Store."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks, or task files."""
    baselines: bool = True
    """Add the rows that each task asks for (raw input, random init, classical features, naive predictor)."""
    probe: ProbeBlock = ProbeBlock()
    """Probe."""


class EncoderRow(Strict):
    """One line of a benchmark table."""

    encoder: str
    """A run, `random:RECIPE` or `baseline:NAME`; `@POOLING` may follow."""
    label: str = ""
    """Name in the table; the encoder's own by default."""
    probes: tuple[ProbeChoice, ...] | None = None
    """Probes of this row; those of the suite by default."""
    forecast: ForecastRow = ForecastRow()
    """Options of this row in predictive tasks."""


class BenchmarkRecipe(Recipe):
    """A suite: encoders x tasks x label budgets on one store."""

    step: Literal["benchmark"] = "benchmark"
    data: str
    """Store."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks, or task files."""
    encoders: tuple[EncoderRow, ...] = Field(min_length=1)
    """The rows under test. The baselines of every task are added by themselves."""
    baselines: bool = True
    """Add the rows that each task asks for (raw input, random init, classical features, naive predictor)."""
    probe: ProbeBlock = ProbeBlock()
    """Probe shared by all rows."""
