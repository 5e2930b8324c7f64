"""Reports for the terminal, as rich renderables."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as RichText

from wfm_cli.core.evaluation.report.model import Pretraining, Report
from wfm_cli.core.evaluation.report.view import Text, View, status_line, view

_STYLES = {"": "", "best": "bold", "tied": "underline", "muted": "dim", "failed": "red"}


def renderable(report: Report) -> Group:
    """The whole report: pretraining summary, one table per task, findings and failures in plain sentences."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    yield RichText.assemble((report.name, "bold"), f"  {status_line(report)}\n")
    if report.pretraining:
        yield from _pretraining(report.pretraining)
    for table in report.tables:
        yield from _task(view(table))
    if not report.tables and not report.pretraining:
        yield RichText("This run holds no results yet.", style="dim")
    if report.findings:
        yield RichText("Findings", style="bold")
        yield from (Padding(RichText(f"• {sentence}"), (0, 0, 0, 2)) for sentence in report.findings)
    if report.failures:
        yield RichText(f"\nFailed units ({len(report.failures)})", style="bold red")
        yield from (Padding(RichText(f"{key}: {error}"), (0, 0, 0, 2)) for key, error in report.failures)


def _task(layout: View) -> Iterator[RenderableType]:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=RichText(layout.title, style="bold"),
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    table.add_column(layout.columns[0], no_wrap=False, min_width=18)
    for column in layout.columns[1:]:
        table.add_column(column, justify="right")
    for section in layout.sections:
        table.add_section()
        table.add_row(RichText(section.title, style="italic dim"))
        for row in section.rows:
            table.add_row(*(_entry(text) for text in row))
    yield table
    notes = [f"{layout.caption}.", *layout.notes, *(f"[{mark}] {text}" for mark, text in layout.footnotes)]
    yield Padding(RichText("\n".join(notes), style="dim"), (0, 0, 1, 1))


def _entry(text: Text) -> RichText:
    style = _STYLES[text.style]
    return RichText.assemble((text.value, style), (text.plain()[len(text.value) :], style or "dim"))


def _pretraining(summary: Pretraining) -> Iterator[RenderableType]:
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in summary.facts:
        facts.add_row(RichText(name, style="dim"), value)
    yield facts
    if summary.rows:
        table = Table(box=box.SIMPLE_HEAD, title=RichText("Reconstruction of masked tokens", style="bold"))
        table.title_justify = "left"
        for column in ("", "median NMSE (dB)", "p10 (dB)", "p90 (dB)"):
            table.add_column(column, justify="right" if column else "left")
        for label, numbers in summary.rows:
            table.add_row(label, *(f"{numbers[q]:.2f}" if q in numbers else "–" for q in ("median", "p10", "p90")))
        yield table
    if summary.verdict:
        yield RichText(summary.verdict)
    if summary.alarm:
        yield RichText(f"ALARM: {summary.alarm}", style="bold red")
    yield RichText("")
