"""The street's physics, through the readers and the builder: every sensor must find the vehicle where it is."""

from __future__ import annotations

import filecmp
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.deepsense import index_of, make_street, read_rows, source
from wfm_cli.core.recipe.street import StreetRecipe
from wfm_cli.core.signal.lidar import DepthSpec, depth_image
from wfm_cli.core.signal.radar import PROFILES, range_angle
from wfm_cli.errors import InputError
from wfm_datasets.deepsense.frames import read_frames
from wfm_datasets.deepsense.sensors import read_cloud, read_image, read_radar
from wfm_datasets.street import folder
from wfm_datasets.street.folder import WORK, build, plan, write_pass
from wfm_datasets.street.scene import STREETS, drive, outline
from wfm_datasets.street.sensors import (
    RANGE_BIN_M,
    beam_angles_deg,
    beam_powers,
    picture,
    point_cloud,
    radar_cube,
)


def scene(scenario="31", frames=30, seed=5):
    rng = np.random.default_rng(seed)
    street = STREETS[scenario]
    return street, drive(street, frames, 36_000.0, rng, defects=False), rng


@pytest.mark.parametrize("frame", [5, 15, 25])
def test_the_radar_peak_is_the_vehicle(frame):
    street, track, rng = scene()
    image = range_angle(radar_cube(street, track, frame, 250, rng), PROFILES["deepsense"])
    angle, range_bin = np.unravel_index(image.argmax(), image.shape)
    sides = outline(track, frame)
    distance, sine = np.linalg.norm(sides, axis=1), sides[:, 0] / np.linalg.norm(sides, axis=1)
    assert distance.min() / RANGE_BIN_M - 1.5 < range_bin < distance.max() / RANGE_BIN_M + 1.5
    assert 32 * sine.min() - 5 < angle - 32 < 32 * sine.max() + 5  # four antennas resolve 16 bins


def test_a_vehicle_at_rest_is_clutter():
    street, track, rng = scene()
    track.velocity[:] = 0.0
    still = range_angle(radar_cube(street, track, 15, 250, rng), PROFILES["deepsense"]).max()
    _, moving, _ = scene()
    assert range_angle(radar_cube(street, moving, 15, 250, rng), PROFILES["deepsense"]).max() > 3 * still


@pytest.mark.parametrize("frame", [8, 15, 22])
def test_the_nearest_lidar_return_over_the_road_is_the_vehicle(frame):
    street, track, rng = scene()
    points = point_cloud(street, track, frame, 1024, rng)[:, :3]
    sides = outline(track, frame)
    above = points[(points[:, 2] > 0.4 - street.height) & (np.linalg.norm(points, axis=1) > 0.25)]
    ahead = above[above[:, 0] < -1]  # the street lies at negative x
    nearest = ahead[np.linalg.norm(ahead, axis=1).argmin()]
    assert np.linalg.norm(nearest[:2]) == pytest.approx(np.linalg.norm(sides, axis=1).min(), abs=0.3)
    bearing = np.arctan2(nearest[1], -nearest[0])
    wanted = np.arctan2(sides[:, 0], sides[:, 1])
    assert wanted.min() - 0.03 < bearing < wanted.max() + 0.03
    image = depth_image(points, DepthSpec(roll=128))
    column = int(np.nonzero(np.where(image.hit, image.depth, 9).min(0) == image.depth[image.hit].min())[0][0])
    assert image.kept > 0
    assert 0 <= column < 256


def test_the_box_is_hit_where_it_is():
    street, track, rng = scene()
    points = point_cloud(street, track, 15, 4096, rng)
    vehicle = points[points[:, 3] == 400]
    place = np.stack([vehicle[:, 1], -vehicle[:, 0]], 1) - track.position[15]
    a = track.heading[15]
    along, across = place @ [np.cos(a), np.sin(a)], place @ [-np.sin(a), np.cos(a)]
    assert len(vehicle) > 30
    assert np.abs(along).max() < track.size[0] / 2 + 0.1
    assert np.abs(across).max() < track.size[1] / 2 + 0.1


def test_the_best_beam_points_at_the_vehicle():
    _, track, rng = scene()
    for frame in range(0, 30, 3):
        x, y = track.position[frame]
        azimuth = np.rad2deg(np.arctan2(x, y))
        if abs(azimuth) < 44:
            best = beam_powers(track.position[frame], np.inf, 0.0, rng).argmax()
            assert abs(beam_angles_deg()[best] - azimuth) < 4.5
    near = beam_powers(np.array([0.0, 10.0]), np.inf, 0.0, rng).max()
    far = beam_powers(np.array([0.0, 20.0]), np.inf, 0.0, rng).max()
    assert 10 * np.log10(near / far) == pytest.approx(20 * np.log10(2), abs=0.5)


