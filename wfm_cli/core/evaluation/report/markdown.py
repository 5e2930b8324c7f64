"""Reports in GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from wfm_cli.core.evaluation.report.model import Pretraining, Report, fixed
from wfm_cli.core.evaluation.report.view import Text, View, view
from wfm_cli.core.evaluation.report.words import status_line


def text(report: Report) -> str:
    """The report as Markdown; bold is the best of a column, underlined ties with it."""
    blocks = [f"# {_escape(report.name)}", _escape(status_line(report))]
    if report.pretraining:
        blocks += _pretraining(report.pretraining)
    for table in report.tables:
        blocks += _task(view(table))
    if report.findings:
        blocks += ["## Findings", "\n".join(f"- {_escape(sentence)}" for sentence in report.findings)]
    if report.failures:
        blocks += ["## Failed units", "\n".join(f"- `{key}`: {_escape(error)}" for key, error in report.failures)]
    blocks += ["## Provenance", _provenance(report)]
    return "\n\n".join(blocks) + "\n"


def _task(layout: View) -> Iterator[str]:
    yield f"## {_escape(layout.title)}"
    yield f"{_escape(layout.caption)}."
    lines = [_row(["", *layout.columns[1:]]), "|" + " --- |" + " ---: |" * (len(layout.columns) - 1)]
    for section in layout.sections:
        lines.append(_row([f"*{_escape(section.title)}*", *[""] * (len(layout.columns) - 1)]))
        lines += [_row([_entry(entry) for entry in row]) for row in section.rows]
    yield "\n".join(lines)
    yield "\n".join(
        [f"- {_escape(note)}" for note in layout.notes]
        + [f"- <sup>{mark}</sup> {_escape(note)}" for mark, note in layout.footnotes]
    )


def _pretraining(summary: Pretraining) -> Iterator[str]:
    yield "## Pretraining"
    yield "\n".join(["| | |", "| --- | --- |", *(_row([_escape(n), _escape(v)]) for n, v in summary.facts)])
    if summary.rows:
        lines = [_row(["Reconstruction", "median NMSE (dB)", "p10 (dB)", "p90 (dB)"]), "| --- | ---: | ---: | ---: |"]
        for label, numbers in summary.rows:
            values = (fixed(numbers[q], 2) if q in numbers else "–" for q in ("median", "p10", "p90"))
            lines.append(_row([_escape(label), *values]))
        yield "\n".join(lines)
    yield from (_escape(text) for text in (summary.verdict, summary.alarm and f"ALARM: {summary.alarm}") if text)


def _provenance(report: Report) -> str:
    digests = {table.data_digest for table in report.tables if table.data_digest}
    lines = [f"- data: `{digest}`" for digest in sorted(digests)]
    lines += [f"- {name} {version}" for name, version in report.versions.items()]
    return "\n".join(lines) or "- unknown"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _entry(entry: Text) -> str:
    value = _escape(entry.plain().removesuffix(f" [{entry.mark}]") if entry.mark else entry.plain())
    if entry.style == "best":
        value = f"**{value}**"
    elif entry.style == "tied":
        value = f"<u>{value}</u>"
    return value + (f" <sup>{entry.mark}</sup>" if entry.mark else "")


def _escape(value: str) -> str:
    """Neutralise what Markdown and its inline HTML would read as markup."""
    for character in "\\`*_|[]":
        value = value.replace(character, f"\\{character}")
    return value.replace("<", "&lt;").replace("\n", " ")
