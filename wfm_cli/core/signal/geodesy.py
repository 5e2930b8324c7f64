"""Positions on the Earth as metres around a base station: JEPA-MSAC (arXiv 2603.29796) equation 11."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_M = 6_371_000.0
"""Radius of the sphere; against WGS-84 it is off by about a quarter of a percent, a fixed scale."""


def local_metres(latitude_longitude: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """East and north of positions around a reference, in float64 (in float32 a longitude is good to 0.7 m only).

    Args:
        latitude_longitude: (..., 2) degrees, latitude first as the files hold them.
        reference: (2,) degrees of the base station.

    Returns:
        (..., 2) metres, east first.
    """
    place, origin = np.asarray(latitude_longitude, np.float64), np.asarray(reference, np.float64)
    north, east = np.moveaxis(np.deg2rad(place - origin), -1, 0)
    east = (east + np.pi) % (2 * np.pi) - np.pi  # the short way round
    metres: NDArray[np.float64] = EARTH_RADIUS_M * np.stack([east * np.cos(np.deg2rad(origin[0])), north], axis=-1)
    return metres


def degrees(metres: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """The inverse: (..., 2) metres east and north to (..., 2) degrees, latitude first."""
    place, origin = np.asarray(metres, np.float64), np.asarray(reference, np.float64)
    latitude = origin[0] + np.rad2deg(place[..., 1] / EARTH_RADIUS_M)
    longitude = origin[1] + np.rad2deg(place[..., 0] / (EARTH_RADIUS_M * np.cos(np.deg2rad(origin[0]))))
    made: NDArray[np.float64] = np.stack([latitude, longitude], axis=-1)
    return made
