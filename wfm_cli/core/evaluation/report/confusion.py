"""Confusion matrices of classification units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.model import Row, TaskTable
from wfm_cli.core.evaluation.report.style import COLUMN, look, new_figure
from wfm_cli.core.store.run import Run, Unit

_LABELLED = 12  # with more classes, the numbers in the cells are unreadable


def confusion_matrix(truth: NDArray[np.int64], guesses: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Share of each true class (row) that is called each class (column), over all seeds.

    Args:
        truth: True classes, (n,).
        guesses: Predicted classes, (seeds, n) or (n,).
        classes: Number of classes C.

    Returns:
        (C, C) float64; rows sum to 1, rows of classes that do not occur are NaN.
    """
    guesses = np.atleast_2d(guesses)
    cells = np.broadcast_to(truth, guesses.shape).astype(np.int64) * classes + guesses
    counts = np.bincount(cells.ravel(), minlength=classes * classes).reshape(classes, classes)
    totals = counts.sum(1, keepdims=True)
    shares = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def unit_confusion(unit: Unit) -> NDArray[np.float64] | None:
    """Confusion matrix of a unit; None when it is no classification or its predictions were not kept."""
    try:
        truth, guesses = unit.array("labels"), unit.array("predictions")
    except (KeyError, OSError, ValueError):
        return None
    if truth.ndim != 1 or truth.dtype.kind not in "iu" or guesses.dtype.kind not in "iu" or not truth.size:
        return None
    classes = max(len(unit.attrs.get("classes") or ()), int(truth.max()) + 1, int(guesses.max()) + 1)
    return confusion_matrix(truth, guesses, classes)


def confusion_figure(shares: NDArray[np.float64], classes: Sequence[str], title: str) -> Figure:
    """Heat map of a confusion matrix in percent of the true class."""
    count = len(shares)
    names = list(classes) if len(classes) == count else [str(i) for i in range(count)]
    with look():
        figure = new_figure(COLUMN, COLUMN * 0.88)
        axes = figure.subplots()
        image = axes.imshow(100 * shares, vmin=0, vmax=100, cmap="cividis", interpolation="nearest")
        bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
        bar.set_label("share of the true class (%)")
        bar.outline.set_linewidth(0.4)
        ticks = list(range(count)) if count <= _LABELLED else list(range(0, count, max(1, count // 8)))
        axes.set_xticks(ticks, [names[i] for i in ticks], rotation=0 if max(map(len, names)) < 5 else 30)
        axes.set_yticks(ticks, [names[i] for i in ticks])
        axes.set(xlabel="predicted class", ylabel="true class", title=title)
        axes.spines[:].set_visible(False)
        if count <= _LABELLED:
            for (row, column), share in np.ndenumerate(shares):
                if np.isfinite(share):
                    ink = "black" if share > 0.6 else "white"
                    axes.text(column, row, f"{100 * share:.1f}", ha="center", va="center", color=ink, fontsize=6.5)
    return figure


def best_confusion(run: Run, table: TaskTable) -> tuple[Figure, str] | None:
    """Confusion matrix of the best encoder of a task at its largest label budget, with a caption."""
    budget = table.budgets[-1]
    rows = [r for r in table.section("encoder") if budget in r.cells and r.cells[budget].mean is not None]
    best: Row | None = None
    for row in rows:
        if best is None or table.metric.better(row.cells[budget].score, best.cells[budget].score):
            best = row
    if best is None:
        return None
    shares = unit_confusion(run.unit(best.cells[budget].key))
    if shares is None:
        return None
    caption = f"Confusion of {best.label}, {table.column(budget)}, all seeds together."
    return confusion_figure(shares, table.classes, best.label), caption
