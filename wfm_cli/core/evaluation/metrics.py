"""Scores of predictions: per seed, and per resampled test set, from the same formulas.

Every class metric is a function of three counts per class (hits, truths, guesses) and every distance metric of sums
over samples, so a resampled test set is a row of integer weights and one sparse product scores all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Metric:
    """What a number means."""

    name: str
    """Key in results."""
    title: str
    """Words for people."""
    direction: Literal["max", "min"]
    """Whether more or less is better."""
    unit: str
    """`%`, `m`, `dB` or nothing; values are stored in this unit."""


_ALL = (
    Metric("macro_f1", "macro F1", "max", "%"),
    Metric("weighted_f1", "weighted F1", "max", "%"),
    Metric("pca", "mean per-class accuracy", "max", "%"),
    Metric("top1", "top-1 accuracy", "max", "%"),
    Metric("top3", "top-3 accuracy", "max", "%"),
    Metric("rmse", "RMSE", "min", "m"),
    Metric("mae", "MAE per coordinate", "min", "m"),
    Metric("mean_distance", "mean distance", "min", "m"),
    Metric("median_distance", "median distance", "min", "m"),
    Metric("ade", "ADE", "min", "m"),
    Metric("fde", "FDE", "min", "m"),
    Metric("power_loss", "lost power", "min", "dB"),
    Metric("dba", "DBA", "max", "%"),
    Metric("rssi_rmse", "RMSE", "min", "dB"),
    Metric("rssi_rmse_window", "mean RMSE of windows", "min", "dB"),
    Metric("rssi_mae", "MAE", "min", "dB"),
    Metric("parameters_k", "parameters (k)", "min", ""),
    Metric("rank_me", "RankMe", "max", ""),
    Metric("lda_rank", "LDA rank", "max", ""),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name."""


@dataclass(frozen=True)
class ClassPredictions:
    """Guesses of S probes on the same n test samples."""

    labels: NDArray[np.int64]
    """True classes, (n,)."""
    guesses: NDArray[np.int64]
    """Best class, (S, n)."""
    top3: NDArray[np.bool_] | None
    """Whether the truth is among the three best classes, (S, n); None for tasks of three classes or fewer."""
    classes: int
    """Number of classes."""

    def scores(self, weights: Weights | None = None) -> dict[str, Floats]:
        """Class metrics in percent, each (R, S).

        A class counts when it occurs among the (resampled) truths or guesses, as in the usual definition of macro F1;
        mean per-class accuracy runs over the classes that occur among the truths.

        Args:
            weights: How often each sample is counted, (n, R); once each (R = 1) if left out.
        """
        seeds, n = self.guesses.shape
        weights = np.ones((n, 1), dtype=np.float32) if weights is None else weights
        right = self.guesses == self.labels
        truths = _counts(self.labels[None], None, self.classes, weights)
        guesses = _counts(self.guesses, None, self.classes, weights)
        hits = _counts(np.broadcast_to(self.labels, (seeds, n)), right, self.classes, weights)
        total = weights.sum(0, dtype=np.float64)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * hits / (truths + guesses)
            recall = hits / truths
        scores = {
            "macro_f1": np.nanmean(f1, -1),
            "weighted_f1": (np.nan_to_num(f1) * truths).sum(-1) / total,
            "pca": np.nanmean(recall, -1),
            "top1": hits.sum(-1) / total,
        }
        if self.top3 is not None:
            scores["top3"] = (self.top3.astype(np.float32) @ weights).T.astype(np.float64) / total
        return {name: 100 * values for name, values in scores.items()}


@dataclass(frozen=True)
class ValuePredictions:
    """Estimated positions of S probes on the same n test samples."""

    labels: Floats
    """Truth, (n, k), metres."""
    guesses: Floats
    """Estimates, (S, n, k), metres."""

    def scores(self, weights: Weights | None = None) -> dict[str, Floats]:
        """Distance metrics in metres, each (R, S).

        `rmse` is the root of the mean squared Euclidean distance, `mae` the mean absolute error of one coordinate.

        Args:
            weights: How often each sample is counted, (n, R); once each (R = 1) if left out.
        """
        error = self.guesses - self.labels
        distance = np.sqrt((error**2).sum(-1))
        weights = np.ones((distance.shape[1], 1), dtype=np.float32) if weights is None else weights
        exact = weights.astype(np.float64)
        total = exact.sum(0)
        return {
            "rmse": np.sqrt(distance**2 @ exact / total).T,
            "mae": (np.abs(error).mean(-1) @ exact / total).T,
            "mean_distance": (distance @ exact / total).T,
            "median_distance": np.stack([_weighted_median(row, exact) for row in distance], -1),
        }


Predictions = ClassPredictions | ValuePredictions
"""Predictions of either kind of task."""


def _counts(values: NDArray[np.int64], keep: NDArray[np.bool_] | None, classes: int, weights: Weights) -> Floats:
    """Weighted occurrences of every class in S rows of n values: (R, S, C), rows where `keep` is False left out."""
    seeds, n = values.shape
    cells = values + classes * np.arange(seeds)[:, None]
    sample = np.broadcast_to(np.arange(n), (seeds, n))
    if keep is not None:
        cells, sample = cells[keep], sample[keep]
    cells, sample = cells.ravel(), sample.ravel()
    one = np.ones(cells.size, dtype=np.float32)
    table = sparse.csr_array((one, (cells, sample)), shape=(seeds * classes, n))
    return np.asarray(table @ weights, dtype=np.float64).T.reshape(weights.shape[1], seeds, classes)


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of every resampled set, (R,): the mean of the two middle values when their number is even."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order], axis=0)
    total = below[-1]
    lower = (below > (total - 1) // 2).argmax(0)
    upper = (below > total // 2).argmax(0)
    ordered = values[order]
    middle: Floats = 0.5 * (ordered[lower] + ordered[upper])
    return middle
