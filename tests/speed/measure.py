"""How speed is measured: process CPU time on one thread, candidates interleaved, medians, ratios within one run.

CPU time does not count the moments in which a shared machine runs somebody else; interleaving lets whatever slows the
memory or the clock hit every candidate alike. Run `make speed`, or `python tests/speed/run.py [NAME ...]`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the speed table."""

    name: str
    """What is compared."""
    value: float
    """Measured ratio or rate."""
    unit: str
    """`x` for ratios, else a unit."""
    goal: float | None = None
    """What the project asks for; None for information."""
    at_least: bool = True
    """Whether the goal is a lower (True) or an upper bound."""
    note: str = ""
    """How the figure came about."""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def compare(candidates: Mapping[str, Callable[[], object]], *, repeats: int = 5, warmup: int = 1) -> dict[str, float]:
    """Median CPU seconds of one call of every candidate, candidates alternating within each repeat."""
    for _ in range(warmup):
        for call in candidates.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, call in candidates.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
