"""Multinomial logistic regression: all draws at once, a warm-started path over ridge strengths, L-BFGS on CPU speed.

The problem of one draw on standardised features x of n samples is

    minimise  mean_i -w_i log softmax(W^T x_i + b)[y_i]  +  l2 / 2 |W|^2        (the bias is free)

with weights w_i of mean 1: one each, or such that all classes weigh alike (standardisation does not know of weights).
It is solved on the principal axes, where the curvature at the class frequencies is diagonal and makes the first guess
of the inverse Hessian. The draws share every matrix product but keep their own step sizes, histories and stopping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wfm_cli.core.evaluation.probes.base import Best, Linear, Shown
from wfm_cli.core.evaluation.probes.lbfgs import Settings, minimise
from wfm_cli.core.evaluation.probes.principal import Principal

ABSENT = -1e4
"""Bias of a class that a draw does not hold: its probability and its gradient are exactly zero."""
PATIENCE = 2
"""The path of a draw ends when so many strengths in a row validate worse than its best."""


@dataclass
class Logistic:
    """Loss and gradient of all draws on the principal axes; parameters are (S, r + 1, C), the bias last."""

    rows: Tensor
    """(S, n, r + 1), a column of ones last."""
    y: Tensor
    """(S, n) int64."""
    classes: int
    """C."""
    curvature: Tensor
    """Diagonal of the Hessian at the class frequencies without the penalty, (S, r + 1, C)."""
    weights: Tensor | None = None
    """What every sample counts, (S, n, 1) of mean 1; once each if None."""
    strength: float = 0.0
    """l2."""
    _logits: Tensor = field(init=False)
    _chance: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # Two buffers for the life of the problem: fresh ones cost as much in page faults as the arithmetic on them.
        self._logits = self.rows.new_empty(*self.y.shape, self.classes)
        self._chance = torch.empty_like(self._logits)

    @classmethod
    def of(cls, axes: Principal, y: Tensor, classes: int, weights: Tensor | None = None) -> Logistic:
        """The problem of samples `axes` with classes `y` (S, n) that count `weights` (S, n)."""
        rows = torch.cat([axes.rows, axes.rows.new_ones(*axes.rows.shape[:2], 1)], 2)
        power = torch.cat([axes.power, axes.power.new_ones(len(axes.power), 1)], 1)
        share = frequencies(y, classes, weights)
        spread = (share * (1 - share)).clamp_min(1 / y.shape[1] ** 2)
        weighed = None if weights is None else weights.to(rows.dtype)[..., None]
        return cls(rows, y, classes, (power[:, :, None] * spread[:, None]).to(rows.dtype), weighed)

    def start(self) -> Tensor:
        """Zero weights and the biases of the class frequencies: the optimum of an infinite penalty."""
        weight = self.rows.new_zeros(len(self.rows), self.rows.shape[2], self.classes)
        share = frequencies(self.y, self.classes, None if self.weights is None else self.weights[..., 0])
        weight[:, -1] = torch.where(share > 0, share.clamp_min(1e-300).log(), ABSENT).to(weight.dtype)
        return weight

    def __call__(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (S,) and gradient, shaped like `weight`."""
        n, truth = self.y.shape[1], self.y[..., None]
        torch.bmm(self.rows, weight, out=self._logits)
        chance = torch.log_softmax(self._logits, 2, out=self._chance)
        likely = chance.gather(2, truth)
        chance.exp_().scatter_add_(2, truth, chance.new_full((1, 1, 1), -1.0).expand(*truth.shape))
        if self.weights is not None:
            likely.mul_(self.weights)
            chance.mul_(self.weights)
        loss = -likely.mean((1, 2))
        gradient = torch.bmm(self.rows.transpose(1, 2), chance).div_(n)
        shrink = self.strength * weight
        shrink[:, -1] = 0
        return loss + 0.5 * (shrink * weight).sum((1, 2)), gradient.add_(shrink)

    def draws(self, index: Tensor) -> Logistic:
        """The problem of some of the draws."""
        weights = None if self.weights is None else self.weights[index]
        return Logistic(self.rows[index], self.y[index], self.classes, self.curvature[index], weights, self.strength)

    def inverse(self) -> Tensor:
        """First guess of the inverse Hessian, a diagonal shaped like the parameters."""
        hessian = self.curvature + self.strength
        hessian[:, -1] = self.curvature[:, -1]
        return 1 / hessian.clamp_min(1e-12)


def frequencies(y: Tensor, classes: int, weights: Tensor | None = None) -> Tensor:
    """Share of every class in each draw, (S, C) float64, samples counted with `weights` (S, n) of mean 1."""
    member = torch.nn.functional.one_hot(y, classes).double()
    return member.mean(1) if weights is None else (member * weights.double()[..., None]).mean(1)


def fit_logistic(
    shown: Shown, strengths: Sequence[float], axes: Principal | None = None, settings: Settings | None = None
) -> Linear:
    """Fit a path of ridge strengths, each from the solution of the one before, and keep the best of each draw.

    Args:
        shown: Training samples with classes.
        strengths: Values of l2, tried from strong to weak.
        axes: `Principal.of(shown.x)` where it is known already.
        settings: Stopping rules of the solver.
    """
    settings, axes = settings or Settings(), axes or Principal.of(shown.x)
    problem = Logistic.of(axes, shown.y, shown.classes, shown.weights)
    weight, best = problem.start(), Best()
    draws = torch.arange(len(weight))
    worse = torch.zeros(len(weight), dtype=torch.int64)
    for strength in sorted(strengths, reverse=True):
        problem.strength = strength
        weight = minimise(problem, weight, problem.inverse(), settings).x
        fit = axes.unfold(weight[:, :-1], weight[:, -1])
        score = shown.choose(fit)
        best.offer(score, strength, fit.weight, fit.bias, draws=draws)
        worse = torch.where(score < best.at(draws), worse + 1, 0)
        left = worse < PATIENCE
        if not bool(left.any()):
            break
        if not bool(left.all()):
            axes, problem = axes.draws(left), problem.draws(left)
            weight, draws, worse = weight[left], draws[left], worse[left]
    return best.linear