def test_powers_follow_the_closed_form_of_one_path():
    """Without noise and reflection the sweep is the Dirichlet kernel of 16 elements."""
    rng = np.random.default_rng(0)
    power = np.mean([beam_powers(np.array([3.0, 10.0]), np.inf, 0.0, rng) for _ in range(200)], 0)
    u = np.sin(np.arctan2(3.0, 10.0)) - np.sin(np.deg2rad(beam_angles_deg()))
    kernel = (np.sin(8 * np.pi * u) / (16 * np.sin(np.pi * u / 2))) ** 2
    wanted = 0.3 * 100 / 109 * kernel + 6e-4
    assert power == pytest.approx(wanted, rel=0.15, abs=2.5e-4)


def test_pictures_show_the_vehicle_where_it_is():
    street, track, _ = scene()
    empty = drive(street, 30, 36_000.0, np.random.default_rng(5), defects=False)
    empty.position[:] += [0.0, 500.0]
    with_vehicle = np.asarray(picture(street, track, 15, (480, 270)), int)
    without = np.asarray(picture(street, empty, 15, (480, 270)), int)
    columns = np.nonzero(np.abs(with_vehicle - without).sum((0, 2)))[0]
    x, y = track.position[15]
    middle = 240 + 240 / np.tan(np.deg2rad(50)) * x / y
    assert columns.min() < middle < columns.max()


@pytest.mark.parametrize("scenario", ["31", "9", "36"])
def test_the_true_layouts_are_read(tmp_path, scenario):
    out = make_street(tmp_path / "street", [scenario], sequences=3)
    frames = read_frames(source(out, [scenario]), show=False)
    audit = next(iter(frames.audits.values()))
    assert audit.agreement == 1.0
    assert (audit.order, audit.offset) == {"31": ("same", 1), "9": ("reversed", 1), "36": ("same", 0)}[scenario]
    assert frames.power.shape[1] == (256 if scenario == "36" else 64)
    rows = read_rows(index_of(out, scenario))
    assert len(frames) == len(rows)
    assert frames.files["radar"].shape == (len(rows),)
    assert read_radar(frames.files["radar"][0] and __import__("pathlib").Path(frames.files["radar"][0])).shape[0] == 4
    speed = np.linalg.norm(np.diff(frames.position, axis=0), axis=1)
    assert np.median(speed[np.diff(frames.sequence) == 0]) < 2


def test_positions_come_back_in_metres(tmp_path):
    out = make_street(tmp_path / "street", sequences=1, defects=False)
    frames = read_frames(source(out), show=False)
    street = STREETS["31"]
    job = plan(StreetRecipe(name="s", sequences=1, defects=False, frames=(14, 16)))[0]
    track = drive(street, job.frames, 36_097.0, np.random.default_rng([0, 31, 1]), defects=False)
    wanted = street.to_east_north(track.position[:, 0], track.position[:, 1])
    assert np.abs(frames.position - wanted).max() < 0.06  # a centimetre of noise


def test_the_same_recipe_gives_the_same_bytes_and_goes_on(tmp_path, monkeypatch):
    one = make_street(tmp_path / "one", sequences=3)
    two = tmp_path / "two"
    recipe = StreetRecipe(name="street", sequences=3, frames=(14, 16), image=(96, 54), lidar_columns=64)
    jobs = plan(recipe)
    calls = []

    def stop_at_second(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        write_pass(*args)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_pass", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            build(recipe, two, progress=False)
    assert not index_of(two, "31").exists()
    assert len(os.listdir(two / WORK)) == 1
    build(recipe, two, workers=2, progress=False)
    same = filecmp.dircmp(one / "scenario31", two / "scenario31")
    assert not same.left_only
    assert not same.right_only
    names = [f"unit1/radar_data/radar_data_{jobs[1].first}.npy", "scenario31_dev.csv"]
    assert filecmp.cmpfiles(one / "scenario31", two / "scenario31", names, shallow=False)[0] == names
    assert json.loads((two / "street.json").read_text())["complete"]
    assert not (two / WORK).exists()
    with pytest.raises(InputError, match="another recipe or seed"):
        build(recipe.model_copy(update={"seed": 1}), two, progress=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="is not a folder of streets"):
        build(recipe, tmp_path / "full", progress=False)


def test_clouds_and_images_of_the_street(tmp_path):
    out = make_street(tmp_path / "street", sequences=1)
    frames = read_frames(source(out), show=False)
    cloud = read_cloud(Path(frames.files["lidar"][0]))
    assert cloud.shape == (32 * 64, 3)
    assert (np.linalg.norm(cloud, axis=1) == 0).any()
    assert read_image(Path(frames.files["image"][0]), 16).shape == (3, 16, 16)
