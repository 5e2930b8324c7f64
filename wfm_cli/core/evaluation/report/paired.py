"""Is an encoder better than what needs no pretraining? Paired over test users and label draws, Holm-corrected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.metrics import ClassPredictions, Predictions, ValuePredictions
from wfm_cli.core.evaluation.report.model import Budget, Delta, Row, TaskTable
from wfm_cli.core.evaluation.resampling import resampled_weights
from wfm_cli.core.evaluation.statistics import Difference, difference, holm
from wfm_cli.core.store.run import Run, Unit

RESAMPLES = 1000
"""Resampled test sets; the smallest possible p-value is 2/(RESAMPLES + 1)."""

Draws = tuple[NDArray[np.generic], float, NDArray[np.float64]]
"""Truth, score on the test set, scores of the resampled test sets and seeds."""


def with_differences(run: Run, table: TaskTable, resamples: int = RESAMPLES) -> TaskTable:
    """The table with the difference of every encoder to the best other row of each budget.

    Test users and seeds (draws of the labels) are both resampled, each the same for both rows: with few labels the
    luck of the draw is the larger doubt.
    The p-values of all comparisons of the table are Holm-corrected together. Units whose predictions were not kept,
    or that were scored on other samples, have no difference.
    """
    known: dict[str, Draws | None] = {}

    def draws(key: str) -> Draws | None:
        if key not in known:
            known[key] = _draws(run.unit(key), table.metric.name, resamples)
        return known[key]

    found: list[tuple[str, Budget, str, Difference]] = []
    for budget, encoder, other in _pairs(table):
        ours, theirs = draws(encoder.cells[budget].key), draws(other.cells[budget].key)
        if ours and theirs and np.array_equal(ours[0], theirs[0]):
            found.append((encoder.name, budget, other.label, difference(ours[2], theirs[2], ours[1] - theirs[1])))
    adjusted = holm([entry[3].p for entry in found])
    deltas: dict[str, dict[Budget, Delta]] = {}
    for (name, budget, against, d), p in zip(found, adjusted, strict=True):
        deltas.setdefault(name, {})[budget] = Delta(d.mean, d.lo, d.hi, float(p), against)
    return replace(table, deltas=deltas)


def _pairs(table: TaskTable) -> Iterator[tuple[Budget, Row, Row]]:
    """Every encoder with the best row that needs no pretraining, budget by budget."""
    for budget in table.budgets:
        scored = [row for row in table.rows if budget in row.cells and row.cells[budget].mean is not None]
        others = [row for row in scored if row.role != "encoder"]
        if not others:
            continue
        pick = min if table.metric.direction == "min" else max
        best = pick(others, key=lambda row: row.cells[budget].score)
        yield from ((budget, row, best) for row in scored if row.role == "encoder")


def _draws(unit: Unit, metric: str, resamples: int) -> Draws | None:
    try:
        truth, guesses = unit.array("labels"), unit.array("predictions")
    except (KeyError, OSError, ValueError):
        return None
    predictions = _predictions(truth, guesses)
    observed = predictions.scores()
    if metric not in observed:
        return None
    scores = np.concatenate([predictions.scores(w)[metric] for w in resampled_weights(len(truth), resamples, 0)])
    seeds = np.random.default_rng(1).integers(0, scores.shape[1], scores.shape)
    return truth, float(observed[metric].mean()), np.take_along_axis(scores, seeds, 1).mean(1)


def _predictions(truth: NDArray[np.generic], guesses: NDArray[np.generic]) -> Predictions:
    if truth.dtype.kind == "f":
        return ValuePredictions(truth.astype(np.float64), guesses.astype(np.float64))
    labels, called = truth.astype(np.int64), guesses.astype(np.int64)
    return ClassPredictions(labels, called, None, int(max(labels.max(), called.max())) + 1)
