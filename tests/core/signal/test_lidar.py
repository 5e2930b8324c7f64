from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.signal.lidar import DepthSpec, depth_image


def at(yaw_deg, pitch_deg, distance):
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(pitch_deg)
    return distance * np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])


def slow(points, spec):
    """Equations 9 and 10, one point after the other."""
    depth = np.zeros((spec.rows, spec.columns))
    for x, y, z in points.astype(np.float64):
        r = np.sqrt(x * x + y * y + z * z)
        if not spec.near_m <= r <= spec.far_m:
            continue
        u = int(np.floor((np.arctan2(y, x) + np.pi) / (2 * np.pi) * spec.columns)) % spec.columns
        pitch = np.rad2deg(np.arcsin(z / r))
        v = int(np.floor((1 - (pitch - spec.down_deg) / (spec.up_deg - spec.down_deg)) * spec.rows))
        if 0 <= v < spec.rows and (depth[v, u] == 0 or r / spec.far_m < depth[v, u]):
            depth[v, u] = r / spec.far_m
    return depth


def test_equals_the_loop_over_points():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(3000, 3)) * [40, 40, 4]
    made = depth_image(points)
    assert np.allclose(made.depth, slow(points, DepthSpec()), rtol=1e-6)
    assert np.array_equal(made.hit, made.depth > 0)


@settings(max_examples=60, deadline=None)
@given(st.floats(-179.9, 179.9), st.floats(-14.9, 14.9), st.floats(0.3, 99.9))
def test_one_point_lies_at_its_bearing(yaw, pitch, distance):
    made = depth_image(at(yaw, pitch, distance)[None])
    (row,), (column,) = np.nonzero(made.hit)
    assert abs((column + 0.5) / 256 * 360 - 180 - yaw) <= 180 / 256 + 1e-9
    assert abs(15 - (row + 0.5) / 64 * 30 - pitch) <= 15 / 64 + 1e-9
    assert made.depth[row, column] == pytest.approx(distance / 100, rel=1e-6)


def test_the_nearest_point_of_a_pixel_wins_in_any_order():
    points = np.stack([at(10.2, 3, d) for d in (30.0, 12.5, 70.0)])
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        assert depth_image(points[order]).depth.max() == pytest.approx(0.125)


def test_the_seam_behind_wraps():
    behind = np.array([[-10.0, 0.0, 0.0], [-10.0, 1e-9, 0.0], [-10.0, -1e-9, 0.0]])
    columns = [int(np.nonzero(depth_image(point[None]).hit)[1][0]) for point in behind]
    assert columns == [0, 255, 0]


@pytest.mark.parametrize(("pitch", "row"), [(15.0, 0), (15.5, None), (-15.5, None), (14.99, 0), (-14.99, 63)])
def test_borders_of_elevation(pitch, row):
    rows = np.nonzero(depth_image(at(0, pitch - 1e-9, 20.0)[None]).hit)[0]
    assert list(rows) == ([] if row is None else [row])
    clamped = np.nonzero(depth_image(at(0, pitch, 20.0)[None], DepthSpec(outside="clamp")).hit)[0]
    assert list(clamped) == [0 if pitch > 0 else 63]


def test_zero_returns_far_points_and_broken_ones_are_left_out_and_counted():
    points = np.array([[0, 0, 0], [0.2, 0, 0], [150, 0, 0], [np.nan, 1, 1], [np.inf, 1, 1], [50, 0, 0]])
    made = depth_image(points)
    assert (made.points, made.kept) == (6, 1)
    assert made.depth.max() == pytest.approx(0.5)
    clipped = depth_image(points, DepthSpec(beyond="clip"))
    assert (clipped.kept, clipped.depth.max()) == (2, pytest.approx(0.5))
    assert depth_image(points[2:3], DepthSpec(beyond="clip")).depth.max() == 1


def test_roll_turns_the_picture():
    points = np.stack([at(yaw, 0, 20) for yaw in (-179, 5, 170)])
    assert np.array_equal(
        depth_image(points, DepthSpec(roll=128)).depth, np.roll(depth_image(points).depth, 128, axis=1)
    )


def test_an_empty_cloud_is_an_empty_picture():
    made = depth_image(np.zeros((0, 3)))
    assert not made.hit.any()
    assert made.kept == 0
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        depth_image(np.zeros((5, 4)))
