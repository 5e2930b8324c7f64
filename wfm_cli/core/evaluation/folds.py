"""What the folds of a cross-validation say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.adaptation.adapt import Adapted
from wfm_cli.core.evaluation.metrics import ClassPredictions, Predictions, ValuePredictions
from wfm_cli.core.evaluation.taskdata import TaskData


def together(parts: Sequence[Predictions]) -> Predictions:
    """Predictions on the test samples of all folds; a fold with one draw stands beside each draw of the others."""
    first, draws = parts[0], max(len(part.guesses) for part in parts)
    if len(parts) == 1:
        return first
    labels = np.concatenate([part.labels for part in parts])
    guesses = np.concatenate([_repeated(part.guesses, draws) for part in parts], 1)
    if isinstance(first, ValuePredictions):
        return ValuePredictions(labels, guesses)
    tops = [_repeated(p.top3, draws) for p in parts if isinstance(p, ClassPredictions) and p.top3 is not None]
    return ClassPredictions(labels, guesses, np.concatenate(tops, 1) if tops else None, first.classes)


def _repeated(values: NDArray[Any], draws: int) -> NDArray[Any]:
    return values if len(values) == draws else values.repeat(draws // len(values), 0)


def classes_seen(data: TaskData, found: Sequence[Adapted], draws: int) -> list[int]:
    """Classes among the labels of every draw; the fewest of any fold."""
    if not data.count:
        return []
    seen = [np.array([len(np.unique(data.labels[draw])) for draw in one.rows]) for one in found]
    return [int(count) for count in np.min([_repeated(counts, draws) for counts in seen], 0)]


def joined_attrs(attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Attributes of all folds: lists one after the other, what is the same for all once."""
    joined = dict(attrs[0])
    for more in attrs[1:]:
        joined |= {key: joined[key] + value for key, value in more.items() if isinstance(value, list)}
    return joined
