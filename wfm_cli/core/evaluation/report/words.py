"""What is said about a table: its caption, the notes below it, footnotes, and the leak of its split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wfm_cli.core.evaluation.draws import budget_words
from wfm_cli.core.evaluation.report.model import Metric, Published, Report, TaskTable
from wfm_cli.core.evaluation.taskdata import FOLDS

SIGNIFICANT = 0.05
"""Level of the corrected tests."""


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


def notes(table: TaskTable) -> Iterator[str]:
    """How to read a table of label budgets."""
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


def metric_notes(table: TaskTable) -> Iterator[str]:
    """How to read a table of metrics."""
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


def leak_sentence(leak: Mapping[str, Any]) -> str:
    """How near the test users of a split stand to training users, in words; empty when it was not measured."""
    share, near, middle = leak.get("share"), leak.get("below_m"), leak.get("median_m")
    if share is not None and "group" in leak:
        return f"{100 * share:.1f} % of the test samples are of a {leak['group'].replace('_', ' ')} seen in training"
    if share is None or near is None:
        return ""
    text = f"{100 * share:.1f} % of the test users stand nearer than {near:g} m to a training user"
    return text + (f" (median {middle:.1f} m)" if middle is not None else " (most have none in their place)")


def footnote(entry: Published) -> str:
    """Metric, protocol and source of published figures."""
    text = ", ".join(part for part in (metric_title(entry), entry.protocol) if part)
    return f"{text[:1].upper()}{text[1:]}" + (f" ({entry.source})." if entry.source else ".")


def elsewhere(entries: Sequence[Published]) -> Iterator[str]:
    """Published figures in words, for budgets that the table has no column for."""
    parts = []
    for entry in entries:
        amounts = (f"{value:g} {entry.unit}".strip() + f" with {budget_words(b)}" for b, value in entry.values.items())
        parts.append(f"{entry.system} {', '.join(amounts)} [{entry.mark}]")
    if parts:
        yield f"Published for other budgets: {'; '.join(parts)}."


def metric_title(entry: Published) -> str:
    """Name of the metric of published figures."""
    return Metric(entry.metric, entry.unit, "max").title if entry.metric else ""


def _span(numbers: Sequence[int]) -> str:
    if not numbers:
        return "0"
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"
