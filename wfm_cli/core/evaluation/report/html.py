"""One self-contained HTML page: readable offline, without scripts, on light and dark screens, and in print."""

from __future__ import annotations

import io
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from wfm_cli.core.evaluation.report import figures
from wfm_cli.core.evaluation.report.confusion import best_confusion
from wfm_cli.core.evaluation.report.horizon import horizon_figure
from wfm_cli.core.evaluation.report.html_table import results_table, units_table
from wfm_cli.core.evaluation.report.model import Pretraining, Report, TaskTable, fixed
from wfm_cli.core.evaluation.report.style import svg
from wfm_cli.core.evaluation.report.training_figure import reconstruction_figure, training_figure
from wfm_cli.core.evaluation.report.view import view
from wfm_cli.core.evaluation.report.words import metric_title
from wfm_cli.core.store.run import Run


def text(run: Run, report: Report) -> str:
    """The page: findings, tables, curves, published figures, failures, provenance and recipe."""
    css = files("wfm_cli.core.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    body = "\n".join(_body(run, report))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.name)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _body(run: Run, report: Report) -> Iterator[str]:
    names = figures.table_names(report.tables)
    yield _header(run, report, names)
    yield "<main>"
    if report.findings:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in report.findings)
        yield f'<div class="findings"><ul>{items}</ul></div>'
    if report.pretraining:
        yield _pretraining(run, report.pretraining)
    if len(report.tables) > 1:
        yield _figure(svg(figures.overview_figure(report.tables)), "All tasks. Bands are 95 % intervals.", "wide")
    ahead = horizon_figure(run)
    if ahead is not None:
        yield _figure(
            svg(ahead), "Over the frames ahead: the best two rows of each kind; bands are 95 % intervals.", "wide"
        )
    styles = figures.line_styles(report.tables)
    for table, name in zip(report.tables, names, strict=True):
        yield _task(run, table, name, styles)
    if not report.tables and not report.pretraining:
        yield '<p class="soft">This run holds no results yet.</p>'
    if any(table.published for table in report.tables):
        yield _published(report)
    if report.failures:
        yield _failures(report)
    if report.units:
        yield f"<details><summary>Every metric of every unit</summary>{units_table(run)}</details>"
    yield _provenance(run, report)
    yield "</main>"
    version = escape(report.versions.get("wfm-toolkit", ""))
    yield f"<footer><div>Made by wfm {version}. Exported from the run; the run itself holds all numbers.</div></footer>"


def _header(run: Run, report: Report, names: list[str]) -> str:
    units = f"{report.units} of {report.planned}"
    chips = [("run", run.path.name), ("kind", report.kind), ("status", report.status)]
    chips += [("units", units)] if report.planned else []
    digests = sorted({table.data_digest[:12] for table in report.tables if table.data_digest})
    chips += [("data", digest) for digest in digests]
    shown = "".join(f"<span>{key} <b>{escape(value)}</b></span>" for key, value in chips)
    links = [(f"#{name}", table.title) for table, name in zip(report.tables, names, strict=True)]
    if report.pretraining:
        links.insert(0, ("#pretraining", "Pretraining"))
    if any(table.published for table in report.tables):
        links.append(("#published", "Published figures"))
    links += [("#failures", "Failures")] if report.failures else []
    links.append(("#provenance", "Provenance"))
    nav = "".join(f'<a href="{escape(target)}">{escape(title)}</a>' for target, title in links)
    about = escape(str(report.recipe.get("description") or ""))
    return (
        f"<header><div><h1>{escape(report.name)}</h1>"
        + (f"<p>{about}</p>" if about else "")
        + f'<div class="chips">{shown}</div><nav>{nav}</nav></div></header>'
    )


def _task(run: Run, table: TaskTable, name: str, styles: dict[str, figures.LineStyle]) -> str:
    layout = view(table)
    notes = "".join(f"<li>{escape(note)}</li>" for note in layout.notes)
    notes += "".join(f"<li><sup>{mark}</sup> {escape(note)}</li>" for mark, note in layout.footnotes)
    parts = [
        f'<section id="{escape(name)}"><h2>{escape(layout.title)}</h2>',
        f'<p class="caption">{escape(layout.caption)}.</p>',
        results_table(layout),
        f'<ul class="notes">{notes}</ul>',
        '<div class="pair">',
        _figure(svg(figures.budget_figure(table, styles)), _words(table)),
    ]
    confusion = best_confusion(run, table)
    if confusion:
        parts.append(_figure(svg(confusion[0]), confusion[1]))
    return "".join([*parts, "</div></section>"])


