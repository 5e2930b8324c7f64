"""Second stage of JEPA-MSAC: heads on frozen latents, each starting from an estimate that needs no learning.

Positions are learnt in units of what constant velocity leaves over on the training windows, powers in units of what the
last power leaves over, so that the first step does not undo the coarse estimate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.heads import BeamHead, PositionHead, PowerHead
from wfm_cli.core.evaluation.forecast.metrics import displacement, rssi, top
from wfm_cli.core.evaluation.forecast.naive import last_value, straight_on
from wfm_cli.core.evaluation.forecast.training import Budget, train
from wfm_cli.core.recipe.forecast import ForecastBlock, Motion

Values = NDArray[np.float64]
CHUNK = 1024
"""Windows that a trained head predicts at once."""


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
    """Positions ahead: what is known, in which unit a head works, and how good it is.

    A known history is continued at constant velocity, per frame or per second as `motion` says.
    """

    def __init__(self, windows: Windows, known: bool, motion: Motion = "frame") -> None:
        self.windows = windows
        self.true = windows.ahead(windows.position)
        self.coarse = straight_on(windows, motion) if known else None
        train = windows.train
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
        return task.output(head, latents.values[index], rows, guide[index])  # type: ignore[arg-type]

    _train_head(head, output, task, block, seed)
    parts = _all(output, task.windows)
    if isinstance(task, BeamTask):
        return np.concatenate([part.numpy() for part in parts])
    return np.concatenate([task.decibels(part) for part in parts])


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
