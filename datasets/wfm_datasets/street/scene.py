"""The street: where its walls are, how vehicles drive, and what stands still.

Axes of the base station: x to the right along the street, y ahead, z up from the sensors; metres and seconds. The
street runs along x at about `distance` metres, with a house front behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RATE_HZ = 10.9
"""Frames per second of the release."""


@dataclass(frozen=True)
class Street:
    """One scenario's street."""

    distance: float
    """From the base station to the middle of the road, m."""
    bend: float
    """Curvature of the road, 1/m."""
    wall: float
    """From the base station to the house front behind the road, m."""
    height: float
    """Of the sensors above the road, m."""
    latitude: float
    longitude: float
    heading_deg: float
    """Direction of the y axis, clockwise from north."""
    night: bool
    poles: Array
    """(n, 2) posts that stand still."""

    def to_east_north(self, x: Array, y: Array) -> Array:
        """(..., 2) east and north of the base station."""
        a = np.deg2rad(self.heading_deg)
        return np.stack([x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)], -1)


STREETS: dict[str, Street] = {
    "31": Street(13.0, 0.0, 24.0, 2.5, 33.42031, -111.92911, 20.0, False, np.array([[-18, 8], [9, 7.5], [25, 19]])),
    "32": Street(11.0, 0.004, 21.0, 2.5, 33.41890, -111.92950, 110.0, False, np.array([[-12, 7], [16, 6.5]])),
    "33": Street(10.0, 0.0, 19.0, 2.2, 33.42105, -111.92866, 290.0, True, np.array([[-8, 15], [12, 6.0]])),
    "34": Street(15.0, -0.004, 27.0, 2.8, 33.41944, -111.93015, 200.0, True, np.array([[-22, 9], [4, 9.0]])),
    "9": Street(12.0, 0.0, 22.0, 2.0, 33.41932083, -111.92902222, 270.0, False, np.array([[-15, 7], [15, 7.0]])),
    "36": Street(8.0, 0.0, 18.0, 1.5, 33.42220, -111.92700, 0.0, False, np.array([[-10, 4], [10, 4.0]])),
}
"""Streets by the number of the scenario whose layout they take."""


@dataclass(frozen=True)
class Pass:
    """One vehicle passing."""

    time_s: Array
    """(T,) seconds of the day."""
    position: Array
    """(T, 2) middle of the vehicle."""
    velocity: Array
    """(T, 2) m/s."""
    size: tuple[float, float, float]
    """Length, width and height."""
    colour: tuple[int, int, int]

    @property
    def heading(self) -> Array:
        """(T,) direction of travel in radians, from the x axis."""
        made: Array = np.arctan2(self.velocity[:, 1], self.velocity[:, 0])
        return made


def drive(street: Street, frames: int, start_s: float, rng: np.random.Generator, defects: bool) -> Pass:
    """A vehicle comes from one side, speeds up or slows down, sways a little within its lane and leaves.

    Args:
        street: Where.
        frames: Frames T.
        start_s: Time of the first frame.
        rng: Source of randomness.
        defects: Whether frames are dropped and stamps given twice, as in the releases.
    """
    step = np.full(frames - 1, 1 / RATE_HZ)
    if defects:
        step = step * np.where(rng.random(frames - 1) < 0.05, 2.0, 1.0) * rng.uniform(0.97, 1.03, frames - 1)
    time = np.concatenate([[0.0], np.cumsum(step)])
    forward = 1.0 if rng.random() < 0.5 else -1.0
    lane = (1.8 if forward > 0 else -1.8) + rng.normal(0, 0.2)
    speed, pull = rng.uniform(5.0, 12.0), rng.uniform(-1.0, 1.0)
    wave, phase = rng.uniform(0.5, 1.2), rng.uniform(0, 2 * np.pi)
    pace = np.maximum(speed + pull * (time - time.mean()) + 0.6 * np.sin(wave * time + phase), 1.0)
    run = np.concatenate([[0.0], np.cumsum(0.5 * (pace[1:] + pace[:-1]) * step)])
    x = forward * (run - run.mean() + rng.uniform(-6, 6))
    sway = 0.25 * np.sin(0.4 * time + phase)
    y = street.distance + lane + sway + 0.5 * street.bend * x**2
    velocity = np.stack([forward * pace, 0.1 * np.cos(0.4 * time + phase) + street.bend * x * forward * pace], 1)
    size = (rng.uniform(3.8, 5.2), rng.uniform(1.7, 2.0), rng.uniform(1.4, 2.1))
    red, green, blue = (int(value) for value in rng.integers(30, 230, 3))
    return Pass(start_s + time, np.stack([x, y], 1), velocity, size, (red, green, blue))


def outline(track: Pass, frame: int, count: int = 12) -> Array:
    """(4 count, 2) points on the four sides of the vehicle's footprint."""
    length, width, _ = track.size
    along = np.linspace(-0.5, 0.5, count)
    ends, sides = np.full(count, 0.5), np.full(count, 0.5)
    local = np.concatenate(
        [
            np.stack([length * along, width * sides], 1), np.stack([length * along, -width * sides], 1),
            np.stack([length * ends, width * along], 1), np.stack([-length * ends, width * along], 1),
        ]
    )  # fmt: skip
    a = track.heading[frame]
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    placed: Array = local @ turn + track.position[frame]
    return placed


def stamp(seconds: float, style: str) -> str:
    """A time of the day as the scenario's release writes it."""
    whole = int(seconds) % 86_400
    hour, minute, second = whole // 3600, whole // 60 % 60, whole % 60
    micro = min(999_999, round((seconds - int(seconds)) * 1e6))
    if style == "9":
        return f"['{hour:02d}-{minute:02d}-{second:02d}-{micro // 1000:03d}']"
    if style == "36":
        return f"{hour:02d}-{minute:02d}-{second:02d}.{micro:06d}"
    return f"{hour:02d}:{minute:02d}:{second:02d}-{micro:06d}"


def to_json(street: Street) -> dict[str, Any]:
    """What the manifest says of a street."""
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(street).items()}
