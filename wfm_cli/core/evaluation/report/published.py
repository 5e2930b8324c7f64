"""Published figures of a task, and one spelling for the label budgets of papers and of our units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from wfm_cli.core.evaluation.draws import per_class
from wfm_cli.core.evaluation.report.model import Budget, Published
from wfm_cli.errors import InputError

PublishedFigures = Callable[[str], Sequence[Mapping[str, Any]]]
"""Published figures of a task by its name: {system, protocol, metric, unit, budget, value, source}."""


def published_figures(task: str) -> Sequence[Mapping[str, Any]]:
    """Published figures of a task of wfm; none for a task that this version does not know."""
    from wfm_cli.core.evaluation.tasks import load_task

    try:
        return [dict(entry) for entry in load_task(task).published]
    except InputError:
        return ()


def normal_budget(value: Any) -> Budget:
    """One spelling for each budget: 10, `"all"`, or `"10 %"` for a share."""
    if isinstance(value, float) and 0 < value <= 1:
        return "all" if value == 1 else f"{100 * value:g} %"
    if isinstance(value, int | float):
        return int(value)
    text = str(value).strip()
    if text.endswith("%"):
        text = f"{text[:-1].strip()} %"
    return "all" if text == "100 %" else int(text) if text.isdigit() else text


def budget_order(value: Budget) -> tuple[int, float, str]:
    """Sorting key: counts, then labels per class, then shares, then all labels."""
    if isinstance(value, int):
        return 0, value, ""
    each = per_class(value)
    if each is not None:
        return 1, each, ""
    share = value.partition(" %")[0]
    number = float(share) if share.replace(".", "", 1).isdigit() else 0.0
    return (3, 0, "") if value == "all" else (2, number, value)


def group_published(entries: Iterable[Mapping[str, Any]]) -> list[Published]:
    """One entry for each system, protocol and metric, with its values over budgets."""
    grouped: dict[tuple[str, str, str, str, str], dict[Budget, float]] = {}
    for entry in entries:
        system, protocol, metric, unit, source = (
            str(entry.get(name, "")) for name in ("system", "protocol", "metric", "unit", "source")
        )
        values = grouped.setdefault((system, protocol, metric, unit, source), {})
        values[normal_budget(entry.get("budget", "all"))] = float(entry["value"])
    protocols = list(dict.fromkeys((protocol, metric, source) for _, protocol, metric, _, source in grouped))
    return [
        Published(
            system, protocol, metric, unit, source,
            values=dict(sorted(values.items(), key=lambda item: budget_order(item[0]))),
            mark=_mark(protocols.index((protocol, metric, source))),
        )
        for (system, protocol, metric, unit, source), values in grouped.items()
    ]  # fmt: skip


def _mark(index: int) -> str:
    """a, b, ... z, aa, ab ..."""
    return (_mark(index // 26 - 1) if index >= 26 else "") + "abcdefghijklmnopqrstuvwxyz"[index % 26]
