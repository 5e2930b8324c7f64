"""Whether every unit of a grid is hit equally often, for units that are hit together."""

from __future__ import annotations

import numpy as np
from scipy import stats
from torch import Tensor


def hits(index: Tensor, units: int) -> np.ndarray:
    """(B, units) 0 or 1: which units the indices (B, K) of every sample name."""
    out = np.zeros((index.shape[0], units))
    np.put_along_axis(out, index.numpy(), 1.0, axis=1)
    return out


def pvalue(hit: np.ndarray, want: np.ndarray | float) -> float:
    """Chance of shares as far from `want` as those seen.

    Units of a sample are not independent (a strip hides neighbours together, the number of hits is fixed), so the sum
    of squares of Pearson's test is replaced by the quadratic form with the covariance seen, Hotelling's T^2, in the
    space in which hits vary at all.
    """
    samples = len(hit)
    away = hit.mean(0) - want
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(hit, rowvar=False)))
    free = values > 1e-9 * max(values.max(), 1e-3)
    if not np.allclose(away @ vectors[:, ~free], 0, atol=1e-9):
        return 0.0
    d = int(free.sum())
    if d == 0:
        return 1.0
    square = samples * float(((away @ vectors[:, free]) ** 2 / values[free]).sum())
    return float(stats.f.sf(square * (samples - d) / (d * (samples - 1)), d, samples - d))
