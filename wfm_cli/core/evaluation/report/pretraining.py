"""What a pretraining run achieved, beside what needs no training at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.model import Pretraining
from wfm_cli.core.store.run import Run
from wfm_cli.core.training.references import REFERENCES

Columns = Mapping[str, NDArray[np.float64]]

QUANTILE = re.compile(r"(?P<system>.*nmse.*?)(?:_db)?_(?P<quantile>median|p10|p90)")
"""Column of a reconstruction error in dB: `val_nmse_db_median`, `val_nmse_rank1_db_p90` ..."""
_REFERENCE = re.compile(r"rank_?(\d+)")
UNTRAINED = " (no training)"
"""How the titles of references end."""


def summarise(run: Run) -> Pretraining | None:
    """Facts, reconstruction table and verdict of a pretraining run; None for a run of another kind."""
    if run.kind != "pretrain":
        return None
    columns = run.curves.read()
    summary: Mapping[str, Any] = run.attrs.get("summary") or {}
    found = _final(summary) or reconstruction(columns, best_row(run, columns))
    rows = tuple((system_title(name), values) for name, values in found)
    return Pretraining(
        facts=tuple(_facts(run, columns)),
        rows=rows,
        verdict=str(summary.get("verdict") or _verdict(rows)),
        alarm=str(summary.get("alarm") or ""),
    )


def _final(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """The reconstruction table of a finished run."""
    table = summary.get("quantiles") or {}
    return [
        (name, {q: float(row[q]) for q in ("median", "p10", "p90") if row.get(q) is not None})
        for name, row in table.items()
        if row.get("unit") == "dB"
    ]


def best_row(run: Run, columns: Columns) -> int | None:
    """Row of the kept weights (attribute `best_step`), else None."""
    step = run.attrs.get("best_step")
    if step is None or "step" not in columns:
        return None
    found = np.flatnonzero(columns["step"] == float(step))
    return int(found[-1]) if found.size else None


def reconstruction(columns: Columns, row: int | None) -> list[tuple[str, dict[str, float]]]:
    """Quantiles in dB of the model and its training-free references at one row (the last known one by default)."""
    systems: dict[str, dict[str, float]] = {}
    for name, values in columns.items():
        match = QUANTILE.fullmatch(name)
        value = at(values, row)
        if match and value is not None:
            systems.setdefault(match["system"], {})[match["quantile"]] = value
    return sorted(systems.items(), key=lambda item: (not of_model(item[0]), reference_rank(item[0]) or 0))


def at(values: NDArray[np.float64], row: int | None) -> float | None:
    """Value at `row` when it is known there, else the last known value; None when there is none."""
    if row is not None and row < len(values) and np.isfinite(values[row]):
        return float(values[row])
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else None


def system_title(name: str) -> str:
    """`val_nmse` is the model, `val_nmse_future` too, on another task; `val_nmse_rank1` the completion of rank 1, which
    needs no training."""
    rank, plain = reference_rank(name), plain_reference(name)
    if plain is not None:
        return REFERENCES[plain] + UNTRAINED
    if rank is not None:
        return f"rank-{rank} completion{UNTRAINED}"
    return "this model, future hidden" if name.endswith("_future") else "this model"


def of_model(name: str) -> bool:
    """Whether a column or array is an error of the model, not of a method without training."""
    return reference_rank(name) is None and plain_reference(name) is None


def plain_reference(name: str) -> str | None:
    """Which reference other than a completion a column or array stands for; None for all others."""
    found = name.rpartition("nmse_")[2]
    return found if found in REFERENCES else None


def reference_rank(name: str) -> int | None:
    """Rank of the completion that a column or array stands for; None for the model's own errors."""
    match = _REFERENCE.search(name)
    return int(match[1]) if match else None


def _verdict(rows: tuple[tuple[str, dict[str, float]], ...]) -> str:
    ours = next((v["median"] for label, v in rows if label == "this model" and "median" in v), None)
    others = [(v["median"], label) for label, v in rows if label.endswith(UNTRAINED) and "median" in v]
    if ours is None or not others:
        return ""
    best, label = min(others)
    gap = abs(ours - best)
    if ours < best:
        return f"The model reconstructs {gap:.1f} dB better (median) than {label}, the best training-free reference."
    return f"A method without training beats the model: {label} is {gap:.1f} dB better (median)."


def _facts(run: Run, columns: Columns) -> Iterator[tuple[str, str]]:
    attrs = run.attrs
    recipe: Mapping[str, Any] = attrs.get("recipe") or {}
    model: Mapping[str, Any] = attrs.get("model") or recipe.get("model") or {}
    if model:
        yield "model", " ".join(str(model[k]) for k in ("kind", "wiring") if model.get(k))
    if attrs.get("parameters"):
        yield "parameters", f"{int(attrs['parameters']):,}"
    if isinstance(objective := recipe.get("objective"), Mapping):
        yield "objective", str(objective.get("kind", "")).replace("_", " ")
    if isinstance(data := recipe.get("data"), Mapping) and data.get("store"):
        yield "data", str(data["store"]).rstrip("/").rsplit("/", 1)[-1]
    steps = columns.get("step")
    if steps is not None and steps.size:
        planned = attrs.get("steps")
        yield "steps", f"{int(steps[-1]):,}" + (f" of {int(planned):,}" if planned else "")
    if attrs.get("best_step") is not None:
        yield "best step", f"{int(attrs['best_step']):,}"
    if attrs.get("device"):
        count = int(attrs.get("devices") or 1)
        yield "device", str(attrs["device"]) + (f" x {count}" if count > 1 else "")
    for name, title, form in (("loss", "training loss", ".4g"), ("samples_per_s", "throughput", ",.0f")):
        value = at(columns[name], None) if name in columns else None
        if value is not None:
            yield title, f"{value:{form}}" + (" samples/s" if name == "samples_per_s" else "")
