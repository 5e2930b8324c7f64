"""Pictures of a run: curves, errors by sample, embeddings, confusion of the best encoder of each task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.collect import collect
from wfm_cli.core.evaluation.report.confusion import best_confusion
from wfm_cli.core.evaluation.report.figures import table_names
from wfm_cli.core.evaluation.report.style import COLUMN, GREY, MARKERS, PAGE, PALETTE, grid, look, new_figure, save
from wfm_cli.core.evaluation.report.training_figure import reconstruction_figure, training_figure
from wfm_cli.core.inspect.kinds import make_folder
from wfm_cli.core.inspect.runs import feature_names
from wfm_cli.core.store.reader import open_store
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError

_POINTS = 4000
"""Embeddings drawn at most; more hide one another."""
_CLOUDS = 6
"""Cached features drawn at most."""


def run_pictures(path: Path, out: Path) -> list[Path]:
    """Write `training`, `reconstruction`, `embeddings` and `confusion_<task>` as PNG, as far as the run holds them.

    Raises:
        StoreError: Not a run.
        InputError: `out` is a file.
    """
    run = Run.open(path)
    folder, paths = make_folder(out), []
    for name, figure in _figures(run):
        paths += save(figure, folder / name, ("png",))
    return paths


def _figures(run: Run) -> Iterator[tuple[str, Figure]]:
    if (curves := training_figure(run.curves.read())) is not None:
        yield "training", curves
    if (errors := reconstruction_figure(run)) is not None:
        yield "reconstruction", errors
    if (clouds := _embeddings_figure(run)) is not None:
        yield "embeddings", clouds
    tables = collect(run, published=lambda _: (), findings=lambda _: ()).tables
    for table, name in zip(tables, table_names(tables), strict=True):
        if (confusion := best_confusion(run, table)) is not None:
            yield f"confusion_{name}", confusion[0]


def _embeddings_figure(run: Run) -> Figure | None:
    """The two strongest principal components of every cached set of features, coloured by line of sight if known."""
    names = feature_names(run)
    shown = [(name, title) for name, title in names.items()][:_CLOUDS]
    clouds = [(title, values) for name, title in shown if (values := _features(run, name)) is not None]
    if not clouds:
        return None
    across = min(3, len(clouds))
    down = -(-len(clouds) // across)
    with look():
        figure = new_figure(PAGE if across > 1 else COLUMN, (2.3 if across > 1 else 2.9) * down + 0.2)
        panels = np.atleast_1d(figure.subplots(down, across, gridspec_kw={"wspace": 0.05})).ravel()
        for axes, (title, values) in zip(panels, clouds, strict=False):
            _cloud(axes, title, values, *_colouring(run, len(values)))
        for axes in panels[len(clouds) :]:
            axes.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2)
    return figure


def _features(run: Run, name: str) -> NDArray[np.float32] | None:
    values: NDArray[Any] = run.cached(name, lambda: np.empty(0))
    return values.astype(np.float32) if values.ndim == 2 and min(values.shape) > 1 else None


def _cloud(
    axes: Axes, title: str, values: NDArray[np.float32], classes: NDArray[np.int64] | None, names: list[str]
) -> None:
    points, shares = principal_components(values)
    rows = np.arange(len(points))[:: -(-len(points) // _POINTS)]
    if classes is None:
        x, y = points[rows].T
        axes.scatter(x, y, s=2, color=GREY, linewidths=0)
    else:
        for value, name in enumerate(names):
            x, y = points[rows][classes[rows] == value].T
            marker, color = MARKERS[value % len(MARKERS)], PALETTE[(1, 0, 2, 3, 4, 5, 6)[value % len(PALETTE)]]
            axes.scatter(x, y, s=3, color=color, marker=marker, linewidths=0, alpha=0.7, label=name)
    axes.set(xlabel=f"PC 1 ({100 * shares[0]:.0f} % of variance)", ylabel=f"PC 2 ({100 * shares[1]:.0f} %)")
    axes.set_title(title)
    grid(axes)


def principal_components(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projection on the two strongest principal components.

    Args:
        values: Features (n, D), D >= 2.

    Returns:
        Scores (n, 2) and the share of the variance that each component carries (2,).
    """
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    spread, axes = np.linalg.eigh(centred.T @ centred)
    total = float(spread.sum())
    shares = spread[:-3:-1] / total if total > 0 else np.zeros(2)
    return centred @ axes[:, :-3:-1], shares


def _colouring(run: Run, samples: int) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Line of sight of every sample, from the store that the run names, if it is still there and the same."""
    try:
        store = open_store(str((run.attrs.get("recipe") or {}).get("data") or ""))
        if store.digest != run.attrs.get("data_digest") or store.samples != samples:
            return None, []
        return store.read("labels/los").astype(np.int64), store.label_classes("los") or ["NLoS", "LoS"]
    except InputError:
        return None, []
