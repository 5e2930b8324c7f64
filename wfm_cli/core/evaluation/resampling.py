"""Bootstrap of whole score tables: one matrix of weights serves every metric, seed and encoder of a test set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.metrics import Predictions

_CHUNK_ELEMENTS = 1 << 22  # resampled samples held at once, 16 MiB of weights


def resampled_weights(samples: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each sample of a test set occurs in each of its bootstrap resamples.

    The same (samples, resamples, seed) always gives the same resampled users, whoever is scored on them, and the
    same users as `statistics.bootstrap_interval` draws.

    Yields:
        Chunks (samples, R) whose R add up to `resamples`.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ELEMENTS // samples)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        index = rng.integers(0, samples, size=(rows, samples)) * rows + np.arange(rows)[:, None]
        counts = np.bincount(index.ravel(), minlength=samples * rows)
        yield counts.reshape(samples, rows).astype(np.float32)


def bootstrap(
    predictions: Predictions, resamples: int, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Percentile intervals over test samples of every metric, averaged over the seeds of the probe.

    Args:
        predictions: Predictions of all seeds.
        resamples: Resampled test sets; 0 gives no intervals.
        seed: Seed of the resampling.
        level: Coverage.

    Returns:
        Lower and upper end of every metric in its own unit.
    """
    tables = [predictions.scores(w) for w in resampled_weights(len(predictions.labels), resamples, seed)]
    ends = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for name in tables[0] if tables else ():
        values = np.concatenate([table[name].mean(1) for table in tables])
        lo, hi = np.quantile(values[np.isfinite(values)], ends)
        intervals[name] = (float(lo), float(hi))
    return intervals
