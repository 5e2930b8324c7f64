"""Turns the units of a run into tables: grouping, intervals, the best of each column, published figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from wfm_cli.core.evaluation.metrics import METRICS
from wfm_cli.core.evaluation.report.model import ROLES, Budget, Cell, Metric, Report, Row, TaskTable
from wfm_cli.core.evaluation.report.paired import with_differences
from wfm_cli.core.evaluation.report.pretraining import summarise
from wfm_cli.core.evaluation.report.published import (
    PublishedFigures,
    budget_order,
    group_published,
    normal_budget,
    published_figures,
)
from wfm_cli.core.store.run import Run, Unit

Attrs = Mapping[str, Any]
Findings = Callable[[Sequence[Attrs]], Sequence[str]]
"""Plain sentences about the attributes of all probe units."""


def collect(run: Run, published: PublishedFigures | None = None, findings: Findings | None = None) -> Report:
    """Everything a report says about `run`.

    Args:
        run: A run of any kind, finished or not; failed units are listed, never dropped silently.
        published: Source of published figures; by default the task files of wfm.
        findings: Maker of the plain sentences; by default `wfm_cli.core.evaluation.findings.findings`.

    Returns:
        The report; without tables when the run holds no probe units.
    """
    planned = {key: place for place, key in enumerate(run.attrs.get("manifest") or ())}
    units = [unit for unit in run.units() if unit.attrs.get("kind") == "probe"]
    units.sort(key=lambda unit: planned.get(unit.key, len(planned)))
    attrs = [{**unit.attrs, "key": unit.key} for unit in units]
    recipe = dict(run.attrs.get("recipe") or {})
    return Report(
        name=str(recipe.get("name") or run.path.stem),
        kind=run.kind,
        status=str(run.attrs.get("status", "complete" if run.complete else "unfinished")),
        recipe=recipe,
        versions=dict(run.attrs.get("versions") or {}),
        tables=tuple(with_differences(run, table) for table in _tables(attrs, recipe, published or published_figures)),
        findings=tuple((findings or _findings)(attrs)) if attrs else (),
        failures=tuple((u.key, str(u.attrs.get("error") or "no reason given")) for u in units if not _ok(u.attrs)),
        units=len(units),
        planned=len(run.attrs.get("manifest") or units),
        pretraining=summarise(run),
    )


def report_data(
    run: Run | Path, published: PublishedFigures | None = None, findings: Findings | None = None
) -> dict[str, Any]:
    """The report of a run (or of the run at a path) as JSON-able values, what `--json` prints; NaN becomes null.

    Raises:
        StoreError: The path holds no run.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    return {"path": str(opened.path), **_jsonable(asdict(collect(opened, published, findings)))}


def ok_units(run: Run) -> Iterable[Unit]:
    """Probe units that did not fail."""
    return (unit for unit in run.units() if unit.attrs.get("kind") == "probe" and _ok(unit.attrs))


def budget_of(attrs: Attrs) -> Budget:
    """Label budget of a unit."""
    return normal_budget(attrs.get("budget", "all"))


def _findings(units: Sequence[Attrs]) -> Sequence[str]:
    from wfm_cli.core.evaluation.findings import findings

    return findings(list(units))


def _ok(attrs: Attrs) -> bool:
    return bool(attrs.get("status", "ok") == "ok")


def _tables(units: Sequence[Attrs], recipe: Attrs, published: PublishedFigures) -> list[TaskTable]:
    groups: dict[tuple[Any, ...], list[Attrs]] = {}
    for attrs in units:
        key = tuple(attrs.get(name) for name in ("task", "task_version", "split", "data_digest"))
        groups.setdefault(key, []).append(attrs)
    # A unit that failed early may not know its split: it joins the task's table rather than making its own.
    lost = [key for key, members in groups.items() if not any(map(_ok, members))]
    for key in lost:
        home = next((other for other in groups if other[0] == key[0] and other not in lost), None)
        if home:
            groups[home] += groups.pop(key)
    tasks = list(recipe.get("tasks") or ())
    ordered = sorted(groups.items(), key=lambda item: _place(item[0][0], tasks))
    return [_table(members, published) for _, members in ordered]


def _place(value: Any, order: Sequence[Any]) -> int:
    """Position in an order; what it does not name comes last and keeps its own order."""
    return order.index(value) if value in order else len(order)


