"""Second stage of JEPA-MSAC: heads on frozen latents, each starting from an estimate that needs no learning.

Positions are learnt in units of what constant velocity leaves over on the training windows, powers in units of what the
last power leaves over, so that the first step does not undo the coarse estimate.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.heads import BeamHead, PositionHead, PowerHead
from wfm_cli.core.evaluation.forecast.metrics import displacement, rssi, top
from wfm_cli.core.evaluation.forecast.naive import constant_velocity, last_value
from wfm_cli.core.recipe.forecast import ForecastBlock

Values = NDArray[np.float64]
CHUNK = 1024
"""Windows that a trained head predicts at once."""


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
) -> None:
    """Minimise the loss of batches of `rows`; the model ends with the weights that `judge` (less is better) likes best,
    its first ones included."""
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
    for step, batch in enumerate(_batches(rows, budget, seed), 1):
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


class Latents:
    """(W, K, D) latents, every feature around its mean over the training windows and in units of its deviation."""

    def __init__(self, values: NDArray[np.float32], train: Index) -> None:
        mean, deviation = values[train].mean((0, 1)), values[train].std((0, 1))
        self.values = torch.from_numpy((values - mean) / np.where(deviation > 1e-8, deviation, 1.0).astype(np.float32))

    @property
    def dim(self) -> int:
        """D."""
        return int(self.values.shape[-1])


class PositionTask:
    """Positions ahead: what is known, in which unit a head works, and how good it is."""

    def __init__(self, windows: Windows, known: bool) -> None:
        self.windows = windows
        self.true = windows.ahead(windows.position)
        self.coarse = constant_velocity(windows.seen(windows.position), windows.horizon) if known else None
        seen, train = windows.seen(windows.position), windows.train
        self.scale = max(float(np.sqrt(np.square(seen[train]).mean())), 1e-6)
        left = self.true[train] - (0.0 if self.coarse is None else self.coarse[train])
        self.unit = max(float(np.sqrt(np.square(left).mean())), 1e-6)
        self._coarse = None if self.coarse is None else torch.from_numpy(self.coarse / self.unit).float()
        self._true = torch.from_numpy(self.true / self.unit).float()

    def head(self, width: int) -> PositionHead:
        """A new head."""
        return PositionHead(width)

    def output(self, head: PositionHead, latents: Tensor, rows: Index) -> Tensor:
        """Predictions (B, K, 2) in units for latents (B, K, D) of some windows."""
        made: Tensor = head(latents, None if self._coarse is None else self._coarse[torch.from_numpy(rows)])
        return made

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        """Smooth L1; its bend is at one unit."""
        return F.smooth_l1_loss(output, self._true[torch.from_numpy(rows)])

    def metres(self, output: Tensor) -> Values:
        """Predictions in metres."""
        return output.detach().double().numpy() * self.unit

    def judge(self, output: Tensor, rows: Index) -> float:
        """ADE."""
        return float(displacement(self.metres(output), self.true[rows]).mean())


class BeamTask:
    """Best beams ahead."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.true = windows.ahead(windows.beam)
        self._true = torch.from_numpy(self.true)

    def head(self, width: int) -> BeamHead:
        """A new head."""
        return BeamHead(width, self.windows.beams)

    def output(self, head: BeamHead, latents: Tensor, rows: Index, guide: Tensor) -> Tensor:
        """Scores (B, K, beams)."""
        made: Tensor = head(latents, guide)
        return made

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        """Cross-entropy over all steps."""
        return F.cross_entropy(output.flatten(0, 1), self._true[torch.from_numpy(rows)].flatten())

    def judge(self, output: Tensor, rows: Index) -> float:
        """Share of wrong beams."""
        return 1 - float(top(output.detach().numpy(), self.true[rows], 1).mean())


class PowerTask:
    """Power vectors ahead, in dB."""

    def __init__(self, windows: Windows, known: bool) -> None:
        self.windows = windows
        self.true = windows.ahead(windows.power_db).astype(np.float64)
        last = last_value(windows.seen(windows.power_db), windows.horizon).astype(np.float64) if known else None
        train = windows.train
        self.shift = 0.0 if known else float(self.true[train].mean())
        left = self.true[train] - (self.shift if last is None else last[train])
        self.unit = max(float(np.sqrt(np.square(left).mean())), 1e-6)
        self._last = None if last is None else torch.from_numpy(last / self.unit).float()
        self._true = torch.from_numpy((self.true - self.shift) / self.unit).float()

    def head(self, width: int) -> PowerHead:
        """A new head."""
        return PowerHead(width, self.windows.beams)

    def output(self, head: PowerHead, latents: Tensor, rows: Index, guide: Tensor) -> Tensor:
        """Powers (B, K, beams) in units around the shift."""
        made: Tensor = head(latents, guide, None if self._last is None else self._last[torch.from_numpy(rows)])
        return made

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        """Smooth L1 over all beams and steps."""
        return F.smooth_l1_loss(output, self._true[torch.from_numpy(rows)])

    def decibels(self, output: Tensor) -> Values:
        """Predictions in dB."""
        return output.detach().double().numpy() * self.unit + self.shift

    def judge(self, output: Tensor, rows: Index) -> float:
        """RMSE of the mean over the beams."""
        wrong = rssi(self.decibels(output)) - rssi(self.true[rows])
        return float(np.sqrt(np.square(wrong).mean()))


def fit_position(latents: Latents, task: PositionTask, block: ForecastBlock, seed: int) -> Values:
    """Train a head; predictions in metres for all windows, (W, K, 2)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = task.head(latents.dim)

    def output(rows: Index) -> Tensor:
        return task.output(head, latents.values[torch.from_numpy(rows)], rows)

    _train_head(head, output, task, block, seed)
    return np.concatenate([task.metres(part) for part in _all(output, task.windows)])


def fit_guided(
    latents: Latents, task: BeamTask | PowerTask, guide: Tensor, block: ForecastBlock, seed: int
) -> NDArray[np.floating]:
    """Train a head of beams or powers that sees `guide` (W, K, 2); for all windows scores or dB, (W, K, beams)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = task.head(latents.dim)

    def output(rows: Index) -> Tensor:
        index = torch.from_numpy(rows)
        if isinstance(task, BeamTask):
            return task.output(head, latents.values[index], rows, guide[index])  # type: ignore[arg-type]
        return task.output(head, latents.values[index], rows, guide[index])  # type: ignore[arg-type]

    _train_head(head, output, task, block, seed)
    parts = _all(output, task.windows)
    if isinstance(task, BeamTask):
        return np.concatenate([part.numpy() for part in parts])
    return np.concatenate([task.decibels(part) for part in parts])


def guide_of(position: Values | None, windows: Windows, scale: float) -> Tensor:
    """Predicted positions as heads see them, (W, K, 2); zeros where none guides."""
    if position is None:
        return torch.zeros(len(windows.index), windows.horizon, 2)
    return torch.from_numpy(position / scale).float()


def _train_head(
    head: nn.Module,
    output: Callable[[Index], Tensor],
    task: PositionTask | BeamTask | PowerTask,
    block: ForecastBlock,
    seed: int,
) -> None:
    windows = task.windows

    def judge() -> float:
        with torch.inference_mode():
            return task.judge(output(windows.val), windows.val)

    budget = Budget.of(block, len(windows.train))
    train(head, lambda rows: task.loss(output(rows), rows), judge, windows.train, budget, seed)


def _all(output: Callable[[Index], Tensor], windows: Windows) -> list[Tensor]:
    """Output for all windows, piece by piece."""
    rows = np.arange(len(windows.index))
    with torch.inference_mode():
        return [output(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
