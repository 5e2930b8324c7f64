"""Constant turn rate and velocity: an extended Kalman filter over all windows at once (CTRV of Table II)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_TURN = 1e-4
"""Turn rates below this many radians per second are straight lines; the closed form divides by them."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the model."""

    acceleration: float = 2.0
    """m/s^2."""
    turn: float = 0.5
    """rad/s^2."""
    position: float = 0.05
    """m, of a measured position. Its ratio to the others is what matters."""


def predict_ctrv(position: NDArray[Any], time_s: NDArray[Any], horizon: int, noise: Noise | None = None) -> Values:
    """Filter the observed positions and run the motion model on.

    Args:
        position: (W, T, 2) observed positions in metres, T at least 2.
        time_s: (W, T + K) seconds, never falling; equal stamps are a step of no time.
        horizon: K.
        noise: deviations.

    Returns:
        (W, K, 2) metres.
    """
    noise = noise or Noise()
    position = np.asarray(position, np.float64)
    steps = position.shape[1]
    step = np.diff(np.asarray(time_s, np.float64), axis=1).clip(0)
    state, covariance = _start(position, step, noise)
    measured = np.zeros((2, 5))
    measured[0, 0] = measured[1, 1] = 1
    for t in range(1, steps):
        state, covariance = _advance(state, covariance, step[:, t - 1], noise)
        innovation = position[:, t] - state[:, :2]
        spread = covariance[:, :2, :2] + noise.position**2 * np.eye(2)
        gain = covariance @ measured.T @ np.linalg.inv(spread)
        state = state + (gain @ innovation[..., None])[..., 0]
        covariance = (np.eye(5) - gain @ measured) @ covariance
    made = []
    for k in range(horizon):
        state, covariance = _advance(state, covariance, step[:, steps - 1 + k], noise)
        made.append(state[:, :2].copy())
    return np.stack(made, 1)


def _start(position: Values, step: Values, noise: Noise) -> tuple[Values, Values]:
    """State (x, y, v, psi, omega) at the first frame, from the move over the whole history."""
    move = position[:, -1] - position[:, 0]
    span = np.maximum(step[:, : position.shape[1] - 1].sum(1), 1e-3)
    speed = np.linalg.norm(move, axis=1) / span
    heading = np.arctan2(move[:, 1], move[:, 0])
    state = np.stack([position[:, 0, 0], position[:, 0, 1], speed, heading, np.zeros_like(speed)], 1)
    covariance = np.zeros((len(state), 5, 5))
    covariance[:, range(5), range(5)] = [noise.position**2, noise.position**2, 25.0, 1.0, 0.25]
    return state, covariance


def _advance(state: Values, covariance: Values, dt: Values, noise: Noise) -> tuple[Values, Values]:
    """One step of the motion model and its linearised covariance."""
    x, y, v, psi, omega = state.T
    straight = np.abs(omega) < _TURN
    safe = np.where(straight, 1.0, omega)
    after = psi + omega * dt
    sine, cosine, sine2, cosine2 = np.sin(psi), np.cos(psi), np.sin(after), np.cos(after)
    run = np.where(straight, cosine * dt, (sine2 - sine) / safe)
    rise = np.where(straight, sine * dt, (cosine - cosine2) / safe)
    moved = np.stack([x + v * run, y + v * rise, v, after, omega], 1)
    jacobian = np.zeros((len(state), 5, 5))
    jacobian[:, range(5), range(5)] = 1.0
    jacobian[:, 0, 2], jacobian[:, 1, 2] = run, rise
    jacobian[:, 0, 3], jacobian[:, 1, 3] = -v * rise, v * run
    jacobian[:, 0, 4] = np.where(straight, -0.5 * v * sine * dt**2, v * (dt * cosine2 - run) / safe)
    jacobian[:, 1, 4] = np.where(straight, 0.5 * v * cosine * dt**2, v * (dt * sine2 - rise) / safe)
    jacobian[:, 3, 4] = dt
    effect = np.zeros((len(state), 5, 2))
    effect[:, 0, 0], effect[:, 1, 0], effect[:, 2, 0] = 0.5 * dt**2 * cosine, 0.5 * dt**2 * sine, dt
    effect[:, 3, 1], effect[:, 4, 1] = 0.5 * dt**2, dt
    drive = np.diag([noise.acceleration**2, noise.turn**2])
    return moved, jacobian @ covariance @ jacobian.transpose(0, 2, 1) + effect @ drive @ effect.transpose(0, 2, 1)
