"""Tidy CSV: one line per unit and metric, and one per published figure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from wfm_cli.core.evaluation.report.model import Report
from wfm_cli.core.store.run import Run

COLUMNS = (
    "key", "task", "task_version", "label", "role", "encoder", "pooling", "probe", "dim", "budget", "n_train", "n_val",
    "n_test", "split", "metric", "unit", "direction", "primary", "mean", "half_width_95", "boot_lo_95", "boot_hi_95",
    "seeds", "status", "error", "seconds", "encoder_digest", "data_digest", "protocol", "source",
    "probe_kind", "class_weight", "trainable_parameters",
)  # fmt: skip
"""Columns of the CSV, in order."""

_COPIED = (
    "task", "task_version", "label", "role", "encoder", "pooling", "probe", "dim", "budget", "n_val", "n_test", "split",
    "status", "error", "seconds", "encoder_digest", "data_digest", "probe_kind", "class_weight", "trainable_parameters",
)  # fmt: skip


def text(run: Run, report: Report) -> str:
    """The CSV of a run. A failed unit has one line without metric; numbers keep all their digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for unit in run.units():
        if unit.attrs.get("kind") == "probe":
            writer.writerows(_lines(unit.key, unit.attrs))
    for table in report.tables:
        for entry in table.published:
            common = {"task": table.task, "label": entry.system, "role": "published", "metric": entry.metric}
            for budget, value in entry.values.items():
                found = {"budget": budget, "mean": value, "protocol": entry.protocol, "source": entry.source}
                writer.writerow({**common, **found, "status": "published"})
    return buffer.getvalue()


def curves(run: Run) -> str:
    """The training curves of a run as CSV, one line per logged row; empty cells where nothing was logged."""
    columns = run.curves.read()
    names = sorted(columns, key=lambda name: name != "step")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in zip(*(columns[name] for name in names), strict=True):
        writer.writerow("" if value != value else f"{value:.10g}" for value in row)
    return buffer.getvalue()


def horizon(run: Run) -> str:
    """Curves of predictive tasks: one line for every unit, metric and frame ahead."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("key", "task", "label", "role", "metric", "unit", "step", "mean", "lo_95", "hi_95"))
    for unit in run.units():
        for name, entry in (unit.attrs.get("metrics") or {}).items():
            curve = entry.get("horizon")
            for step, mean in enumerate(curve["mean"] if curve else (), 1):
                low, high = (curve[end][step - 1] if curve[end] else "" for end in ("low", "high"))
                head = [unit.key, *(unit.attrs.get(field) for field in ("task", "label", "role"))]
                writer.writerow([*head, name, entry.get("unit"), step, mean, low, high])
    return buffer.getvalue()


def _lines(key: str, attrs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    counts = attrs.get("n_train") or []
    counts = counts if isinstance(counts, list) else [counts]
    seeds = attrs.get("seeds") or []
    common: dict[str, Any] = {
        "key": key,
        **{name: attrs.get(name) for name in _COPIED},
        "n_train": f"{sum(counts) / len(counts):g}" if counts else "",
        "seeds": len(seeds),
    }
    if not attrs.get("metrics"):
        yield common
    for name, entry in (attrs.get("metrics") or {}).items():
        lo, hi = entry.get("boot") or ("", "")
        yield {
            **common,
            "metric": name,
            "primary": name == attrs.get("primary"),
            "unit": entry.get("unit"),
            "direction": entry.get("direction"),
            "mean": entry.get("mean"),
            "half_width_95": entry.get("half_width"),
            "boot_lo_95": lo,
            "boot_hi_95": hi,
        }
