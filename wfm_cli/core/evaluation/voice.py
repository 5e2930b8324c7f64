"""What a probe or a benchmark says on stderr along the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from wfm_cli.core.evaluation.draws import budget_words
from wfm_cli.core.evaluation.taskdata import TaskData
from wfm_cli.core.evaluation.units import UnitPlan


class Voice:
    """What is said on stderr along the way."""

    def __init__(self, enabled: bool, total: int = 0) -> None:
        self.enabled, self.total, self.done = enabled, total, 0

    def line(self, text: str) -> None:
        """One line, if anything is said at all."""
        if self.enabled:
            print(text, file=sys.stderr, flush=True)

    def opening(self, split: str, leak: Mapping[str, Any], first: TaskData) -> None:
        """The split, its sizes for the first task, and its leak."""
        words = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in leak.items()
        )
        sizes = f"{len(first.train)} train, {len(first.val)} val, {len(first.test)} test"
        if first.folds:
            sizes = f"{len(first.folds)} folds, {len(first.test)} test samples in all"
        self.line(f"split {split}: {sizes}; leak: {words or 'not measured'}")

    def skipped(self, count: int) -> None:
        """How many units need not be done."""
        self.done = count
        if count:
            self.line(f"{count} of {self.total} units are done already")

    def result(self, text: str) -> None:
        """The result of one unit, in words."""
        self.done += 1
        self.line(f"[{self.done}/{self.total}] {text}")

    def unit(self, plan: UnitPlan, attrs: Mapping[str, Any]) -> None:
        """The result of one unit."""
        self.done += 1
        head = f"[{self.done}/{self.total}] {plan.data.task.name}, {plan.row.label}, {plan.probe}, "
        head += budget_words(plan.budget)
        if attrs["status"] == "failed":
            self.line(f"{head}: failed ({attrs['error']})")
            return
        metric = plan.data.task.metric
        entry = attrs["metrics"][metric.name]
        half = "" if entry["half_width"] is None else f" ± {entry['half_width']:.1f}"
        self.line(f"{head}: {metric.title} {entry['mean']:.1f}{half} {metric.unit} ({attrs['seconds']:.1f} s)")
