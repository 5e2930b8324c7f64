"""Recipes of `wfm probe` and `wfm benchmark`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wfm_cli.core.recipe.base import Recipe, Strict


class ProbeBlock(Strict):
    """How a frozen encoder is measured."""

    kind: Literal["logistic", "ridge", "knn"] | None = None
    """Probe; by default the task's own (logistic regression for classes, ridge for values)."""
    labels: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = Field((10, 50, 200, "all"), min_length=1)
    """Label budgets: so many training labels in all, drawn evenly over the classes. Validation labels do not count."""
    seeds: int = Field(5, ge=1)
    """Independent draws of each label budget."""
    seed: int = 0
    """First seed."""
    split: str | None = None
    """Split of the store; its default if left out."""
    knn_k: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
    """Neighbour counts tried on validation."""
    knn_distance: Literal["cosine", "euclid"] = "cosine"
    """How near is measured, on standardised features."""
    l2: tuple[Annotated[float, Field(gt=0)], ...] = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    """Ridge strengths relative to the mean loss, strong to weak; chosen on validation."""
    bootstrap: int = Field(1000, ge=0)
    """Resamples of the test set for the interval over samples."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where encoders compute; probes always run on the CPU."""


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
