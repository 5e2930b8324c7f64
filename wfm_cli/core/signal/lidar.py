"""Depth images of LiDAR point clouds: JEPA-MSAC (arXiv 2603.29796) equations 9 and 10, with every edge decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DepthSpec:
    """The picture that a cloud is projected onto."""

    rows: int = 64
    """Height H; row 0 looks highest."""
    columns: int = 256
    """Width W; column 0 begins at yaw -pi (the negative x axis), columns ascend with yaw."""
    up_deg: float = 15.0
    """Elevation of the upper border in degrees."""
    down_deg: float = -15.0
    """Elevation of the lower border in degrees."""
    far_m: float = 100.0
    """Range that counts as one."""
    near_m: float = 0.25
    """Shorter ranges are zero returns of the sensor and left out."""
    outside: Literal["drop", "clamp"] = "drop"
    """Points above or below the picture: left out, or (as SemanticKITTI's projection) put into the border row."""
    beyond: Literal["drop", "clip"] = "drop"
    """Points farther than `far_m`: left out, or set to one."""
    roll: int = 0
    """Columns by which the picture is turned, so that a street at the negative x axis is not cut in two."""


@dataclass(frozen=True)
class DepthImage:
    """One projected cloud."""

    depth: NDArray[np.float32]
    """(H, W) range over `far_m` of the nearest point of every pixel; 0 where there is none."""
    hit: NDArray[np.bool_]
    """(H, W) whether a point fell into the pixel."""
    points: int
    """Points of the cloud."""
    kept: int
    """Points that fell into the picture."""


def depth_image(points: NDArray[Any], spec: DepthSpec | None = None) -> DepthImage:
    """Project a cloud onto a sphere; the nearest point of a pixel wins.

    u = floor((yaw + pi) / 2 pi W), wrapped; v = floor((1 - (pitch - down) / (up - down)) H). Angles are float64: in
    float32 points beside the borders fall to the wrong side.

    Args:
        points: (N, 3) x, y, z in metres. Points that are not finite count as not kept.
        spec: The picture.

    Raises:
        ValueError: points are not (N, 3).
    """
    spec = spec or DepthSpec()
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (N, 3), not {points.shape}")
    x, y, z = np.asarray(points, np.float64).T
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.sqrt(x * x + y * y + z * z)
    good = np.isfinite(distance) & (distance >= spec.near_m)
    if spec.beyond == "drop":
        good &= distance <= spec.far_m
    x, y, z, distance = x[good], y[good], z[good], distance[good]
    column = np.floor((np.arctan2(y, x) + np.pi) / (2 * np.pi) * spec.columns).astype(np.int64) % spec.columns
    column = (column + spec.roll) % spec.columns
    pitch = np.rad2deg(np.arcsin(np.clip(z / distance, -1.0, 1.0)))
    share = (pitch - spec.down_deg) / (spec.up_deg - spec.down_deg)
    row = np.floor((1 - share) * spec.rows).astype(np.int64)
    if spec.outside == "clamp":
        row = np.clip(row, 0, spec.rows - 1)
    inside = (row >= 0) & (row < spec.rows)
    pixel = (row * spec.columns + column)[inside]
    nearest = np.full(spec.rows * spec.columns, np.inf)
    np.minimum.at(nearest, pixel, distance[inside])
    hit = np.isfinite(nearest)
    depth = np.where(hit, np.minimum(nearest / spec.far_m, 1.0), 0.0).astype(np.float32)
    shape = (spec.rows, spec.columns)
    return DepthImage(depth.reshape(shape), hit.reshape(shape), len(points), int(inside.sum()))
