"""What a table says in plain words: where training an encoder was not worth it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wfm_cli.core.evaluation.draws import Budget, budget_words, per_class
from wfm_cli.core.evaluation.metrics import METRICS, Metric

Attrs = Mapping[str, Any]
FEW = 3
"""Encoders that get a sentence each; of more, those that are beaten share one."""


def findings(units: Sequence[Attrs]) -> list[str]:
    """One sentence for every task and budget at which a row that needs no pretraining is ahead of an encoder.

    Args:
        units: Attributes of the units of a run in planned order; failed ones are passed over.

    Returns:
        Sentences in the order of tasks and budgets; empty when encoders lead everywhere or there is none.
    """
    groups: dict[tuple[Any, ...], list[Attrs]] = {}
    order: dict[Any, int] = {}
    for attrs in units:
        if attrs.get("status") == "ok":
            place = order.setdefault(attrs["task"], len(order))
            groups.setdefault((place, str(attrs.get("split")), _rank(attrs["budget"])), []).append(attrs)
    return [
        line for key in sorted(groups) for metric in _headlines(groups[key]) for line in _group(groups[key], metric)
    ]


def _rank(budget: Budget) -> str:
    """Budgets as text that sorts by size: labels in all, labels per class, all labels."""
    each = per_class(budget)
    return f"{budget:012d}" if isinstance(budget, int) else f"per class {each:012d}" if each else "~"


def _headlines(units: Sequence[Attrs]) -> list[Metric]:
    """The primary metric, or all metrics of a predictive task that say how good its predictions are."""
    names = units[0].get("columns") or [units[0]["primary"]]
    return [metric for metric in (METRICS[name] for name in names) if metric.unit]


def _group(units: Sequence[Attrs], metric: Metric) -> Iterator[str]:
    """Sentences about one task and budget: about all encoders at once where all are beaten or there are
    many, else one by one."""
    several = len({unit.get("probe") for unit in units if unit["role"] != "reference"}) > 1
    if several:
        units = [unit if unit["role"] == "reference" else {**unit, "label": _probed(unit)} for unit in units]
    encoders = [unit for unit in units if unit["role"] == "encoder"]
    others = sorted((u for u in units if u["role"] != "encoder"), key=lambda u: _mean(u, metric))
    if metric.direction == "max":
        others.reverse()
    if not encoders or not others:
        return
    best = (max if metric.direction == "max" else min)(encoders, key=lambda unit: _mean(unit, metric))
    if _better(others[0], best, metric):
        yield _sentence(others, best, metric, f"every encoder (the best is {best['label']})")
        return
    beaten = [encoder for encoder in encoders if _better(others[0], encoder, metric)]
    if (several or len(encoders) > FEW) and len(beaten) > 1:
        nearest = (max if metric.direction == "max" else min)(beaten, key=lambda unit: _mean(unit, metric))
        whom = f"{len(beaten)} of {len(encoders)} rows with an encoder (the best of them is {nearest['label']})"
        yield _sentence(others, nearest, metric, whom)
        return
    for encoder in beaten:
        yield _sentence(others, encoder, metric, str(encoder["label"]))


def _sentence(others: Sequence[Attrs], encoder: Attrs, metric: Metric, whom: str) -> str:
    """That the first of `others` is ahead of `encoder`, by how much, and which others are so too."""
    head, *rest = [unit for unit in others if _better(unit, encoder, metric)]
    budget = budget_words(head["budget"])
    doubt = "" if _apart(head, encoder, metric) else ", but their intervals overlap"
    names = ", ".join(str(unit["label"]) for unit in rest)
    also = f"; so {'is' if len(rest) == 1 else 'are'} {names}" if rest else ""
    return (
        f"{head['task_title']}, {budget}: {head['label']} ({_what(head)}) is ahead of {whom}: {metric.title} "
        f"{_text(head, metric)} against {_text(encoder, metric)}{doubt}{also}."
    )


def _probed(unit: Attrs) -> str:
    """Label with the probe, in tables of several probes; a label that names it already stays as it is."""
    label, probe = str(unit["label"]), str(unit["probe"])
    return label if probe in label else f"{label}, {probe}"


def _what(unit: Attrs) -> str:
    if unit.get("columns"):
        words = {"control": "untrained weights", "supervised": "labels alone", "baseline": "no encoder"}
        return words.get(unit["role"], "no training")
    if unit.get("probe") == "scratch" or unit["role"] == "supervised":
        return "labels alone"
    return {"control": "untrained weights", "reference": "no input at all"}.get(unit["role"], "no training")


def _mean(unit: Attrs, metric: Metric) -> float:
    return float(unit["metrics"][metric.name]["mean"])


def _better(a: Attrs, b: Attrs, metric: Metric) -> bool:
    difference = _mean(a, metric) - _mean(b, metric)
    return difference > 0 if metric.direction == "max" else difference < 0


def _interval(unit: Attrs, metric: Metric) -> tuple[float, float]:
    """Over seeds where there are enough of them, else over test samples."""
    entry = unit["metrics"][metric.name]
    mean, half = float(entry["mean"]), entry.get("half_width")
    if half:
        return mean - half, mean + half
    boot = entry.get("boot")
    return (float(boot[0]), float(boot[1])) if boot else (mean, mean)


def _apart(a: Attrs, b: Attrs, metric: Metric) -> bool:
    first, second = _interval(a, metric), _interval(b, metric)
    return first[0] > second[1] or second[0] > first[1]


def _text(unit: Attrs, metric: Metric) -> str:
    entry = unit["metrics"][metric.name]
    digits = 1 if metric.unit == "%" else 3 if unit.get("columns") else 2
    half = entry.get("half_width")
    spread = f" ± {half:.{digits}f}" if half else ""
    return f"{entry['mean']:.{digits}f}{spread} {metric.unit}"
