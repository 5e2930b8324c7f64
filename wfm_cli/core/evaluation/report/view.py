"""A table as rows of marked text: what every format prints, before any markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wfm_cli.core.evaluation.report.model import ROLES, Budget, Cell, Delta, Metric, Published, Row, TaskTable
from wfm_cli.core.evaluation.report.words import SIGNIFICANT, caption, elsewhere, footnote, metric_notes, notes
from wfm_cli.core.evaluation.statistics import MIN_SEEDS

Style = Literal["", "best", "tied", "muted", "failed"]


@dataclass(frozen=True)
class Text:
    """One table entry: `value`, then what says how sure it is, or a footnote mark."""

    value: str
    spread: str = ""
    """Half width of the t-interval, `0.8` or `<0.1`."""
    interval: tuple[str, str] | None = None
    """Bootstrap interval, shown where there is no t-interval."""
    remark: str = ""
    """Why there is no interval."""
    star: bool = False
    """Significant difference."""
    mark: str = ""
    """Letter of a footnote."""
    style: Style = ""

    def plain(self) -> str:
        """The entry in plain characters."""
        text = self.value
        if self.spread:
            text += f" ±{self.spread}"
        elif self.interval:
            text += f" [{self.interval[0]}, {self.interval[1]}]"
        elif self.remark:
            text += f" ({self.remark})"
        text += "*" if self.star else ""
        return text + (f" [{self.mark}]" if self.mark else "")


@dataclass(frozen=True)
class Section:
    """Rows of one role under a heading."""

    title: str
    rows: tuple[tuple[Text, ...], ...]


@dataclass(frozen=True)
class View:
    """A whole table."""

    title: str
    caption: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    footnotes: tuple[tuple[str, str], ...]
    """(mark, text) of the published rows."""


def view(table: TaskTable) -> View:
    """Lay out one task: encoders by role as rows, label budgets as columns, published figures below."""
    if table.columns:
        return _by_metric(table)
    probes = {row.probe for row in table.rows if row.role != "reference"} - {"", "majority"}
    sections = [
        Section(title, tuple(_line(table, row, show_probe=len(probes) > 1) for row in rows))
        for role, title in ROLES.items()
        if (rows := table.section(role))
    ]
    if table.deltas:
        compared = [row for row in table.section("encoder") if row.name in table.deltas]
        lines = tuple(_delta_line(table, row, show_probe=len(probes) > 1) for row in compared)
        sections.append(Section("Gain over best untrained row", lines))
    beside = [p for p in table.published if _shared_budgets(table, p)]
    if beside:
        sections.append(Section("Published (see notes)", tuple(_published_line(table, p) for p in beside)))
    return View(
        title=table.title,
        caption=caption(table),
        columns=("", "dim", *(table.column(budget) for budget in table.budgets)),
        sections=tuple(sections),
        notes=(*notes(table), *elsewhere([p for p in table.published if p not in beside])),
        footnotes=tuple({p.mark: footnote(p) for p in table.published}.items()),
    )


def _by_metric(table: TaskTable) -> View:
    """Lay out a predictive task: metrics as columns, published rows below."""
    sections = [
        Section(table.heading(role), tuple(_metrics_line(table, row) for row in rows))
        for role in ROLES
        if (rows := table.section(role))
    ]
    papers: dict[str, dict[str, float]] = {}
    for entry in table.published:
        papers.setdefault(entry.system, {})[entry.metric] = entry.values["all"]
    marks = {(p.protocol, p.source): p.mark for p in reversed(table.published)}
    of_system = {p.system: marks[p.protocol, p.source] for p in table.published}
    if papers:
        lines = tuple(
            (
                Text(system, mark=of_system[system]),
                Text(""),
                *(_printed(found.get(column.name), column) for column in table.columns),
            )
            for system, found in papers.items()
        )
        sections.append(Section("Published (see notes)", lines))
    footnotes = {mark: f"{protocol} ({source})." for (protocol, source), mark in marks.items()}
    return View(
        title=table.title,
        caption=f"{len(table.columns)} metrics over all frames ahead; {table.n_test or 0:,} test windows",
        columns=("", "dim", *(f"{m.header} {'↓' if m.direction == 'min' else '↑'}" for m in table.columns)),
        sections=tuple(sections),
        notes=tuple(metric_notes(table)),
        footnotes=tuple(footnotes.items()),
    )


def _metrics_line(table: TaskTable, row: Row) -> tuple[Text, ...]:
    cells = (row.by_metric.get(column.name) for column in table.columns)
    return (
        Text(row.label),
        Text(f"{row.dim:,}" if row.dim else "", style="muted"),
        *(_of_metric(cell, column) for cell, column in zip(cells, table.columns, strict=True)),
    )


def _of_metric(cell: Cell | None, metric: Metric) -> Text:
    """A cell; numbers that describe latents rather than predictions stand without interval, or not at all."""
    if metric.unit or cell is None:
        return _cell(cell, metric)
    return Text("–", style="muted") if cell.mean is None else Text(metric.text(cell.mean))


def _printed(value: float | None, metric: Metric) -> Text:
    return Text("–" if value is None else metric.text(value), style="muted")


def _line(table: TaskTable, row: Row, *, show_probe: bool) -> tuple[Text, ...]:
    label = row.name if show_probe else row.label
    dim = f"{row.dim:,}" if row.dim else ""
    return (Text(label), Text(dim, style="muted"), *(_cell(row.cells.get(b), table.metric) for b in table.budgets))


def _cell(cell: Cell | None, metric: Metric) -> Text:
    if cell is None:
        return Text("–", style="muted")
    if cell.mean is None:
        return Text("failed", style="failed")
    style: Style = "best" if cell.best else "tied" if cell.tied else ""
    value = metric.text(cell.mean)
    if cell.half is not None:
        spread = metric.text(cell.half)
        tiny = float(spread) == 0
        return Text(value, spread=f"<{10.0**-metric.decimals:.{metric.decimals}f}" if tiny else spread, style=style)
    if cell.boot is not None:
        return Text(value, interval=(metric.text(cell.boot[0]), metric.text(cell.boot[1])), style=style)
    return Text(value, remark=f"n={cell.seeds}" if cell.seeds < MIN_SEEDS else "", style=style)


def _delta_line(table: TaskTable, row: Row, *, show_probe: bool) -> tuple[Text, ...]:
    deltas = table.deltas[row.name]
    return (
        Text(row.name if show_probe else row.label),
        Text(""),
        *(_delta(deltas.get(budget), table.metric) for budget in table.budgets),
    )


def _delta(delta: Delta | None, metric: Metric) -> Text:
    if delta is None:
        return Text("–", style="muted")
    value = f"{'+' if delta.mean > 0 else ''}{metric.text(delta.mean)}"
    interval = (metric.text(delta.lo), metric.text(delta.hi))
    return Text(value, interval=interval, star=delta.p < SIGNIFICANT)


def _shared_budgets(table: TaskTable, entry: Published) -> list[Budget]:
    return [budget for budget in entry.values if budget in table.budgets]


def _published_line(table: TaskTable, entry: Published) -> tuple[Text, ...]:
    cells = (
        Text(table.metric.text(entry.values[b]), style="muted") if b in entry.values else Text("–", style="muted")
        for b in table.budgets
    )
    return (Text(entry.system, mark=entry.mark), Text(""), *cells)
