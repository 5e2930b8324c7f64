"""Curves over the horizon of predictive tasks: how errors grow with every frame ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wfm_cli.core.evaluation.report.collect import known_metric, ok_units
from wfm_cli.core.evaluation.report.model import ROLES, Metric
from wfm_cli.core.evaluation.report.style import GREY, MARKERS, PAGE, PALETTE, PAPER, grid, look, new_figure
from wfm_cli.core.store.run import Run

_MOST = 2
"""Lines of each role in a panel: its best ones by the primary metric."""


def horizon_figure(run: Run) -> Figure | None:
    """A panel for every task: its primary metric over the frames ahead, of the best rows of each role; None without
    predictive tasks."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for unit in ok_units(run):
        if (unit.attrs.get("metrics") or {}).get(unit.attrs.get("primary"), {}).get("horizon"):
            tasks.setdefault(str(unit.attrs["task"]), []).append(unit.attrs)
    if not tasks:
        return None
    with look():
        figure = new_figure(PAGE, 3.1)
        panels = figure.subplots(1, len(tasks), squeeze=False)[0]
        for panel, units in zip(panels, tasks.values(), strict=True):
            _panel(panel, units)
    return figure


def _panel(axes: Axes, units: list[dict[str, Any]]) -> None:
    metric = known_metric(str(units[0]["primary"]))
    handles = []
    for number, attrs in enumerate(_chosen(units, metric)):
        curve = attrs["metrics"][metric.name]["horizon"]
        naive, tested = attrs["role"] == "reference", attrs["role"] == "encoder"
        color, marker = GREY if naive else PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        style: dict[str, Any] = {
            "color": color, "marker": marker, "linestyle": "-" if tested else ":" if naive else "--",
            "markerfacecolor": color if tested else PAPER, "linewidth": 1.5 if tested else 1.0,
        }  # fmt: skip
        steps = range(1, len(curve["mean"]) + 1)
        axes.plot(steps, curve["mean"], **style)
        if tested and curve["low"]:
            axes.fill_between(steps, curve["low"], curve["high"], color=color, alpha=0.15, linewidth=0)
        handles.append(Line2D([], [], label=str(attrs["label"]), **style))
    axes.set_xticks(list(steps))
    axes.set(xlabel="frames ahead", ylabel=metric.header, title=str(units[0]["task_title"]).partition(",")[0])
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    grid(axes)


def _chosen(units: list[dict[str, Any]], metric: Metric) -> Iterator[dict[str, Any]]:
    for role in ROLES:
        mine = [attrs for attrs in units if attrs["role"] == role]
        mine.sort(key=lambda attrs: attrs["metrics"][metric.name]["mean"], reverse=metric.direction == "max")
        yield from mine[:_MOST]
