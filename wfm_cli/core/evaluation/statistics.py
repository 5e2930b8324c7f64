"""Intervals and tests that stand beside every number: over seeds, and over the samples of the test set.

Two sources of doubt are told apart. *Seeds* redraw the labels (and the initial weights of controls): their spread gives
a Student t-interval. *Samples* are the test users that happened to be drawn: their spread gives a percentile bootstrap.
A single seed says nothing about seeds, so its half width is NaN and never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Score = Callable[[NDArray[np.generic], NDArray[np.generic]], ArrayLike]
"""Score of predictions. Plain: `(y (n,), pred (..., n)) -> float`. Batched: `(y (R, n), pred (R, ..., n)) -> (R,)`."""

MIN_SEEDS = 3
"""Fewer seeds than this get no interval: with two the t quantile is 12.7 and the width is noise itself."""

_CHUNK_ELEMENTS = 1 << 21  # resampled values held at once, 16 MiB of indices


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Mean and half width of the two-sided Student t-interval of independent repeats.

    Args:
        values: One value per seed, in the unit of the metric.
        level: Coverage of the interval.

    Returns:
        The mean, and the half width in the same unit; NaN when there are fewer than three values.

    Raises:
        ValueError: No value was given, or `level` is not between 0 and 1.
    """
    sample = np.asarray(values, dtype=np.float64).ravel()
    _check_level(level)
    if sample.size == 0:
        raise ValueError("an interval needs at least one value")
    mean = float(sample.mean())
    if sample.size < MIN_SEEDS:
        return mean, float("nan")
    quantile = float(stats.t.ppf(0.5 + level / 2, sample.size - 1))
    return mean, quantile * float(sample.std(ddof=1)) / float(np.sqrt(sample.size))


