"""Tables of the HTML page."""

from __future__ import annotations

from html import escape
from typing import Any

from wfm_cli.core.evaluation.report.collect import ok_units
from wfm_cli.core.evaluation.report.model import Metric
from wfm_cli.core.evaluation.report.view import Text, View
from wfm_cli.core.store.run import Run


def results_table(layout: View) -> str:
    """One task: a `<tbody>` for each group of rows."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in layout.columns)
    bodies = ""
    for section in layout.sections:
        title = f'<tr><th colspan="{len(layout.columns)}" scope="rowgroup">{escape(section.title)}</th></tr>'
        rows = "".join("<tr>" + "".join(map(_entry, row)) + "</tr>" for row in section.rows)
        bodies += f'<tbody class="group">{title}{rows}</tbody>'
    return f'<div class="scroll"><table class="results"><thead><tr>{head}</tr></thead>{bodies}</table></div>'


def _entry(entry: Text) -> str:
    spread = ""
    if entry.spread:
        spread = f' <span class="spread">± {escape(entry.spread)}</span>'
    elif entry.interval:
        spread = f' <span class="spread">[{entry.interval[0]}, {entry.interval[1]}]</span>'
    elif entry.remark:
        spread = f' <span class="spread">({escape(entry.remark)})</span>'
    spread += '<span class="star">*</span>' if entry.star else ""
    mark = f"<sup>{entry.mark}</sup>" if entry.mark else ""
    style = f' class="{entry.style}"' if entry.style else ""
    return f'<td{style}><span class="value">{escape(entry.value)}</span>{spread}{mark}</td>'


def units_table(run: Run) -> str:
    """Every metric of every unit that did not fail."""
    units = list(ok_units(run))
    metrics: dict[str, Metric] = {}
    for unit in units:
        for name, entry in (unit.attrs.get("metrics") or {}).items():
            metrics.setdefault(name, Metric(name, str(entry.get("unit", "")), str(entry.get("direction", "max"))))
    titles = ("Encoder", "task", "probe", "labels", *(metric.header for metric in metrics.values()), "seconds")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = "".join(_unit_row(unit.attrs, metrics) for unit in units)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _unit_row(attrs: dict[str, Any], metrics: dict[str, Metric]) -> str:
    cells = [str(attrs.get(name, "")) for name in ("label", "task", "probe", "budget")]
    for name, metric in metrics.items():
        mean = (attrs.get("metrics") or {}).get(name, {}).get("mean")
        cells.append(metric.text(mean) if isinstance(mean, int | float) else "–")
    seconds = attrs.get("seconds")
    cells.append(f"{seconds:.1f}" if isinstance(seconds, int | float) else "–")
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
