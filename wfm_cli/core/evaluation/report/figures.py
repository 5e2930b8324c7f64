"""Figures of a report: scores over label budgets with their intervals, and training curves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from wfm_cli.core.evaluation.draws import per_class
from wfm_cli.core.evaluation.report.horizon import horizon_figure
from wfm_cli.core.evaluation.report.model import Budget, Report, Row, TaskTable
from wfm_cli.core.evaluation.report.style import (
    COLUMN,
    GREY,
    INK,
    MARKERS,
    PAGE,
    PALETTE,
    PAPER,
    grid,
    look,
    new_figure,
    save,
)
from wfm_cli.core.evaluation.report.training_figure import reconstruction_figure, training_figure
from wfm_cli.core.store.run import Run


@dataclass(frozen=True)
class LineStyle:
    """How one encoder is drawn, the same in every panel."""

    color: str
    marker: str
    line: str
    width: float
    hollow: bool


def line_styles(tables: Sequence[TaskTable]) -> dict[str, LineStyle]:
    """A look for every row label: encoders solid and filled, everything they must beat dashed and hollow."""
    labels: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            if any(cell.mean is not None for cell in row.cells.values()):
                labels.setdefault(row_name(table, row), row.role)
    found: dict[str, LineStyle] = {}
    coloured = 0
    for label, role in labels.items():
        if role == "reference":
            found[label] = LineStyle(GREY, "", ":", 1.0, True)
        elif role == "control":
            found[label] = LineStyle(GREY, MARKERS[-1 - len(found) % len(MARKERS)], "--", 1.0, True)
        else:
            color, marker = PALETTE[coloured % len(PALETTE)], MARKERS[coloured % len(MARKERS)]
            strong = role == "encoder"
            found[label] = LineStyle(color, marker, "-" if strong else "--", 1.6 if strong else 1.0, not strong)
            coloured += 1
    return found


def row_name(table: TaskTable, row: Row) -> str:
    """Label of a row; with its probe where the table holds several probes of the same label."""
    twins = sum(other.label == row.label for other in table.rows)
    return f"{row.label} ({row.probe or row.pooling})" if twins > 1 else row.label


def budget_figure(table: TaskTable, styles: Mapping[str, LineStyle] | None = None) -> Figure:
    """One task in one IEEE column: the primary metric over label budgets, or a dot plot when there is one budget."""
    styles = styles or line_styles([table])
    with look():
        if len(table.budgets) < 2:
            figure = new_figure(COLUMN, 0.75 + 0.17 * len(table.rows))
            _dots(figure.subplots(), table, styles)
        else:
            legend_rows = -(-(len(table.rows) + 1) // 2)
            figure = new_figure(COLUMN, 2.3 + 0.14 * legend_rows)
            _curves(figure.subplots(), table, styles)
            figure.legend(handles=_handles([table], styles), loc="outside lower center", ncols=2)
    return figure


def overview_figure(tables: Sequence[TaskTable]) -> Figure:
    """All tasks on one page width: three side by side with one legend, or two where rows are named on the axes."""
    styles = line_styles(tables)
    dotted = all(len(table.budgets) < 2 for table in tables)
    columns = min(2 if dotted else 3, len(tables))
    lines = [tables[start : start + columns] for start in range(0, len(tables), columns)]
    heights = [max(0.75 + 0.15 * len(table.rows) for table in line) if dotted else 2.1 for line in lines]
    with look():
        figure = new_figure(PAGE, sum(heights) + (0 if dotted else 0.15 * -(-len(styles) // 4) + 0.1))
        grid_of = figure.subplots(len(lines), columns, gridspec_kw={"height_ratios": heights})
        axes = np.atleast_1d(grid_of).ravel()
        for axis, table in zip(axes, tables, strict=False):
            (_curves if len(table.budgets) > 1 else _dots)(axis, table, styles)
            if dotted:
                axis.set_title(table.title.partition(",")[0])  # a long one would leave the page
        for axis in axes[len(tables) :]:
            axis.set_axis_off()
        if not dotted:
            figure.legend(handles=_handles(tables, styles), loc="outside lower center", ncols=4)
    return figure


def _positions(table: TaskTable) -> dict[Budget, float]:
    """Number of training labels of each budget, for a logarithmic axis."""
    counts = [float(b) for b in table.budgets if isinstance(b, int)]
    everything = float(table.n_all() or 3 * max(counts, default=1.0))
    places: dict[Budget, float] = {}
    for budget in table.budgets:
        share = str(budget).partition(" %")[0]
        known = float(share) / 100 * everything if share.replace(".", "", 1).isdigit() else everything
        if per_class(budget) is not None:
            known = table.n_train(budget) or everything
        places[budget] = float(budget) if isinstance(budget, int) else known
    return places


def _curves(axes: Axes, table: TaskTable, styles: Mapping[str, LineStyle]) -> None:
    places = _positions(table)
    for row in table.rows:
        points = [(places[b], c) for b in table.budgets if (c := row.cells.get(b)) and c.mean is not None]
        if not points:
            continue
        style = styles[row_name(table, row)]
        x = [place for place, _ in points]
        banded = [(place, c.interval) for place, c in points if c.interval]
        if len(banded) > 1:
            lower, upper = zip(*(interval for _, interval in banded), strict=True)
            axes.fill_between(
                [p for p, _ in banded],
                lower,
                upper,
                color=style.color,
                alpha=0.18 if style.line == "-" else 0.07,
                linewidth=0,
            )
        axes.plot(x, [c.score for _, c in points], **_line(style), zorder=3 if style.line == "-" else 2)
    if table.metric.unit == "%":  # an interval may reach beyond what a share can be, the axis need not
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -3), min(high, 103))
    for budget, place in places.items():
        _stars(axes, table, budget, place)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels([table.column(b).replace(" labels", "").replace(" (", "\n(") for b in places])
    axes.set(xlabel="training labels", ylabel=table.metric.header, title=table.title)
    grid(axes)


def _stars(axes: Axes, table: TaskTable, budget: Budget, place: float) -> None:
    """Published figures at one budget; the letters of figures that lie together stand side by side."""
    points = sorted((entry.values[budget], entry.mark) for entry in table.published if budget in entry.values)
    low, high = axes.get_ylim()
    groups: list[list[tuple[float, str]]] = []
    for point in points:
        if groups and point[0] - groups[-1][-1][0] < 0.05 * (high - low):
            groups[-1].append(point)
        else:
            groups.append([point])
    for group in groups:
        axes.plot([place] * len(group), [v for v, _ in group], "*", color=INK, ms=5.5, mew=0, zorder=4, linestyle="")
        middle = sum(value for value, _ in group) / len(group)
        letters = ",".join(sorted({mark for _, mark in group}))
        axes.annotate(letters, (place, middle), (5, 0), textcoords="offset points", fontsize=6, va="center")


def _dots(axes: Axes, table: TaskTable, styles: Mapping[str, LineStyle]) -> None:
    """One budget: a row per encoder, best at the top, bars for the intervals."""
    budget = table.budgets[0]
    rows = [row for row in table.rows if budget in row.cells and row.cells[budget].mean is not None]
    rows.sort(key=lambda row: row.cells[budget].score, reverse=table.metric.direction == "min")
    for y, row in enumerate(rows):
        style, cell = styles[row_name(table, row)], row.cells[budget]
        if cell.interval:
            axes.plot(cell.interval, (y, y), color=style.color, linewidth=1.0, solid_capstyle="butt")
        axes.plot([cell.score], [y], **{**_line(style), "marker": style.marker or "|"})
    scores = [row.cells[budget].score for row in rows]
    if table.columns and table.metric.unit != "%" and scores and max(scores) > 20 * min(scores) > 0:
        axes.set_xscale("log")  # a missing history costs a hundred times what a better network saves
    for entry in table.published:
        if budget in entry.values and not table.columns:
            axes.axvline(entry.values[budget], color=GREY, linewidth=0.7, linestyle=":")
            axes.annotate(
                entry.mark, (entry.values[budget], 1.0), (1, -6), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=6,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row_name(table, row) for row in rows])
    axes.set_ylim(-0.6, max(len(rows), 1) - 0.4)
    axes.set(xlabel=f"{table.metric.header}, {table.column(budget)}", title=table.title)
    grid(axes)


def _line(style: LineStyle) -> dict[str, Any]:
    return {
        "color": style.color,
        "marker": style.marker,
        "linestyle": style.line,
        "linewidth": style.width,
        "markerfacecolor": PAPER if style.hollow else style.color,
        "markeredgewidth": 0.9,
    }


def _handles(tables: Sequence[TaskTable], styles: Mapping[str, LineStyle]) -> list[Line2D]:
    handles = [Line2D([], [], label=label, **_line(style)) for label, style in styles.items()]
    shown = any(budget in table.budgets for table in tables for entry in table.published for budget in entry.values)
    if shown:
        star = Line2D([], [], color=INK, marker="*", linestyle="", markersize=5.5, markeredgewidth=0)
        star.set_label("published, other protocols")
        handles.append(star)
    return handles


def write_figures(run: Run, report: Report, out: Path) -> list[Path]:
    """Every figure of a report as PNG (300 dpi) and PDF.

    Returns:
        `labels_<task>` in one column, `overview` in one page width when there are several tasks, `horizon` for
        predictive tasks, `training` and `reconstruction` for a pretraining run; empty when there is nothing to draw.
    """
    paths: list[Path] = []
    styles = line_styles(report.tables)
    for table, name in zip(report.tables, table_names(report.tables), strict=True):
        paths += save(budget_figure(table, styles), out / f"labels_{name}")
    if len(report.tables) > 1:
        paths += save(overview_figure(report.tables), out / "overview")
    ahead = horizon_figure(run)
    if ahead is not None:
        paths += save(ahead, out / "horizon")
    spread = reconstruction_figure(run)
    if spread is not None:
        paths += save(spread, out / "reconstruction")
    curves = training_figure(run.curves.read())
    if curves is not None:
        paths += save(curves, out / "training")
    return paths


def table_names(tables: Sequence[TaskTable]) -> list[str]:
    """File names of tables: the task, with the split and a number where one task has several tables."""
    names: list[str] = []
    for table in tables:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", table.task)
        if sum(other.task == table.task for other in tables) > 1:
            name = f"{name}_{re.sub(r'[^A-Za-z0-9._-]+', '_', table.split) or 'split'}"
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names
