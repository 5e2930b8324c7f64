"""Predictions that need no training, or one glance at the training data: what every model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.forecast.data import Windows
from wfm_cli.core.recipe.forecast import Motion

Values = NDArray[np.float64]
NEAREST_M = 1.0
"""Distances below are taken as this many metres; the logarithm has no bottom."""


def last_value(history: NDArray[Any], horizon: int) -> NDArray[Any]:
    """The last of (W, T, ...) observed values again and again, (W, K, ...)."""
    return np.repeat(history[:, -1:], horizon, axis=1)


def constant_velocity(position: NDArray[Any], horizon: int, time_s: NDArray[Any] | None = None) -> Values:
    """Straight on with the last velocity.

    Args:
        position: (W, T, 2) observed positions in metres, T at least 2.
        horizon: K.
        time_s: (W, T + K) seconds. Without them every step counts as equally long, as in the paper; with them the
            velocity is per second, over the last two frames of different time.

    Returns:
        (W, K, 2).
    """
    position = np.asarray(position, np.float64)
    if time_s is None:
        step = position[:, -1] - position[:, -2]
        made: Values = position[:, -1:] + np.arange(1, horizon + 1)[None, :, None] * step[:, None]
        return made
    steps = position.shape[1]
    earlier = time_s[:, : steps - 1]
    moved = earlier < time_s[:, steps - 1 : steps]
    index = np.where(moved.any(1), steps - 2 - moved[:, ::-1].argmax(1), steps - 2)  # the newest that is earlier
    span = time_s[:, steps - 1] - np.take_along_axis(earlier, index[:, None], 1)[:, 0]
    change = position[:, -1] - np.take_along_axis(position, index[:, None, None], 1)[:, 0]
    velocity = np.where(span[:, None] > 0, change / np.where(span > 0, span, 1.0)[:, None], 0.0)
    ahead = time_s[:, steps : steps + horizon] - time_s[:, steps - 1 : steps]
    forward: Values = position[:, -1:] + ahead[..., None] * velocity[:, None]
    return forward


def straight_on(windows: Windows, motion: Motion) -> Values:
    """Positions of all windows at constant velocity, (W, K, 2), per frame or per second.

    Per second takes the stamps of the frames ahead. They say when one asks, which is known to whoever asks "where will
    it be at that time", and nothing about the vehicle.
    """
    seen = windows.seen(windows.position)
    return constant_velocity(seen, windows.horizon, windows.time_s if motion == "second" else None)


@dataclass(frozen=True)
class PathLoss:
    """Log-distance path loss: `level + slope log10(distance)`, in dB for metres from the base station."""

    level: float
    slope: float

    @classmethod
    def of(cls, position: NDArray[Any], power_db: NDArray[Any]) -> PathLoss:
        """Least squares over positions (..., 2) and what was received there (...); no slope where distances agree."""
        far, power = log_distance(position).ravel(), np.asarray(power_db, np.float64).ravel()
        spread = far - far.mean()
        variance = float(np.square(spread).sum())
        slope = float(spread @ power) / variance if variance > 0 else 0.0
        return cls(float(power.mean()) - slope * float(far.mean()), slope)

    def at(self, position: NDArray[Any]) -> Values:
        """(..., 2) metres -> (...) dB."""
        made: Values = self.level + self.slope * log_distance(position)
        return made


def log_distance(position: NDArray[Any]) -> Values:
    """log10 of the distance (..., 2) -> (...) from the origin, where the base station stands, in metres."""
    made: Values = np.log10(np.linalg.norm(np.asarray(position, np.float64), axis=-1).clip(NEAREST_M))
    return made


def one_hot(beam: NDArray[Any], beams: int) -> Values:
    """Scores (..., beams) of predicted beams; the next best are the neighbours, nearer ones first."""
    made: Values = -np.abs(np.arange(beams) - np.asarray(beam)[..., None]).astype(np.float64)
    return made


def most_frequent(beam: NDArray[Any], beams: int) -> Values:
    """Scores (beams,) by how often a beam was the best in training."""
    return np.bincount(np.asarray(beam).ravel(), minlength=beams).astype(np.float64)


def nearest(
    position: NDArray[Any], known_position: NDArray[Any], known: NDArray[Any], neighbours: int = 1, block: int = 1024
) -> Values:
    """Mean of what was seen at the nearest positions of the training frames.

    Args:
        position: (N, 2) metres, asked.
        known_position: (M, 2) metres of the training frames.
        known: (M, ...) what was seen there.
        neighbours: how many frames are averaged.
        block: positions looked up at once.

    Returns:
        (N, ...).
    """
    position, known_position = np.asarray(position, np.float64), np.asarray(known_position, np.float64)
    count = min(neighbours, len(known_position))
    pieces = []
    for start in range(0, len(position), block):
        distance = np.square(position[start : start + block, None] - known_position[None]).sum(-1)
        index = np.argpartition(distance, count - 1, axis=1)[:, :count]
        pieces.append(np.asarray(known[index], np.float64).mean(1))
    return np.concatenate(pieces) if pieces else np.zeros((0, *known.shape[1:]))
