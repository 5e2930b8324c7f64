"""What every probe has in common: what it is shown, and what it leaves behind.

Shapes: S draws of the labels (seeds), n training samples of a draw, m samples to score, d features, C classes or
coordinates. A probe never sees the test set, and validation only through `Choose`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Fitted(Protocol):
    """A fitted probe, all draws at once."""

    @property
    def chosen(self) -> list[float]:
        """What validation chose for each draw: ridge strength or number of neighbours; empty when nothing is chosen."""
        ...

    def scores(self, x: Tensor) -> Tensor:
        """Class scores or estimated values, (S, m, C), of features (m, d)."""
        ...


Choose = Callable[[Fitted], Tensor]
"""How good a fitted probe is on validation: (S,) float64, more is better."""


@dataclass(frozen=True)
class Shown:
    """What one label budget shows a probe."""

    x: Tensor
    """Training features, (S, n, d) float32 or float64."""
    y: Tensor
    """Classes (S, n) int64, or values (S, n, C) float64."""
    classes: int
    """Number of classes; 0 when `y` holds values."""
    choose: Choose
    """Validation."""
    weights: Tensor | None = None
    """What every training sample counts in the loss of the logistic probe, (S, n) of mean 1; once each if None."""

    @property
    def targets(self) -> Tensor:
        """Values (S, n, C) to regress on: `y` itself, or its classes one-hot."""
        if self.classes == 0:
            return self.y.double()
        return torch.nn.functional.one_hot(self.y, self.classes).double()


def balanced_weights(y: Tensor, classes: int) -> Tensor:
    """Weights (S, n) float64 with which the classes of each draw weigh alike: n / (classes present * class size).

    Args:
        y: Classes of the samples of each draw, (S, n) int64.
        classes: Number of classes; those that a draw lacks have no share.
    """
    count = torch.nn.functional.one_hot(y, classes).double().sum(1)
    share = y.shape[1] / ((count > 0).sum(1, keepdim=True) * count.clamp_min(1))
    return share.gather(1, y)


@dataclass(frozen=True)
class Linear:
    """Scores that are linear in the features."""

    weight: Tensor
    """(S, d, C)."""
    bias: Tensor
    """(S, C)."""
    chosen: list[float]
    """Ridge strength of each draw."""

    def scores(self, x: Tensor) -> Tensor:
        """Scores (S, m, C) of features (m, d); one matrix product for all draws."""
        draws, width, columns = self.weight.shape
        flat = self.weight.permute(1, 0, 2).reshape(width, draws * columns)
        return (x @ flat).view(len(x), draws, columns).transpose(0, 1) + self.bias[:, None]


@dataclass
class Best:
    """Keeps, draw by draw, the candidate that validation liked most; the first of equals stays."""

    score: Tensor | None = None
    """Best score of each draw, (S,)."""
    parts: tuple[Tensor, ...] = ()
    """Parts of the candidate that had it."""
    value: Tensor | None = None
    """Its setting, (S,)."""

    def offer(self, score: Tensor, value: float, *parts: Tensor, draws: Tensor | None = None) -> None:
        """Take a candidate where it beats all before.

        Args:
            score: What validation says, (S,), more is better.
            value: The setting that was tried.
            parts: What was fitted, each (S, ...).
            draws: Numbers of the draws that were tried, (S,); all by default. The first candidate has all.
        """
        if self.score is None or self.value is None:
            self.score, self.value = score.clone(), torch.full_like(score, value)
            self.parts = tuple(part.clone() for part in parts)
            return
        draws = torch.arange(len(self.score)) if draws is None else draws
        won = score > self.score[draws]
        winners = draws[won]
        self.score[winners], self.value[winners] = score[won], value
        for kept, part in zip(self.parts, parts, strict=True):
            kept[winners] = part[won]

    def at(self, draws: Tensor) -> Tensor:
        """Best score of some draws."""
        if self.score is None:
            raise ValueError("nothing was offered")
        return self.score[draws]

    @property
    def chosen(self) -> list[float]:
        """The setting kept for each draw."""
        return [] if self.value is None else [float(v) for v in self.value]

    @property
    def linear(self) -> Linear:
        """The kept weight and bias."""
        weight, bias = self.parts
        return Linear(weight, bias, self.chosen)
