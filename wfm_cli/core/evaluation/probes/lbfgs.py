"""L-BFGS on many independent convex problems at once, each with its own step size and stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Parameters (S, p, c) to losses (S,) and gradients (S, p, c)."""


@dataclass(frozen=True)
class Settings:
    """When to stop."""

    gap: float = 3e-5
    """A problem is solved when its predicted distance from the optimum, g H g / 2, is below this (loss units)."""
    iterations: int = 300
    """At most so many evaluations."""
    memory: int = 10
    """Pairs of steps and gradient changes that are remembered."""
    halvings: int = 20
    """A problem whose step was halved so often in a row has reached the rounding of its dtype and is left alone."""


@dataclass(frozen=True)
class Solution:
    """Where the problems ended."""

    x: Tensor
    """Parameters, (S, p, c)."""
    loss: Tensor
    """(S,)."""
    gap: Tensor
    """Predicted distance from the optimum, (S,)."""
    evaluations: int
    """Joint evaluations of the objective."""


@dataclass
class _History:
    """The latest pairs; a problem that did not move contributes rho = 0, which makes its pair a no-op."""

    inverse: Tensor
    memory: int
    pairs: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    gamma: Tensor | None = None

    def add(self, step: Tensor, change: Tensor, moved: Tensor) -> None:
        curvature = _dot(step, change)
        good = moved & (curvature > 0)
        rho = torch.where(good, 1 / curvature.clamp_min(1e-38), torch.zeros_like(curvature))
        self.pairs = [*self.pairs[-self.memory + 1 :], (step, change, rho)]
        gamma = curvature / _dot(change, self.inverse * change).clamp_min(1e-38)
        self.gamma = torch.where(good, gamma, torch.ones_like(gamma) if self.gamma is None else self.gamma)

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient: the two-loop recursion."""
        q, alphas = gradient.clone(), []
        for step, change, rho in reversed(self.pairs):
            alphas.append(rho * _dot(step, q))
            q.sub_(_wide(alphas[-1]) * change)
        q.mul_(self.inverse)
        if self.gamma is not None:
            q.mul_(_wide(self.gamma))
        for (step, change, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            q.add_(_wide(alpha - rho * _dot(change, q)) * step)
        return q.neg_()


def minimise(objective: Objective, x: Tensor, inverse: Tensor, settings: Settings) -> Solution:
    """Minimise S convex problems.

    Args:
        objective: Losses and gradients of all problems.
        x: Where to start, (S, p, c).
        inverse: Positive diagonal that stands for the inverse Hessian at first, shaped like `x`.
        settings: Stopping rules.
    """
    loss, gradient = objective(x)
    history = _History(inverse, settings.memory)
    direction = history.direction(gradient)
    slope = _dot(gradient, direction)
    rate, halved = torch.ones_like(loss), torch.zeros_like(loss)
    done, evaluations = -slope / 2 <= settings.gap, 1
    slack = 8 * torch.finfo(loss.dtype).eps
    while not bool(done.all()) and evaluations < settings.iterations:
        step = _wide(torch.where(done, torch.zeros_like(rate), rate)) * direction
        new_loss, new_gradient = objective(x + step)
        evaluations += 1
        moved = (new_loss <= loss + 1e-4 * rate * slope + slack * loss.abs()) & ~done
        keep = _wide(moved)
        step = torch.where(keep, step, torch.zeros_like(step))
        new_gradient = torch.where(keep, new_gradient, gradient)
        history.add(step, new_gradient - gradient, moved)
        x, gradient, loss = x + step, new_gradient, torch.where(moved, new_loss, loss)
        direction = history.direction(gradient)
        slope = _dot(gradient, direction)
        halved = torch.where(moved, torch.zeros_like(halved), halved + 1)
        done = done | (-slope / 2 <= settings.gap) | (halved >= settings.halvings)
        rate = torch.where(moved, torch.ones_like(rate), rate * 0.5)
    return Solution(x, loss, -slope / 2, evaluations)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2))


def _wide(a: Tensor) -> Tensor:
    return a[:, None, None]
