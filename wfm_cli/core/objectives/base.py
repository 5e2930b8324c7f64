"""What the training engine sees of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.models.base import Encoder


@dataclass(frozen=True)
class StepKey:
    """Where in the training a batch is seen; with the sample id it determines everything random about it."""

    seed: int
    """Seed of the run."""
    step: int
    """Global optimiser step, the same on all ranks and for all micro-batches of a step."""
    epoch: int
    """Pass over the data."""
    progress: float = 0.0
    """Share of the training that is done, 0 to 1, for schedules of masks; 1 at validation."""


@dataclass
class LossParts:
    """A loss as a sum and its denominator, so that ranks and micro-batches add up to one large batch."""

    total: Tensor
    """Scalar sum, differentiable."""
    count: Tensor
    """Scalar denominator, without gradient."""
    logs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Further figures as (sum, count), without gradient."""


class Objective(nn.Module, ABC):
    """An encoder with everything that its training needs.

    Attributes:
        encoder: the encoder under training.
        references: names in the result of `evaluate` that come from training-free methods on the same task.
        loss_ranks: whether a lower validation loss means better weights. Where targets move with the training it does
            not, and a run keeps its newest weights.
        label: label array of the store that the objective needs, or None.
        looks: training samples that `look` wants to see, 0 for none.
    """

    references: tuple[str, ...] = ()
    loss_ranks: bool = True
    label: str | None = None
    looks: int = 0

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        """Loss of (B, *sample_shape) float32 samples with (B,) int64 store ids."""

    @abstractmethod
    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """Figures per sample on validation data: name -> (B,) float32. Never builds a graph.

        Give the same key at every validation, so that the same tokens are hidden and figures can be compared. Values
        whose name begins with `share_` count by their mean over all samples (`telemetry`), the others by quantiles.
        """

    def take_labels(self, labels: Tensor, classes: tuple[str, ...]) -> None:
        """Called once, before the training, where `label` names an array.

        Args:
            labels: (samples,) int64, labels of all samples of the store, so that ids find them.
            classes: names of the classes.
        """

    def look(self, batches: Iterable[Any]) -> None:
        """Called once, before the first step of a training, where `looks` is not 0; every rank is shown the same.

        What is learnt from them belongs into buffers: a resumed training finds it in its checkpoint.

        Args:
            batches: batches as `forward` takes them, of `looks` training samples in all, evenly spread, or of as many
                as there are. On the CPU.
        """

    def telemetry(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Figures of one validation from the values of `evaluate` over all samples of all ranks.

        Returns:
            By default the mean of every value whose name begins with `share_`, without that beginning; NaN stands for
            samples that the value says nothing about.
        """
        shares = {name.removeprefix("share_"): v[~np.isnan(v)] for name, v in values.items() if name[:6] == "share_"}
        return {name: float(np.mean(known)) for name, known in shares.items() if len(known)}

    def embed(self, batch: Tensor) -> Tensor:
        """Pooled embeddings (B, D) by the encoder that the run keeps; what the monitors look at."""
        return self.encoder.embed(batch)

    def monitors(self) -> dict[str, float]:
        """Further figures about the weights, looked at with every validation."""
        return {}

    def after_step(self, step: int, total_steps: int) -> None:
        """Called after every optimiser step; moving averages go here."""

    def weights(self) -> dict[str, Tensor]:
        """What a finished run keeps: the encoder under `encoder.`, other parts under names of their own."""
        return {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
