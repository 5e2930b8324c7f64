"""One trained probe on all draws of a label budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.evaluation.adaptation.convolution import supervised
from wfm_cli.core.evaluation.adaptation.fit import Choice, Lesson, Take, fit, scores_of, total_steps
from wfm_cli.core.evaluation.adaptation.networks import Network, build, freeze_unused, trainable
from wfm_cli.core.evaluation.adaptation.samples import Row
from wfm_cli.core.evaluation.draws import Budget
from wfm_cli.core.evaluation.features import no_denormals
from wfm_cli.core.evaluation.metrics import Predictions
from wfm_cli.core.evaluation.probes.base import balanced_weights
from wfm_cli.core.evaluation.raw import RawSource
from wfm_cli.core.evaluation.taskdata import TaskData
from wfm_cli.core.recipe.evaluate import ProbeBlock
from wfm_cli.core.recipe.probes import AttentiveProbe, ConvProbe, ProbeChoice, Res1DCNNProbe, ResNetProbe

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Scores that are known already, in the form of a fitted probe whose features are row numbers."""

    values: Tensor
    """(S, m, C)."""
    chosen: list[float]
    """Nothing was chosen here."""

    def scores(self, x: Tensor) -> Tensor:
        """Scores (S, r, C) of the rows `x` (r,) int64."""
        return self.values[:, x]


@dataclass(frozen=True)
class Adapted:
    """What became of a probe."""

    predictions: Predictions
    """On the test samples."""
    rows: Index
    """Training samples of each draw, (S, n)."""
    seeds: list[int]
    """Seeds of the draws."""
    attrs: dict[str, Any]
    """What was trained and what validation chose."""


def adapt(choice: ProbeChoice, data: TaskData, row: Row, budget: Budget, block: ProbeBlock, balanced: bool) -> Adapted:
    """Train a probe on every draw of a budget, choose on validation, score test once.

    Args:
        choice: A probe that is trained by gradient descent.
        data: Labels.
        row: Samples and encoder.
        budget: Labels.
        block: Settings; `adapt` is the budget of the optimiser.
        balanced: Whether all classes weigh alike in the loss.
    """
    count = min(block.seeds, block.adapt.seeds or block.seeds)
    rows, seeds = data.draws(budget, block.seed, count)
    if len(seeds) < count:  # all labels: the draw is the same, starting weights and the order of samples are not
        seeds = [block.seed + i for i in range(count)]
        rows = rows.repeat(count, 0)
    found = [_draw(choice, data, row, draw, seed, block, balanced) for draw, seed in zip(rows, seeds, strict=True)]
    scores = torch.stack([scores for scores, _, _ in found])
    best = [best for _, best, _ in found]
    attrs = {
        "trainable_parameters": found[0][2],
        "optimiser": block.adapt.model_dump(mode="json"),
        "steps": [total_steps(block.adapt, rows.shape[1])] * len(seeds),
        "chosen_step": [b.step for b in best],
        "chosen_lr": [b.lr for b in best],
        "validation": [abs(b.score[0]) for b in best],
    }
    return Adapted(_predictions(data, scores, data.test), rows, seeds, attrs)


def _draw(
    choice: ProbeChoice, data: TaskData, row: Row, rows: Index, seed: int, block: ProbeBlock, balanced: bool
) -> tuple[Tensor, Choice, int]:
    """Scores on test (m, C), what validation chose, and the number of trained parameters, for one draw."""
    take = _inputs(choice, row)
    values = _Values.of(data, rows)
    lesson = values.lesson(data, rows, balanced, row.source.device)
    best, kept = Choice(), None
    for lr in block.adapt.lr:
        with _seeded(block.adapt.seed + seed, row.source.device), no_denormals():
            network = _network(choice, data, row, block.adapt.seed + seed)
            if not network.fixed_input:
                freeze_unused(network, take(rows[: min(2, len(rows))]))
            found = fit(network, take, lesson, data.val, values.look(data), block.adapt, lr)
        if found.score > best.score:
            best, kept = found, network
    if kept is None or best.state is None:
        raise ValueError("a fit without a state was returned")
    kept.load_state_dict(best.state, strict=False)
    with no_denormals():
        return values.restore(scores_of(kept, take, data.test)), best, trainable(kept)


def _inputs(choice: ProbeChoice, row: Row) -> Take:
    """What a probe is fed with: samples, or what the frozen encoder makes of them."""
    if isinstance(choice, AttentiveProbe):
        return row.tokens.take
    if isinstance(choice, Res1DCNNProbe):
        return row.tokens.take if choice.input == "tokens" else row.embeddings.take
    return row.samples.take


def _network(choice: ProbeChoice, data: TaskData, row: Row, seed: int) -> Network:
    source, columns = row.source, data.count or data.labels.shape[1]
    if isinstance(source, RawSource):
        if not isinstance(choice, ConvProbe | ResNetProbe):
            raise ValueError(f"{choice.kind} needs an encoder")
        return supervised(choice, source.channels, columns).to(source.device)
    encoder = source.untrained(seed).to(source.device) if choice.kind == "scratch" else source.encoder
    return build(choice, encoder, source.pooling, columns).to(source.device)


@dataclass(frozen=True)
class _Values:
    """Scale on which values are learnt; classes are left alone."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, data: TaskData, rows: Index) -> _Values:
        """Statistics of the labels of a draw."""
        if data.count:
            return cls(torch.zeros(1), torch.ones(1))
        deviation, mean = torch.std_mean(torch.from_numpy(data.labels[rows]), 0, correction=0)
        return cls(mean.float(), torch.where(deviation > 0, deviation, 1.0).float())

    def lesson(self, data: TaskData, rows: Index, balanced: bool, device: torch.device) -> Lesson:
        """Targets and weights of a draw."""
        labels = torch.from_numpy(data.labels[rows])
        targets = labels if data.count else ((labels - self.mean) / self.deviation).float()
        weights = balanced_weights(labels[None], data.count)[0] if balanced else torch.ones(len(rows))
        return Lesson(rows, targets.to(device), weights.float().to(device))

    def restore(self, scores: Tensor) -> Tensor:
        """Scores, or values in their own unit."""
        return scores * self.deviation + self.mean

    def look(self, data: TaskData) -> Any:
        """How validation likes scores."""
        metric, truth = data.task.metric, torch.from_numpy(data.labels[data.val])
        sign = 1.0 if metric.direction == "max" else -1.0

        def look(scores: Tensor) -> tuple[float, float]:
            value = _predictions(data, self.restore(scores)[None], data.val).scores()[metric.name][0][0]
            loss = torch.nn.functional.cross_entropy(scores, truth) if data.count else torch.zeros(())
            return sign * float(value), -float(loss)

        return look


def _predictions(data: TaskData, scores: Tensor, rows: Index) -> Predictions:
    return data.predict(Scored(scores, []), torch.arange(len(rows)), rows)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A global generator of our own; the caller's is left as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
