"""Learning rate as a pure function of the step."""

from __future__ import annotations

import math

from wfm_cli.core.recipe.pretrain import TrainBlock


def total_steps(train: TrainBlock, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole training, at least one."""
    if train.steps is not None:
        return train.steps
    return max(1, round((train.epochs or 0.0) * steps_per_epoch))


def learning_rate(train: TrainBlock, step: int, total: int) -> float:
    """Rate of the 0-based `step`: linear from lr/warm-up steps to lr, then half a cosine down to min_lr.

    The last step has exactly `min_lr`; a constant schedule keeps lr after the warm-up.
    """
    warmup = round(train.warmup * total)
    if step < warmup:
        return train.lr * (step + 1) / warmup
    if train.schedule == "constant":
        return train.lr
    progress = (step - warmup + 1) / max(1, total - warmup)
    return train.min_lr + 0.5 * (train.lr - train.min_lr) * (1 + math.cos(math.pi * min(1.0, progress)))


def interval(every: int, total: int) -> int:
    """Steps between two events; 0 in the recipe means ten times in the training."""
    return every or max(1, total // 10)
