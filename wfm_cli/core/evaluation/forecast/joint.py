"""Encoder, predictor and heads trained together on the losses of tasks: end to end, or on all tasks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Frames, Index, Windows
from wfm_cli.core.evaluation.forecast.fit import BeamTask, PositionTask, PowerTask
from wfm_cli.core.evaluation.forecast.guide import Guide
from wfm_cli.core.evaluation.forecast.latents import pool
from wfm_cli.core.evaluation.forecast.training import Budget, train
from wfm_cli.core.models.jepa_msac import JEPAMSACEncoder
from wfm_cli.core.recipe.forecast import ForecastBlock

CHUNK = 32


@dataclass(frozen=True)
class Problems:
    """The tasks that are learnt together; positions are always among them, as they guide the others."""

    windows: Windows
    position: PositionTask
    others: Mapping[str, BeamTask | PowerTask]
    guide: Guide | None
    """None: positions guide nothing."""


class Joint(nn.Module):
    """An encoder with a head for every task."""

    def __init__(self, encoder: JEPAMSACEncoder, problems: Problems, tokens: str, without: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self._tokens, self._without = encoder, tokens, tuple(without)
        width = encoder.dim
        self.position = problems.position.head(width)
        self.others = nn.ModuleDict({name: task.head(width) for name, task in problems.others.items()})

    def forward(self, batch: Any, problems: Problems, rows: Index) -> dict[str, Tensor]:
        """Output of every head for the history of windows."""
        latents = pool(self.encoder, self.encoder.forecast(batch, self._without), self._tokens)
        place = problems.position.output(self.position, latents, rows)
        told = torch.zeros_like(place)
        if problems.guide is not None:
            told = problems.guide(place.detach() * problems.position.unit)
        found = {"localisation": place}
        for name, task in problems.others.items():
            found[name] = task.output(self.others[name], latents, rows, told)  # type: ignore[arg-type]
        return found


def fit_joint(
    encoder: JEPAMSACEncoder,
    frames: Frames,
    problems: Problems,
    tokens: str,
    without: Sequence[str],
    block: ForecastBlock,
    seed: int,
    show: bool = False,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Train all of a copy of an encoder; predictions of the test windows by task, and the number of parameters."""
    windows = problems.windows
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Joint(encoder, problems, tokens, without)

    def output(rows: Index) -> dict[str, Tensor]:
        made: dict[str, Tensor] = model(frames.take(windows.seen(windows.index[rows])), problems, rows)
        return made

    def loss(rows: Index) -> Tensor:
        made = output(rows)
        total = problems.position.loss(made["localisation"], rows)
        for name, task in problems.others.items():
            total = total + task.loss(made[name], rows)
        return total

    def judge() -> float:
        """Mean over the tasks of how good validation is, each against its first look."""
        made = _collect(output, windows.val)
        scores = [problems.position.judge(made["localisation"], windows.val)]
        scores += [task.judge(made[name], windows.val) for name, task in problems.others.items()]
        first.extend(scores if not first else [])
        return float(np.mean([now / max(then, 1e-9) for now, then in zip(scores, first, strict=True)]))

    first: list[float] = []
    train(model, loss, judge, windows.train, Budget.joint(block), seed, show)
    made = _collect(output, windows.test)
    found: dict[str, NDArray[Any]] = {"localisation": problems.position.metres(made["localisation"])}
    for name, task in problems.others.items():
        found[name] = task.decibels(made[name]) if isinstance(task, PowerTask) else made[name].numpy()
    return found, sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _collect(output: Any, rows: Index) -> dict[str, Tensor]:
    """Output for many windows, piece by piece."""
    with torch.inference_mode():
        parts = [output(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
