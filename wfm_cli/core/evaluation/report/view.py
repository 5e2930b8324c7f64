"""A table as rows of marked text: what every format prints, before any markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wfm_cli.core.evaluation.draws import budget_words
from wfm_cli.core.evaluation.report.model import ROLES, Budget, Cell, Delta, Metric, Published, Report, Row, TaskTable
from wfm_cli.core.evaluation.statistics import MIN_SEEDS
from wfm_cli.core.evaluation.taskdata import FOLDS

SIGNIFICANT = 0.05
"""Level of the corrected tests."""

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
        notes=(*_notes(table), *_elsewhere([p for p in table.published if p not in beside])),
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
    notes = {mark: f"{protocol} ({source})." for (protocol, source), mark in marks.items()}
    return View(
        title=table.title,
        caption=f"{len(table.columns)} metrics over all frames ahead; {table.n_test or 0:,} test windows",
        columns=("", "dim", *(f"{m.header} {'↓' if m.direction == 'min' else '↑'}" for m in table.columns)),
        sections=tuple(sections),
        notes=tuple(_metric_notes(table)),
        footnotes=tuple(notes.items()),
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


def _metric_notes(table: TaskTable) -> Iterator[str]:
    cells = [cell for row in table.rows for cell in row.by_metric.values()]
    if any(cell.best for cell in cells):
        yield "Bold: best of the column. Underlined: its interval overlaps that of the best."
    if any(cell.boot for cell in cells):
        yield (
            f"[low, high]: 95 % bootstrap over {table.clustered or 'test samples'} and over the trainings of a row; "
            "windows of one drive share most of their frames."
        )
    failed = sum(bool(cell.error) for row in table.rows for cell in row.cells.values())
    if failed:
        yield f"{failed} unit(s) failed; see the list of failures."
    seen = table.leak.get("test_frames_in_training")
    if seen is not None:
        yield f"{100 * seen:.1f} % of the test frames occur in training windows."
    if sentence := split_sentence(table):
        yield sentence.replace("Samples:", "Windows:").replace("samples", "windows")


def status_line(report: Report) -> str:
    """Kind of run, how many units it holds, and whether it is finished."""
    text = f"{report.kind} run"
    if report.units or report.planned:
        count = f"{report.units} of {report.planned}" if report.planned > report.units else str(report.units)
        text += f", {count} result unit{'' if report.units == 1 else 's'}"
    return text if report.status == "complete" else f"{text}, status: {report.status}"


def caption(table: TaskTable) -> str:
    """What the numbers are: metric with unit, intervals, test samples."""
    seeds = sorted({cell.seeds for cell in table.cells() if cell.half is not None})
    name = table.metric.header
    text = f"{name[:1].upper()}{name[1:]}, {'lower' if table.metric.direction == 'min' else 'higher'} is better"
    if any(cell.half is not None for cell in table.cells()):
        text += f"; mean ± half width of the 95 % t-interval over {_span(seeds)} seeds"
    if table.n_test:
        text += f"; {table.n_test:,} test samples"
    return text


def footnote(entry: Published) -> str:
    """Metric, protocol and source of published figures."""
    text = ", ".join(part for part in (metric_title(entry), entry.protocol) if part)
    return f"{text[:1].upper()}{text[1:]}" + (f" ({entry.source})." if entry.source else ".")


def metric_title(entry: Published) -> str:
    """Name of the metric of published figures."""
    return Metric(entry.metric, entry.unit, "max").title if entry.metric else ""


def _elsewhere(entries: Sequence[Published]) -> Iterator[str]:
    """Published figures in words, for budgets that the table has no column for."""
    parts = []
    for entry in entries:
        amounts = (f"{value:g} {entry.unit}".strip() + f" with {budget_words(b)}" for b, value in entry.values.items())
        parts.append(f"{entry.system} {', '.join(amounts)} [{entry.mark}]")
    if parts:
        yield f"Published for other budgets: {'; '.join(parts)}."


def leak_sentence(leak: Mapping[str, Any]) -> str:
    """How near the test users of a split stand to training users, in words; empty when it was not measured."""
    share, near, middle = leak.get("share"), leak.get("below_m"), leak.get("median_m")
    if share is not None and "group" in leak:
        return f"{100 * share:.1f} % of the test samples are of a {leak['group'].replace('_', ' ')} seen in training"
    if share is None or near is None:
        return ""
    text = f"{100 * share:.1f} % of the test users stand nearer than {near:g} m to a training user"
    return text + (f" (median {middle:.1f} m)" if middle is not None else " (most have none in their place)")


def split_sentence(table: TaskTable) -> str:
    """The split, its leak and its sizes in one sentence; empty when nothing is known."""
    parts = [f"Split: {table.split}."] if table.split else []
    if table.split == FOLDS:
        parts = ["Cross-validated: every test sample is scored once, by a probe that trained on the other folds."]
    leak = leak_sentence(table.leak)
    if leak:
        parts.append(f"{leak}.")
    sizes = [f"{n:,} {name}" for n, name in ((table.n_val, "validation"), (table.n_test, "test")) if n]
    if sizes:
        parts.append(f"Samples: {', '.join(sizes)}.")
    if table.left_out:
        parts.append(f"{table.left_out:,} samples of other labels left out.")
    return " ".join(parts)


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


def _notes(table: TaskTable) -> Iterator[str]:
    cells = table.cells()
    if any(cell.best for cell in cells):
        yield "Bold: best of the column. Underlined: its interval overlaps that of the best."
    if any(cell.mean is not None and cell.half is None and cell.boot for cell in cells):
        yield "[low, high]: 95 % bootstrap over test samples, where there are fewer than 3 seeds or all agree exactly."
    if any(cell.mean is not None and cell.interval is None for cell in cells):
        yield "n=1, n=2: too few seeds to say how far they spread."
    if any(cell.error for cell in cells):
        yield f"{sum(bool(cell.error) for cell in cells)} unit(s) failed; see the list of failures."
    if table.deltas:
        count = sum(map(len, table.deltas.values()))
        better = "negative" if table.metric.direction == "min" else "positive"
        yield (
            f"Differences: paired bootstrap over test samples and seeds, {better} where the encoder is better; "
            f"* p < {SIGNIFICANT:g} after Holm's correction for {count} comparison{'' if count == 1 else 's'}."
        )
    if sentence := split_sentence(table):
        yield sentence


def _span(numbers: Sequence[int]) -> str:
    if not numbers:
        return "0"
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"
