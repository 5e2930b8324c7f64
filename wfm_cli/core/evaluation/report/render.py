"""One door to all formats."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group

from wfm_cli.core.evaluation.report import csv, latex, markdown, table
from wfm_cli.core.evaluation.report.collect import Findings, collect
from wfm_cli.core.evaluation.report.model import Report
from wfm_cli.core.evaluation.report.published import PublishedFigures
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError

FORMATS = ("table", "csv", "md", "latex", "png", "html")
"""Everything `render` can make."""


def _csv(run: Run, report: Report) -> str:
    """Results; the curves when there is nothing else."""
    return csv.curves(run) if report.pretraining and not report.units else csv.text(run, report)


_TEXTS: dict[str, tuple[str, Callable[[Run, Report], str]]] = {
    "csv": ("report.csv", _csv),
    "md": ("report.md", lambda _, report: markdown.text(report)),
    "latex": ("report.tex", lambda _, report: latex.text(report)),
}


def render(
    run: Path | Run,
    format: str = "table",
    out: Path | None = None,
    *,
    published: PublishedFigures | None = None,
    findings: Findings | None = None,
) -> list[Path] | str | Group:
    """Render the results of a run.

    Args:
        run: Path of a run, or the opened run.
        format: One of `FORMATS`.
        out: Folder for the files, made if needed. Files of an earlier report are replaced.
        published: Source of published figures by task; by default the task files of wfm.
        findings: Maker of the sentences under the tables; by default those of wfm.

    Returns:
        The written files when `out` is given (png and html need it); else the text, or for `table` a renderable for a
        rich console.

    Raises:
        InputError: Unknown format, a format of files without `out`, or `out` is a file.
        StoreError: There is no run at the path.
    """
    if format not in FORMATS:
        raise InputError(f"unknown report format {format!r}", f"one of {', '.join(FORMATS)}")
    opened = run if isinstance(run, Run) else Run.open(run)
    report = collect(opened, published, findings)
    if out is None:
        if format == "table":
            return table.renderable(report)
        if format in _TEXTS:
            return _TEXTS[format][1](opened, report)
        raise InputError(f"report format {format} makes files", "name a folder for them with --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file", "--out names a folder")
    out.mkdir(parents=True, exist_ok=True)
    return _write(opened, report, format, out)


def _write(run: Run, report: Report, form: str, out: Path) -> list[Path]:
    if form == "png":
        from wfm_cli.core.evaluation.report.figures import write_figures

        return write_figures(run, report, out)
    if form == "html":
        from wfm_cli.core.evaluation.report import html

        name, text = "report.html", html.text(run, report)
    elif form == "table":
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(table.renderable(report))
        name, text = "report.txt", console.export_text()
    else:
        name, make = _TEXTS[form]
        text = make(run, report)
    (out / name).write_text(text, encoding="utf-8")
    written = [out / name]
    if form == "csv" and report.units and run.curves.read():
        written.append(out / "curves.csv")
        written[-1].write_text(csv.curves(run), encoding="utf-8")
    if form == "csv" and any(table.columns for table in report.tables):
        written.append(out / "horizon.csv")
        written[-1].write_text(csv.horizon(run), encoding="utf-8")
    return written
