"""From predictions to numbers: metrics of the three tasks, their means, intervals and curves over the horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.forecast.data import Windows
from wfm_cli.core.evaluation.forecast.metrics import displacement, distance_based_accuracy, power_loss, rssi, top
from wfm_cli.core.evaluation.metrics import METRICS
from wfm_cli.core.evaluation.statistics import t_interval

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One metric of S trainings on W windows."""

    windows: Values
    """(S, W); the metric is their mean."""
    steps: Values
    """(S, W, K); the curve is their mean over the windows."""
    root: bool = False
    """Whether both means are of squares, whose root is the metric."""


def measure_positions(predicted: Values, windows: Windows) -> dict[str, Measured]:
    """ADE and FDE in metres of (S, W', K, 2) predictions of the test windows."""
    distance = displacement(predicted, windows.ahead(windows.position)[windows.test])
    return {"ade": Measured(distance.mean(-1), distance), "fde": Measured(distance[..., -1], distance)}


def measure_beams(scores: NDArray[np.floating], windows: Windows) -> dict[str, Measured]:
    """Top-1, top-3 and DBA in percent, lost power in dB, of (S, W', K, beams) scores of the test windows."""
    true = windows.ahead(windows.beam)[windows.test]
    power = windows.ahead(windows.power_db)[windows.test]
    made = {
        "top1": np.stack([100 * top(one, true, 1) for one in scores]),
        "top3": np.stack([100 * top(one, true, 3) for one in scores]),
        "power_loss": np.stack([power_loss(one, power) for one in scores]),
        "dba": np.stack([100 * distance_based_accuracy(one, true) for one in scores]),
    }
    return {name: Measured(values.mean(-1), values) for name, values in made.items()}


def measure_rssi(predicted: Values, windows: Windows) -> dict[str, Measured]:
    """Errors in dB of (S, W', K) predicted RSSI of the test windows.

    `rssi_rmse` is the root of the mean of all squares, `rssi_rmse_window` the mean over windows of the root over their
    steps (equation 43 as printed, then averaged), which is never larger.
    """
    wrong = predicted - rssi(windows.ahead(windows.power_db)[windows.test])
    squares = np.square(wrong)
    return {
        "rssi_rmse": Measured(squares.mean(-1), squares, root=True),
        "rssi_rmse_window": Measured(np.sqrt(squares.mean(-1)), np.abs(wrong)),
        "rssi_mae": Measured(np.abs(wrong).mean(-1), np.abs(wrong)),
    }


MEASURES: Mapping[str, Callable[[Any, Windows], dict[str, Measured]]] = {
    "localisation": measure_positions,
    "beam_prediction": measure_beams,
    "rssi_prediction": measure_rssi,
}
"""By the task."""


class Resampled:
    """Resampled test sets: whole drives are drawn, as windows of one drive tell nearly the same, and trainings too."""

    def __init__(self, sequence: NDArray[np.int64], resamples: int, seed: int = 0, level: float = 0.95) -> None:
        drives, self._drive = np.unique(sequence, return_inverse=True)
        self._rng = np.random.default_rng(seed)
        shares = np.full(len(drives), 1 / len(drives))
        self._weights = self._rng.multinomial(len(drives), shares, size=resamples).astype(np.float64)
        self._member = np.eye(len(drives))[self._drive]  # (W, drives)
        self._ends = ((1 - level) / 2, (1 + level) / 2)

    def interval(self, values: Values, root: bool) -> tuple[Values, Values] | None:
        """Ends of the interval of the mean over the first two axes of (S, W, ...); None without resamples."""
        if not len(self._weights):
            return None
        sums = np.einsum("sw...,wd->ds...", values, self._member)
        weights = self._weights / (self._weights @ self._member.sum(0))[:, None]
        means = np.tensordot(weights, sums, 1)  # (R, S, ...)
        means = np.sqrt(means) if root else means
        drawn = np.random.default_rng(1).integers(0, means.shape[1], means.shape[:2])
        index = drawn.reshape(*drawn.shape, *([1] * (means.ndim - 2)))
        mixed = np.take_along_axis(means, np.broadcast_to(index, means.shape), 1).mean(1)
        low, high = np.quantile(mixed, self._ends, axis=0)
        return low, high


def summarise(measured: Mapping[str, Measured], resampled: Resampled) -> dict[str, Any]:
    """Attributes of a unit: mean, interval over drives and trainings, spread over trainings, curve over the horizon."""
    return {name: _summary(name, one, resampled) for name, one in measured.items()}


def plain(name: str, value: float) -> dict[str, Any]:
    """Attributes of a number without interval."""
    metric = METRICS[name]
    return {"mean": value, "half_width": None, "direction": metric.direction, "unit": metric.unit, "boot": None}


def _summary(name: str, one: Measured, resampled: Resampled) -> dict[str, Any]:
    seeds = np.sqrt(one.windows.mean(1)) if one.root else one.windows.mean(1)
    curve = (np.sqrt(one.steps.mean(1)) if one.root else one.steps.mean(1)).mean(0)
    ends, around = resampled.interval(one.windows, one.root), resampled.interval(one.steps, one.root)
    mean, half = t_interval(seeds)
    return {
        **plain(name, mean),
        "boot": None if ends is None else [float(end) for end in ends],
        "seed_half_width": None if np.isnan(half) else half,
        "horizon": {
            "mean": curve.tolist(),
            "low": None if around is None else around[0].tolist(),
            "high": None if around is None else around[1].tolist(),
        },
    }
