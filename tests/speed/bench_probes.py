"""Linear probes: 60 fits (2, 16 and 64 classes x four label fractions x five draws) on 20,000 x 64 features.

Beside them, where it is installed, scikit-learn's LogisticRegression on the same standardised features, draws and
strength; and the whole path of eight strengths, of which validation chooses one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from measure import Row, compare

from wfm_cli.core.evaluation.metrics import ClassPredictions
from wfm_cli.core.evaluation.probes.base import Fitted, Shown
from wfm_cli.core.evaluation.probes.logistic import fit_logistic
from wfm_cli.core.evaluation.probes.ridge import fit_ridge
from wfm_cli.core.evaluation.resampling import bootstrap
from wfm_cli.core.recipe.evaluate import ProbeBlock

TRAIN, VAL, TEST, WIDTH = 20_000, 4_000, 8_000, 64
FRACTIONS, DRAWS, STRENGTH = (0.01, 0.05, 0.25, 1.0), 5, 1e-3
PEER = "60 scikit-learn probes, one strength"


@dataclass(frozen=True)
class Task:
    """Features of all samples and the classes of one task."""

    x: torch.Tensor
    y: torch.Tensor
    classes: int

    def shown(self) -> Iterator[Shown]:
        """What a probe sees at every label fraction."""
        x, y = self.x[TRAIN : TRAIN + VAL], self.y[TRAIN : TRAIN + VAL]

        def choose(fit: Fitted) -> torch.Tensor:
            return (fit.scores(x).argmax(-1) == y).double().mean(1)

        for fraction in FRACTIONS:
            rows = torch.from_numpy(
                np.stack([np.random.default_rng(s).permutation(TRAIN)[: int(fraction * TRAIN)] for s in range(DRAWS)])
            )
            yield Shown(self.x[rows], self.y[rows], self.classes, choose)

    def accuracy(self, fit: Fitted) -> float:
        """Mean test accuracy over the draws, percent."""
        right = fit.scores(self.x[TRAIN + VAL :]).argmax(-1) == self.y[TRAIN + VAL :]
        return 100 * float(right.double().mean())


def tasks() -> list[Task]:
    """Noisy linear classes seen through 64 saturating features of very different scales."""
    torch.manual_seed(0)
    n = TRAIN + VAL + TEST
    z = torch.randn(n, 16)
    x = torch.tanh(z @ (torch.randn(16, WIDTH) / 4)) + 0.15 * torch.randn(n, WIDTH)
    x *= torch.exp(torch.empty(WIDTH).uniform_(float(np.log(3e-2)), float(np.log(10))))
    noise = 1.2
    return [Task(x, (z @ torch.randn(16, c) + noise * torch.randn(n, c)).argmax(1), c) for c in (2, 16, 64)]


def ours(made: Sequence[Task], strengths: Sequence[float]) -> list[float]:
    """Test accuracies at all labels."""
    return [[task.accuracy(fit_logistic(shown, strengths)) for shown in task.shown()][-1] for task in made]


def sklearn(made: Sequence[Task], model: Any) -> list[float]:
    """The same 60 fits, one by one, as people run them."""
    accuracies = []
    for task in made:
        for shown in task.shown():
            right = []
            for x, y in zip(shown.x.numpy(), shown.y.numpy(), strict=True):
                mean, scale = x.mean(0), x.std(0)
                fit = model(C=1 / (STRENGTH * len(x)), tol=1e-4, max_iter=2000).fit((x - mean) / scale, y)
                guess = fit.predict((task.x[TRAIN + VAL :].numpy() - mean) / scale)
                right.append(100 * float((guess == task.y[TRAIN + VAL :].numpy()).mean()))
        accuracies.append(float(np.mean(right)))
    return accuracies


def main() -> list[Row]:
    """One row per figure; there is no goal."""
    torch.set_num_threads(1)
    made, strengths = tasks(), ProbeBlock().l2
    accuracies: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 64, 3000)
    predictions = ClassPredictions(labels, rng.integers(0, 64, (5, 3000)), None, 64)

    def logistic(name: str, values: Sequence[float]) -> Callable[[], None]:
        return lambda: accuracies.update({name: ours(made, values)})

    candidates: dict[str, Callable[[], object]] = {
        "60 logistic probes, one strength": logistic("one", [STRENGTH]),
        f"60 logistic probes, {len(strengths)} strengths": logistic("path", strengths),
        f"60 ridge probes, {len(strengths)} strengths": lambda: [
            fit_ridge(shown, strengths) for task in made for shown in task.shown()
        ],
        "1,000 resamples of all metrics, 3,000 x 5 seeds, 64 classes": lambda: bootstrap(predictions, 1000),
    }
    with suppress(ImportError):
        from sklearn.linear_model import LogisticRegression

        candidates[PEER] = lambda: accuracies.update(peer=sklearn(made, LogisticRegression))
    seconds = compare(candidates, repeats=3, warmup=0)
    notes = dict(
        zip(candidates, (_note(accuracies.get(name)) for name in ("one", "path", "", "", "peer")), strict=False)
    )
    rows = [Row(name, value, "s", note=notes[name]) for name, value in seconds.items()]
    if PEER in seconds:
        rows.append(Row("one strength: scikit-learn / wfm", seconds[PEER] / rows[0].value, "x"))
    return rows


def _note(accuracies: Sequence[float] | None) -> str:
    if accuracies is None:
        return ""
    return f"accuracy {' / '.join(f'{a:.1f}' for a in accuracies)} % with all labels (2 / 16 / 64 classes)"