def _table(units: Sequence[Attrs], published: PublishedFigures) -> TaskTable:
    head = next(filter(_ok, units), units[0])
    name = str(head.get("task", "?"))
    metric = _metric(head)
    budgets = sorted({budget_of(attrs) for attrs in units}, key=budget_order)
    columns = tuple(known_metric(column) for column in head.get("columns") or ())
    rows: dict[tuple[str, ...], Row] = {}
    for attrs in units:
        row = _row(attrs)
        row = rows.setdefault((row.role, row.label, row.encoder, row.pooling, row.probe), row)
        row.cells[budget_of(attrs)] = _cell(attrs, metric)
        row.by_metric.update((column.name, _cell(attrs, column)) for column in columns)
    return TaskTable(
        task=name,
        version=int(head.get("task_version", 1)),
        title=str(head.get("task_title") or name),
        metric=metric,
        budgets=tuple(budgets),
        rows=tuple(_marked_by_metric(_marked(sorted(rows.values(), key=_row_order), budgets, metric), columns)),
        published=tuple(group_published(published(name))),
        split=str(head.get("split") or ""),
        leak=dict(head.get("split_leak") or {}),
        n_test=head.get("n_test"),
        n_val=head.get("n_val"),
        left_out=int(head.get("left_out") or 0),
        classes=tuple(map(str, head.get("classes") or ())),
        data_digest=str(head.get("data_digest") or ""),
        columns=columns,
        clustered=str(head.get("clustered") or ""),
    )


def _metric(attrs: Attrs) -> Metric:
    name = str(attrs.get("primary") or next(iter(attrs.get("metrics") or ["score"])))
    entry = (attrs.get("metrics") or {}).get(name, {})
    return Metric(name, str(entry.get("unit", "")), str(entry.get("direction", "max")))


def known_metric(name: str) -> Metric:
    """A metric of wfm by name."""
    known = METRICS.get(name)
    return Metric(name, known.unit if known else "", known.direction if known else "max")


def _row(attrs: Attrs) -> Row:
    role = str(attrs.get("role", "encoder"))
    return Row(
        label=str(attrs.get("label") or attrs.get("encoder", "?")),
        role=role if role in ROLES else "encoder",
        encoder=str(attrs.get("encoder", "")),
        pooling=str(attrs.get("pooling") or ""),
        probe=str(attrs.get("probe") or ""),
        dim=attrs.get("dim"),
        cells={},
    )


def _row_order(row: Row) -> int:
    """Groups in the order of `ROLES`; inside a group the order of the unit keys, which is that of the recipe."""
    return list(ROLES).index(row.role)


def _cell(attrs: Attrs, metric: Metric) -> Cell:
    entry = (attrs.get("metrics") or {}).get(metric.name) or {}
    mean = _number(entry.get("mean"))
    if not _ok(attrs) or mean is None:
        return Cell(key=str(attrs["key"]), error=str(attrs.get("error") or f"no {metric.title}"))
    half = _number(entry.get("half_width"))
    boot = [_number(end) for end in entry.get("boot") or ()]
    counts = attrs.get("n_train")
    counts = counts if isinstance(counts, Sequence) else [counts] if counts else []
    return Cell(
        mean=mean,
        half=half if half else None,  # exactly equal seeds (all labels, a convex probe) say nothing about spread
        boot=(boot[0], boot[1]) if len(boot) == 2 and boot[0] is not None and boot[1] is not None else None,
        seeds=len(attrs.get("seeds") or ()),
        key=str(attrs["key"]),
        n_train=sum(counts) / len(counts) if counts else float("nan"),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _marked(rows: Sequence[Row], budgets: Sequence[Budget], metric: Metric) -> list[Row]:
    """Mark the best cell of each column and those whose interval overlaps its interval."""
    marked = list(rows)
    for budget in budgets:
        measured = [(i, c) for i, row in enumerate(marked) if (c := row.cells.get(budget)) and c.mean is not None]
        if len(measured) < 2:
            continue
        top = measured[0][1]
        for _, cell in measured[1:]:
            if metric.better(cell.score, top.score):
                top = cell
        for index, cell in measured:
            new = replace(cell, best=cell.mean == top.mean, tied=cell.mean != top.mean and _overlap(cell, top))
            marked[index] = replace(marked[index], cells={**marked[index].cells, budget: new})
    return marked


def _marked_by_metric(rows: Sequence[Row], columns: Sequence[Metric]) -> list[Row]:
    """The same for columns that are metrics; numbers that describe latents rather than predictions have no best."""
    marked = list(rows)
    for metric in columns:
        if metric.unit:
            shown = [replace(row, cells={metric.name: row.by_metric[metric.name]}) for row in marked]
            found = _marked(shown, [metric.name], metric)
            marked = [
                replace(row, by_metric={**row.by_metric, metric.name: one.cells[metric.name]})
                for row, one in zip(marked, found, strict=True)
            ]
    return marked


def _overlap(a: Cell, b: Cell) -> bool:
    if a.interval is None or b.interval is None:
        return False
    return a.interval[0] <= b.interval[1] and b.interval[0] <= a.interval[1]


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
