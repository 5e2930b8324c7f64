"""Reports as LaTeX tables (booktabs), ready to be `\\input` into a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wfm_cli.core.evaluation.report.model import Pretraining, Report, TaskTable, fixed
from wfm_cli.core.evaluation.report.view import Text, view

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "×": r"$\times$", "²": r"\textsuperscript{2}", "°": r"$^\circ$",
    "≤": r"$\leq$", "≥": r"$\geq$", "µ": r"\textmu{}", "…": r"\ldots{}", "→": r"$\to$", "\n": " ",
}  # fmt: skip


def text(report: Report) -> str:
    """All tables of a report, each in its own `table` environment; needs `\\usepackage{booktabs}`."""
    lines = [f"% {_comment(report.name)}: {report.kind} run, made with wfm {report.versions.get('wfm-toolkit', '?')}."]
    lines.append(r"% Needs \usepackage{booktabs}.")
    if report.pretraining and report.pretraining.rows:
        lines += _pretraining(report, report.pretraining)
    for table in report.tables:
        lines += _task(report, table)
    lines += [f"% Finding: {_comment(sentence)}" for sentence in report.findings]
    lines += [f"% Failed: {key}: {_comment(error)}" for key, error in report.failures]
    return "\n".join(lines) + "\n"


def escape(value: str) -> str:
    """`value` as literal text of a LaTeX document."""
    return "".join(_SPECIAL.get(character, character) for character in value)


def _task(report: Report, table: TaskTable) -> Iterator[str]:
    layout = view(table)
    version = report.versions.get("wfm-toolkit", "unknown")
    digest = f", data {table.data_digest[:12]}" if table.data_digest else ""
    yield r"\begin{table*}[t]"
    yield r"\centering"
    yield rf"\caption{{{escape(f'{layout.title}. {layout.caption}')} (wfm {escape(version + digest)}).}}"
    yield rf"\label{{tab:{_slug(report.name)}-{_slug(table.task)}}}"
    yield r"\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\begin{{tabular}}{{l{'r' * (len(layout.columns) - 1)}}}"
    yield r"\toprule"
    yield f" & & {_span(table)}" + r" \\"
    yield rf"\cmidrule(l){{3-{len(layout.columns)}}}"
    yield _row(["", *map(escape, layout.columns[1:])])
    for section in layout.sections:
        yield r"\midrule"
        yield rf"\multicolumn{{{len(layout.columns)}}}{{l}}{{\textit{{{escape(section.title)}}}}} \\"
        yield from (_row([_entry(entry) for entry in row]) for row in section.rows)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    notes = [escape(note) for note in layout.notes]
    notes += [rf"\textsuperscript{{{mark}}}{escape(note)}" for mark, note in layout.footnotes]
    if notes:
        yield r"\par\smallskip"
        yield rf"\parbox{{\linewidth}}{{\footnotesize {' '.join(notes)}}}"
    yield r"\end{table*}"


def _span(table: TaskTable) -> str:
    if table.columns:
        return rf"\multicolumn{{{len(table.columns)}}}{{c}}{{all frames ahead}}"
    return rf"\multicolumn{{{len(table.budgets)}}}{{c}}{{{escape(table.metric.header)} by training labels}}"


def _pretraining(report: Report, summary: Pretraining) -> Iterator[str]:
    facts = "; ".join(f"{name} {value}" for name, value in summary.facts)
    yield r"\begin{table}[t]"
    yield r"\centering"
    yield rf"\caption{{Reconstruction of masked tokens. {escape(facts)}.}}"
    yield rf"\label{{tab:{_slug(report.name)}-pretraining}}"
    yield r"\footnotesize\setlength{\tabcolsep}{4pt}"
    yield r"\begin{tabular}{lrrr}"
    yield r"\toprule"
    yield r" & \multicolumn{3}{c}{NMSE (dB)} \\"
    yield r"\cmidrule(l){2-4}"
    yield r" & median & p10 & p90 \\"
    yield r"\midrule"
    for label, numbers in summary.rows:
        values = (f"${fixed(numbers[q], 2)}$" if q in numbers else "--" for q in ("median", "p10", "p90"))
        yield _row([escape(label), *values])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _entry(entry: Text) -> str:
    numeric = re.fullmatch(r"[-+]?[\d.]+", entry.value) is not None
    if not numeric:
        return escape(entry.value) + (rf"\textsuperscript{{{entry.mark}}}" if entry.mark else "")
    value = rf"\mathbf{{{entry.value}}}" if entry.style == "best" else entry.value
    if entry.spread:
        value += rf" \pm {entry.spread}"
    value = f"${value}$"
    if entry.interval:
        value += rf" {{\scriptsize $[{entry.interval[0]}, {entry.interval[1]}]$}}"
    elif entry.remark:
        value += rf" {{\scriptsize ({escape(entry.remark)})}}"
    value += "*" if entry.star else ""
    return rf"\underline{{{value}}}" if entry.style == "tied" else value


def _slug(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")


def _comment(value: str) -> str:
    return value.replace("\n", " ")
