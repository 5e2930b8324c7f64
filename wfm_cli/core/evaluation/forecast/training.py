"""Training of what is learnt on windows: AdamW, warm-up, cosine, and looks at validation that keep the best weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index
from wfm_cli.core.progress import progress
from wfm_cli.core.recipe.forecast import ForecastBlock


@dataclass(frozen=True)
class Budget:
    """How long and how fast something is trained."""

    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    warmup: float
    clip: float
    looks: int

    @classmethod
    def of(cls, block: ForecastBlock, samples: int, lr: float | None = None) -> Budget:
        """The budget of heads and baselines."""
        steps = max(block.min_steps, math.ceil(block.epochs * samples / block.batch_size))
        rate = block.lr if lr is None else lr
        return cls(steps, block.batch_size, rate, block.weight_decay, block.warmup, block.clip, block.looks)

    @classmethod
    def joint(cls, block: ForecastBlock) -> Budget:
        """The budget of encoder and heads together."""
        return cls(
            block.joint_steps, block.joint_batch, block.joint_lr, block.weight_decay, block.warmup, block.clip,
            block.looks,
        )  # fmt: skip


def train(
    model: nn.Module,
    loss: Callable[[Index], Tensor],
    judge: Callable[[], float],
    rows: Index,
    budget: Budget,
    seed: int,
    show: bool = False,
) -> None:
    """Minimise the loss of batches of `rows`; the model ends with the weights that `judge` (less is better) likes best,
    its first ones included. `show` reports the steps on stderr."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": budget.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=budget.lr)
    rise = max(1, round(budget.warmup * budget.steps))
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / rise, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / budget.steps))),
    )
    looks = {round(budget.steps * (k + 1) / budget.looks) for k in range(budget.looks)}
    best, kept = judge(), copy.deepcopy(model.state_dict())
    batches = progress(_batches(rows, budget, seed), total=budget.steps, unit="step", label="training", enabled=show)
    for step, batch in enumerate(batches, 1):
        model.train()
        optimiser.zero_grad(set_to_none=True)
        loss(batch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        optimiser.step()
        rates.step()
        if step in looks:
            model.eval()
            if (score := judge()) < best:
                best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    model.eval()


def _batches(rows: Index, budget: Budget, seed: int) -> Iterator[Index]:
    """One batch for every step; every pass in a new order."""
    rng, size = np.random.default_rng(seed), min(budget.batch_size, len(rows))
    left: Index = np.zeros(0, np.int64)
    for _ in range(budget.steps):
        if len(left) < size:
            left = rng.permutation(rows)
        batch, left = left[:size], left[size:]
        yield batch