def bootstrap_interval(
    score: Score,
    y: ArrayLike,
    pred: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    *,
    level: float = 0.95,
    batched: bool = False,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a score over the samples of a test set.

    Args:
        score: Score of a resampled test set; see `Score` for its two forms.
        y: Truth, (n,).
        pred: Predictions, samples on the last axis: (n,), or (seeds, n) when the score averages over seeds.
        resamples: Number of resampled test sets.
        seed: Seed of the resampling; the same seed resamples the same users for every encoder.
        level: Coverage of the interval.
        batched: The score takes many resamples at once along a new first axis.

    Returns:
        Lower and upper end in the unit of the score. NaN scores (a resample that holds one class alone, say) are left
        out; (NaN, NaN) when none is left or `resamples` is 0.

    Raises:
        ValueError: No sample, shapes that differ, or a `level` not between 0 and 1.
    """
    truth, guess = _paired(y, pred)
    _check_level(level)
    draws = _resampled(score, truth, [guess], resamples, seed, batched)[0]
    return _percentiles(draws, level)


@dataclass(frozen=True)
class Difference:
    """Score of one encoder minus that of another on the same test samples, in the unit of the score."""

    mean: float
    """Difference on the test set itself."""
    lo: float
    """Lower end of the bootstrap interval."""
    hi: float
    """Upper end of the bootstrap interval."""
    p: float
    """Two-sided bootstrap p-value of "no difference"."""


def paired_bootstrap(
    score: Score,
    y: ArrayLike,
    pred: ArrayLike,
    baseline: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    *,
    level: float = 0.95,
    batched: bool = False,
) -> Difference:
    """Difference to a baseline, both scored on the same resampled users.

    Args:
        score: Score of a resampled test set; see `Score`.
        y: Truth, (n,).
        pred: Predictions of the encoder, (n,) or (seeds, n).
        baseline: Predictions of the baseline, the same shape or with another number of seeds.
        resamples: Number of resampled test sets.
        seed: Seed of the resampling.
        level: Coverage of the interval.
        batched: The score takes many resamples at once.

    Returns:
        Difference, its interval, and a two-sided p-value: twice the smaller share of resamples on either side of zero,
        one added so that it is never zero. Correct families of tests with `holm`.

    Raises:
        ValueError: No sample, shapes that differ, no resamples, or a `level` not between 0 and 1.
    """
    truth, guess = _paired(y, pred)
    _, other = _paired(y, baseline)
    _check_level(level)
    if resamples < 1:
        raise ValueError("a paired test needs at least one resample")
    ours, theirs = _resampled(score, truth, [guess, other], resamples, seed, batched)
    observed = _once(score, truth, guess, batched) - _once(score, truth, other, batched)
    return difference(ours, theirs, observed, level=level)


def difference(
    draws: NDArray[np.float64], baseline: NDArray[np.float64], observed: float, *, level: float = 0.95
) -> Difference:
    """Interval and two-sided p-value of a difference from scores of the same resampled test sets.

    Args:
        draws: Scores of the encoder, one per resample, (R,).
        baseline: Scores of the baseline on the same resamples, (R,).
        observed: Difference on the test set itself.
        level: Coverage of the interval.

    Returns:
        The difference; resamples in which either score is NaN are left out, p is 1 when none is left.
    """
    gaps = draws - baseline
    gaps = gaps[np.isfinite(gaps)]
    lo, hi = _percentiles(gaps, level)
    fewer = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    return Difference(observed, lo, hi, min(1.0, 2 * (fewer + 1) / (gaps.size + 1)))


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction: adjusted p-values that control the family-wise error without independence.

    Args:
        p_values: Raw p-values of one family, any order, each in [0, 1].

    Returns:
        Adjusted p-values in the same order: the running maximum of (m - rank) * p over ascending p, cut at 1.

    Raises:
        ValueError: A value outside [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not bool(np.all((raw >= 0) & (raw <= 1))):
        raise ValueError("p-values must be one row of numbers between 0 and 1")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not {level}")


def _paired(y: ArrayLike, pred: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    truth, guess = np.asarray(y), np.asarray(pred)
    if truth.ndim != 1 or truth.size == 0:
        raise ValueError(f"truth must be one row of at least one sample, not {truth.shape}")
    if guess.ndim < 1 or guess.shape[-1] != truth.size:
        raise ValueError(f"predictions {guess.shape} do not have one value for each of the {truth.size} samples")
    return truth, guess


def _once(score: Score, y: NDArray[np.generic], pred: NDArray[np.generic], batched: bool) -> float:
    if batched:
        return float(np.asarray(score(y[None], pred[None]), dtype=np.float64)[0])
    return float(np.asarray(score(y, pred), dtype=np.float64))


def _resampled(
    score: Score,
    y: NDArray[np.generic],
    preds: list[NDArray[np.generic]],
    resamples: int,
    seed: int,
    batched: bool,
) -> list[NDArray[np.float64]]:
    """Scores (resamples,) of each set of predictions, all on the same resampled samples."""
    rng = np.random.default_rng(seed)
    draws: list[list[NDArray[np.float64]]] = [[] for _ in preds]
    widest = max(pred.size for pred in preds)
    chunk = max(1, _CHUNK_ELEMENTS // widest)
    for start in range(0, resamples, chunk):
        index = rng.integers(0, y.size, size=(min(chunk, resamples - start), y.size))
        for row, pred in zip(draws, preds, strict=True):
            row.append(_scores(score, y, pred, index, batched))
    return [np.concatenate(row) if row else np.empty(0) for row in draws]


def _scores(
    score: Score, y: NDArray[np.generic], pred: NDArray[np.generic], index: NDArray[np.int64], batched: bool
) -> NDArray[np.float64]:
    if batched:
        picked = np.moveaxis(pred[..., index], -2, 0)
        return np.asarray(score(y[index], picked), dtype=np.float64).reshape(len(index))
    return np.array([np.asarray(score(y[row], pred[..., row]), dtype=np.float64) for row in index], dtype=np.float64)


def _percentiles(draws: NDArray[np.float64], level: float) -> tuple[float, float]:
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return float("nan"), float("nan")
    lo, hi = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)
