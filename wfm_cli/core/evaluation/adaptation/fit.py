"""One optimiser loop for all trained probes: AdamW, warm-up and cosine, early choice on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.evaluation.adaptation.networks import Network
from wfm_cli.core.evaluation.adaptation.samples import BATCH
from wfm_cli.core.recipe.evaluate import AdaptBlock
from wfm_cli.core.recipe.pretrain import TrainBlock
from wfm_cli.core.training.optimiser import build_optimiser
from wfm_cli.core.training.schedule import learning_rate
from wfm_cli.errors import WfmError

Index = NDArray[np.int64]
Take = Callable[[Index], Tensor]
"""Inputs of a network (B, ...) by the numbers of samples (B,)."""
_ELEMENTS = 1 << 25
"""At most so many numbers, 128 MiB, are held to settle the head's input."""
SETTLED = 1024
"""At most so many training samples fix the statistics of the head's input at a look."""


@dataclass(frozen=True)
class Lesson:
    """What a draw of labels teaches."""

    rows: Index
    """Training samples, (n,)."""
    targets: Tensor
    """Classes (n,) int64, or standardised values (n, k) float32; on the device."""
    weights: Tensor
    """What each sample counts in the loss, (n,) float32 of mean 1."""

    def loss(self, scores: Tensor, at: Tensor) -> Tensor:
        """Mean weighted loss of the samples `at` (B,): cross-entropy, or the squared error of standardised values."""
        targets, weights = self.targets[at], self.weights[at]
        if targets.is_floating_point():
            return (F.mse_loss(scores, targets, reduction="none").mean(1) * weights).mean()
        return (F.cross_entropy(scores, targets, reduction="none") * weights).mean()


@dataclass
class Choice:
    """The state that validation liked best; more is better."""

    score: tuple[float, float] = (-np.inf, -np.inf)
    """Primary metric, sign such that more is better, and minus the validation loss, which decides between equals."""
    step: int = 0
    """Optimiser steps done when it was seen."""
    lr: float = 0.0
    """Peak learning rate that led there."""
    state: Mapping[str, Tensor] | None = None
    """Trained parameters and statistics."""


Look = Callable[[Tensor], tuple[float, float]]
"""From scores on validation (m, C) to `Choice.score`."""


def total_steps(block: AdaptBlock, samples: int) -> int:
    """Optimiser steps of a draw of `samples` labels."""
    return max(block.min_steps, round(block.epochs * samples / min(block.batch_size, samples)))


def fit(
    network: Network, take: Take, lesson: Lesson, validation: Index, look: Look, block: AdaptBlock, lr: float
) -> Choice:
    """Train in place; the returned state is the one to score.

    Order of samples and dropout come from torch's global generator.

    Raises:
        WfmError: Scores were finite at no look.
    """
    total = total_steps(block, len(lesson.rows))
    # min_lr is the rate behind the last step, and zero ends the cosine.
    train = TrainBlock(steps=total, lr=lr, min_lr=0.0, warmup=block.warmup, weight_decay=block.weight_decay)
    optimiser = build_optimiser(network, train)
    weights = [p for p in network.parameters() if p.requires_grad]
    looks = {round(total * (i + 1) / block.looks) for i in range(block.looks)} - {0}
    order, best = _Order(len(lesson.rows), min(block.batch_size, len(lesson.rows))), Choice()
    settle(network, take, lesson.rows)
    for step in range(total):
        at = order.take()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(train, step, total)
        network.train()
        inputs = take(lesson.rows[at.numpy()])
        loss = lesson.loss(network(inputs), at.to(lesson.targets.device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, block.clip)
        optimiser.step()
        if step + 1 in looks:
            if not network.fixed_input:
                settle(network, take, lesson.rows)
            score = look(scores_of(network, take, validation))
            if np.isfinite(score).all() and score > best.score:
                best = Choice(score, step + 1, lr, snapshot(network))
    if best.state is None:
        raise WfmError(f"training at rate {lr:g} gave no finite scores", "set probe.adapt.lr lower")
    return best


class _Order:
    """Batches that go through one permutation of the samples after the other; a batch may span two."""

    def __init__(self, samples: int, size: int) -> None:
        self._samples, self._size, self._left = samples, size, torch.empty(0, dtype=torch.int64)

    def take(self) -> Tensor:
        """Positions of the next batch, (B,)."""
        if len(self._left) < self._size:
            self._left = torch.cat([self._left, torch.randperm(self._samples)])
        batch, self._left = self._left[: self._size], self._left[self._size :]
        return batch


@torch.no_grad()
def settle(network: Network, take: Take, rows: Index) -> None:
    """Fix the statistics of the head's input from training samples, in evaluation mode."""
    network.eval()
    most = max(BATCH, _ELEMENTS // network.features(take(rows[:1])).numel())
    rows = rows[np.linspace(0, len(rows) - 1, min(SETTLED, most, len(rows))).astype(np.int64)]
    parts = [network.features(take(rows[start : start + BATCH])) for start in range(0, len(rows), BATCH)]
    network.standardise.settle(torch.cat(parts))


@torch.no_grad()
def scores_of(network: Network, take: Take, rows: Index) -> Tensor:
    """Scores (m, C) float32 on the CPU, in evaluation mode."""
    network.eval()
    return torch.cat([network(take(rows[start : start + BATCH])).cpu() for start in range(0, len(rows), BATCH)])


def snapshot(network: Network) -> dict[str, Tensor]:
    """Copies of the trained parameters and of all statistics: of the head's input, and of batch norms."""
    kept = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    return kept | {name: b.clone() for name, b in network.named_buffers()}