def _words(table: TaskTable) -> str:
    """What the figure of a task shows."""
    return (
        "Bars are 95 % intervals."
        if len(table.budgets) < 2
        else "Score over training labels; bands are 95 % intervals."
    )


def _pretraining(run: Run, summary: Pretraining) -> str:
    facts = "".join(f"<tr><td>{escape(n)}</td><td>{escape(v)}</td></tr>" for n, v in summary.facts)
    parts = ['<section id="pretraining"><h2>Pretraining</h2><div class="pair">']
    parts.append(f'<table class="facts"><tbody>{facts}</tbody></table>')
    if summary.rows:
        head = "<tr><th>Masked tokens, NMSE (dB)</th><th>median</th><th>p10</th><th>p90</th></tr>"
        rows = ""
        for label, numbers in summary.rows:
            cells = (fixed(numbers[q], 2) if q in numbers else "–" for q in ("median", "p10", "p90"))
            rows += f"<tr><td>{escape(label)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        parts.append(f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>")
    parts.append("</div>")
    if summary.verdict:
        parts.append(f'<div class="findings"><ul><li>{escape(summary.verdict)}</li></ul></div>')
    if summary.alarm:
        parts.append(f'<p class="error">ALARM: {escape(summary.alarm)}</p>')
    spread = reconstruction_figure(run)
    if spread is not None:
        parts.append(_figure(svg(spread), "Share of the validation samples reconstructed at least this well."))
    curves = training_figure(run.curves.read())
    if curves is not None:
        parts.append(_figure(svg(curves), "Training curves.", "wide"))
    return "".join([*parts, "</section>"])


def _published(report: Report) -> str:
    rows = ""
    for table in report.tables:
        for entry in table.published:
            for budget, value in entry.values.items():
                labels = f"{budget:,}" if isinstance(budget, int) else escape(budget)
                rows += (
                    f"<tr><td>{escape(table.title)}</td><td>{escape(entry.system)}</td><td>{escape(metric_title(entry))}</td>"
                    f'<td class="number">{labels}</td><td class="number">{value:g} {escape(entry.unit)}</td>'
                    f"<td>{escape(entry.protocol)}</td><td>{escape(entry.source)}</td></tr>"
                )
    heads = ("Task", "System", "Metric", "Training labels", "Value", "Protocol", "Source")
    head = "".join(f"<th>{title}</th>" for title in heads)
    return (
        '<section id="published"><h2>Published figures</h2><p class="caption">Printed by their authors under their own '
        "protocol; compare with the tables above only where data, split and metric are the same.</p>"
        f'<div class="scroll"><table class="text"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def _failures(report: Report) -> str:
    items = "".join(f"<li><code>{escape(key)}</code>: {escape(error)}</li>" for key, error in report.failures)
    return f'<section id="failures"><h2>Failed units</h2><ul class="error">{items}</ul></section>'


def _provenance(run: Run, report: Report) -> str:
    facts = [("run", run.path.name), *report.versions.items()]
    facts += [(f"data of {table.title}", table.data_digest) for table in report.tables if table.data_digest]
    rows = "".join(f"<tr><td>{escape(n)}</td><td><code>{escape(str(v))}</code></td></tr>" for n, v in facts)
    recipe = f"<h3>Recipe</h3><pre>{escape(_yaml(report.recipe))}</pre>" if report.recipe else ""
    return (
        '<section id="provenance"><h2>Provenance</h2>'
        f'<table class="facts"><tbody>{rows}</tbody></table>{recipe}</section>'
    )


def _yaml(value: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    buffer = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 100
    writer.dump(value, buffer)
    return buffer.getvalue()


def _figure(drawing: str, caption: str, kind: str = "column") -> str:
    return f'<figure class="{kind}">{drawing}<figcaption>{escape(caption)}</figcaption></figure>'
