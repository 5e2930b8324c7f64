"""Metrics of predictions over a horizon: JEPA-MSAC (arXiv 2603.29796) equations 35 to 43, and the challenge's DBA.

Every function takes windows in the first axis and returns one number per window, or per window and step; means over
windows are taken by the caller, so that intervals over windows stay possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def displacement(predicted: NDArray[Any], true: NDArray[Any]) -> Values:
    """Distance of predicted and true positions (W, K, 2) in metres: (W, K). ADE is its mean, FDE that of step K."""
    made: Values = np.linalg.norm(np.asarray(predicted, np.float64) - true, axis=-1)
    return made


def top(scores: NDArray[Any], true: NDArray[Any], count: int) -> Values:
    """Whether the true beam (W, K) is among the `count` best of the scores (W, K, beams): (W, K), 0 or 1.

    A beam is among the best when fewer than `count` beams have a higher score; equal scores go to the lower number.
    """
    own = np.take_along_axis(scores, true[..., None].astype(np.int64), -1)
    lower = np.arange(scores.shape[-1]) < true[..., None]
    rank = ((scores > own) | ((scores == own) & lower)).sum(-1)
    hit: Values = (rank < count).astype(np.float64)
    return hit


def power_loss(scores: NDArray[Any], power_db: NDArray[Any]) -> Values:
    """Power of the best beam over that of the predicted one, (W, K) in dB, from the measured powers (W, K, beams).

    Beams whose power is not finite count as the weakest.
    """
    power = np.where(np.isfinite(power_db), power_db, -np.inf)
    chosen = np.take_along_axis(power, scores.argmax(-1)[..., None], -1)[..., 0]
    weakest = np.where(np.isfinite(power_db), power_db, np.inf).min(-1)
    made: Values = power.max(-1) - np.where(np.isfinite(chosen), chosen, weakest)
    return made.astype(np.float64)


def distance_based_accuracy(scores: NDArray[Any], true: NDArray[Any], best: int = 3, width: float = 5.0) -> Values:
    """DBA of the 2022 challenge: (W, K), the mean over k = 1 ... `best` of 1 - min over the k best of min(|b - y| / 5,
    1)."""
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :best]
    error = np.minimum(np.abs(order - true[..., None]) / width, 1.0)
    made: Values = (1.0 - np.minimum.accumulate(error, axis=-1)).mean(-1)
    return made


def absolute(predicted: NDArray[Any], true: NDArray[Any]) -> Values:
    """Absolute error per window and step, (W, K)."""
    made: Values = np.abs(np.asarray(predicted, np.float64) - true)
    return made


def rmse_of_windows(predicted: NDArray[Any], true: NDArray[Any]) -> Values:
    """Equation 43: root mean square over the steps of each window, (W,). Its mean over windows is not the RMSE of all
    numbers together, which is the root of the mean of the squares."""
    made: Values = np.sqrt(np.square(np.asarray(predicted, np.float64) - true).mean(-1))
    return made


def rssi(power: NDArray[Any]) -> Values:
    """Equation 31: mean over the beams of a vector, (..., beams) -> (...), in the unit of the vector.

    The mean of decibels is not the decibel of the mean.
    """
    made: Values = np.nanmean(np.asarray(power, np.float64), axis=-1)
    return made


def lda_rank(embeddings: NDArray[Any], ridge: float = 1e-3) -> float:
    """How many directions tell samples apart from their augmented views.

    exp of the entropy of the normalised eigenvalues of Sw^-1/2 Sb Sw^-1/2, where Sb is the scatter of the means of
    (N, A, D) embeddings of A views each and Sw that of the views around them. Sw is regularised by `ridge` times its
    mean eigenvalue, without which D > N (A - 1) has no answer.
    """
    views = np.asarray(embeddings, np.float64)
    means = views.mean(1)
    centred = means - means.mean(0)
    around = (views - means[:, None]).reshape(-1, views.shape[-1])
    between, within = centred.T @ centred / len(means), around.T @ around / max(1, len(around))
    level = max(float(np.trace(within)) / len(within), float(np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(within + ridge * level * np.eye(len(within)))
    whiten = vectors / np.sqrt(values)
    spectrum = np.clip(np.linalg.eigvalsh(whiten.T @ between @ whiten), 0, None)
    share = spectrum / max(float(spectrum.sum()), np.finfo(np.float64).tiny)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0
