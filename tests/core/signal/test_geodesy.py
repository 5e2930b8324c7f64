from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfm_cli.core.signal.geodesy import degrees, local_metres

STATION = np.array([33.42031, -111.92911])


def test_equation_11():
    east_north = local_metres(STATION + np.array([[0, 1e-4], [1e-4, 0]]), STATION)
    step = np.pi * 6_371_000 / 180 * 1e-4
    assert east_north == pytest.approx(np.array([[step * np.cos(np.deg2rad(33.42031)), 0], [0, step]]), abs=1e-8)


def test_close_to_wgs84():
    """Against the local radii of curvature: a quarter of a percent."""
    a, e2 = 6_378_137.0, 6.69437999014e-3
    s2 = np.sin(np.deg2rad(STATION[0])) ** 2
    meridian, normal = a * (1 - e2) / (1 - e2 * s2) ** 1.5, a / (1 - e2 * s2) ** 0.5
    east, north = local_metres(STATION + 1e-3, STATION)
    wanted = np.deg2rad(1e-3) * np.array([normal * np.cos(np.deg2rad(STATION[0])), meridian])
    assert np.array([east, north]) == pytest.approx(wanted, rel=3.1e-3)


def test_centimetres_survive():
    one, two = np.array([33.4203100, -111.9291100]), np.array([33.4203100, -111.9291099])
    assert np.linalg.norm(local_metres(two, STATION) - local_metres(one, STATION)) == pytest.approx(0.0092804, abs=1e-5)


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(-80, 80), st.floats(-180, 180))
def test_there_and_back(east, north, latitude, longitude):
    origin = np.array([latitude, longitude])
    place = np.array([east, north])
    assert local_metres(degrees(place, origin), origin) == pytest.approx(place, abs=1e-5)
