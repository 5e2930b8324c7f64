"""Reports for the terminal, as rich renderables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wfm_cli.core.evaluation.report.model import Pretraining, Report, fixed
from wfm_cli.core.evaluation.report.view import Text as Entry
from wfm_cli.core.evaluation.report.view import View, view
from wfm_cli.core.evaluation.report.words import status_line

_STYLES = {"": "", "best": "bold", "tied": "underline", "muted": "dim", "failed": "red"}


def renderable(report: Report) -> Group:
    """The whole report: pretraining summary, one table per task, findings and failures in plain sentences."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    yield Text.assemble((report.name, "bold"), f"  {status_line(report)}\n")
    if report.pretraining:
        yield from _pretraining(report.pretraining)
    for table in report.tables:
        yield _Task(view(table))
    if not report.tables and not report.pretraining:
        yield Text("This run holds no results yet.", style="dim")
    if report.findings:
        yield Text("Findings", style="bold")
        yield from (Padding(Text(f"• {sentence}"), (0, 0, 0, 2)) for sentence in report.findings)
    if report.failures:
        yield Text(f"\nFailed units ({len(report.failures)})", style="bold red")
        yield from (Padding(Text(f"{key}: {error}"), (0, 0, 0, 2)) for key, error in report.failures)


@dataclass(frozen=True)
class _Task:
    """One task, laid out for the width of the console it is printed on."""

    layout: View

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.layout.title, style="bold")
        yield from self._tables(console, options)
        layout = self.layout
        notes = [f"{layout.caption}.", *layout.notes, *(f"[{mark}] {text}" for mark, text in layout.footnotes)]
        yield Padding(Text("\n".join(notes), style="dim"), (0, 0, 1, 1))

    def _tables(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """One table where it fits; else intervals below the values, and as many budgets at a time as fit."""
        budgets = list(range(2, len(self.layout.columns)))
        whole = _table(self.layout, [1, *budgets], narrow=False)
        if _fits(whole, console, options) or not budgets:
            yield whole
            return
        while budgets:
            count = len(budgets)
            while count > 1 and not _fits(_table(self.layout, budgets[:count], narrow=True), console, options):
                count -= 1
            yield _table(self.layout, budgets[:count], narrow=True)
            budgets = budgets[count:]


def _fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    return Measurement.get(console, options.update(width=10_000), table).maximum <= options.max_width


def _table(layout: View, shown: Sequence[int], *, narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", min_width=18, max_width=24 if narrow else None)
    for index in shown:
        table.add_column(layout.columns[index], justify="right", no_wrap=True)
    for section in layout.sections:
        table.add_section()
        table.add_row(Text(section.title, style="italic dim"))
        for row in section.rows:
            table.add_row(_entry(row[0], False), *(_entry(row[index], narrow) for index in shown))
    return table


def _entry(text: Entry, narrow: bool) -> Text:
    style = _STYLES[text.style]
    rest = text.plain()[len(text.value) :]
    if narrow and rest:
        rest = f"\n{rest.strip()}"
    return Text.assemble((text.value, style), (rest, style or "dim"))


def _pretraining(summary: Pretraining) -> Iterator[RenderableType]:
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in summary.facts:
        facts.add_row(Text(name, style="dim"), value)
    yield facts
    if summary.rows:
        table = Table(box=box.SIMPLE_HEAD, title=Text("Reconstruction of masked tokens", style="bold"))
        table.title_justify = "left"
        for column in ("", "median NMSE (dB)", "p10 (dB)", "p90 (dB)"):
            table.add_column(column, justify="right" if column else "left")
        for label, numbers in summary.rows:
            table.add_row(label, *(fixed(numbers[q], 2) if q in numbers else "–" for q in ("median", "p10", "p90")))
        yield table
    if summary.verdict:
        yield Text(summary.verdict)
    if summary.alarm:
        yield Text(f"ALARM: {summary.alarm}", style="bold red")
    yield Text("")
