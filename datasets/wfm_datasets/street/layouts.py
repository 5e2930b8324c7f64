"""Files of one frame as the releases lay them out, and the row of the index that names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.street import StreetRecipe
from wfm_cli.core.signal.geodesy import degrees
from wfm_datasets.street.scene import Array, Pass, Street, stamp
from wfm_datasets.street.sensors import beam_powers, picture, point_cloud, radar_cube

ARRAYS = ("front", "right", "back", "left")
_FACING_DEG = (0.0, 90.0, 180.0, -90.0)


@dataclass(frozen=True)
class Shot:
    """One frame to write."""

    number: int
    """Number in file names."""
    sequence: int
    frame: int
    interpolated: bool
    broken_beams: int
    """Powers that are NaN."""
    fading_db: float


def write_31(folder: Path, street: Street, track: Pass, shot: Shot, recipe: StreetRecipe, rng: Any) -> dict[str, str]:
    """Scenarios 31 to 34: `.npy` radar, ASCII PLY, and telemetry of the receiver."""
    i, frame = shot.number, shot.frame
    image = f"unit1/camera_data/image_{i}.jpg"
    radar = f"unit1/radar_data/radar_data_{i}.npy"
    lidar = f"unit1/lidar_data/lidar_data_{i}.ply"
    power = f"unit1/mmWave_data/mmWave_power_{i}.txt"
    place = f"unit2/GPS_data/GPS_location_{i}.txt"
    picture(street, track, frame, recipe.image).save(folder / image, quality=85)
    np.save(folder / radar, radar_cube(street, track, frame, 250, rng))
    _write_ply(folder / lidar, point_cloud(street, track, frame, recipe.lidar_columns, rng))
    powers = beam_powers(track.position[frame], street.wall, shot.fading_db, rng)
    best = _break(powers, shot.broken_beams, rng)
    _write_numbers(folder / power, powers, 8)
    _write_numbers(folder / place, _fix(street, track, shot, rng), 12)
    telemetry: dict[str, object] = dict.fromkeys(_TELEMETRY, "")
    if not shot.interpolated:
        speed = 3.6 * float(np.linalg.norm(track.velocity[frame]))
        values = (f"{speed:.2f}", 18.0, 356.8, -27.1, 4.0, 1.2, 0.7, 1.0)
        telemetry = dict(zip(_TELEMETRY, values, strict=True))
    return {
        "index": str(i),
        "unit1_rgb": f"./{image}",
        "unit1_pwr_60ghz": f"./{power}",
        "unit1_lidar": f"./{lidar}",
        "unit1_radar": f"./{radar}",
        "unit1_loc": "./unit1/GPS_data/gps_location.txt",
        "unit2_loc": f"./{place}",
        "unit1_beam": str(best + 1),
        "unit1_max_pwr": f"{np.nanmax(powers):.8f}",
        "time_stamp": stamp(track.time_s[frame], "31"),
        "seq_index": str(shot.sequence),
        **{key: str(value) for key, value in telemetry.items()},
        "unit2_interpolated_position": "1.0" if shot.interpolated else "0.0",
    }


_TELEMETRY = (
    "unit2_spd_over_grnd_kmph", "unit2_num_sats", "unit2_altitude", "unit2_geo_sep", "unit2_mode_fix_type",
    "unit2_pdop", "unit2_hdop", "unit2_vdop",
)  # fmt: skip


def write_9(folder: Path, street: Street, track: Pass, shot: Shot, recipe: StreetRecipe, rng: Any) -> dict[str, str]:
    """Scenario 9: radar of 128 chirps in a `.mat`, best beams counted in reverse, a column without a name."""
    from scipy.io import savemat

    i, frame = shot.number, shot.frame
    image = f"unit1/camera_data/image_BS2_{2680 + i}.jpg"
    radar = f"unit1/radar_data/data_{4589 + i}.mat"
    power = f"unit1/mmWave_data/mmWave_power_{i}.txt"
    raw, calibrated = f"unit2/GPS_data/gps_location_{i}.txt", f"unit2/GPS_data_calibrated/gps_location_{i}.txt"
    picture(street, track, frame, recipe.image).save(folder / image, quality=85)
    savemat(folder / radar, {"data": radar_cube(street, track, frame, 128, rng)}, do_compression=False)
    powers = beam_powers(track.position[frame], street.wall, shot.fading_db, rng)
    best = _break(powers, shot.broken_beams, rng)
    _write_numbers(folder / power, powers, 8)
    fix = _fix(street, track, shot, rng)
    _write_numbers(folder / calibrated, fix, 12)
    _write_numbers(folder / raw, fix + np.array([9e-5, -3e-5]), 12)
    return {
        "index": str(i + 1),
        "unit1_rgb": f"./{image}",
        "unit1_pwr_60ghz": f"./{power}",
        "unit1_loc": "./unit1/GPS_data/gps_location.txt",
        "unit1_radar": f"./{radar}",
        "unit2_loc": f"./{raw}",
        "unit2_loc_cal": f"./{calibrated}",
        "": "",
        "unit1_beam_index": str(64 - best),
        "seq_index": str(shot.sequence),
        "time_stamp[UTC]": stamp(track.time_s[frame], "9"),
        "unit2_direction": "0",
    }


def write_36(folder: Path, street: Street, track: Pass, shot: Shot, recipe: StreetRecipe, rng: Any) -> dict[str, str]:
    """Scenario 36: a moving unit 1 with four arrays, radars in `.mat` files, best beam of all four from 0."""
    from scipy.io import savemat

    i, frame = shot.number, shot.frame
    image, radar = f"unit1/rgb5/frame_{i}.jpg", f"unit1/radar1/data_{i}.mat"
    picture(street, track, frame, recipe.image).save(folder / image, quality=85)
    savemat(folder / radar, {"data": radar_cube(street, track, frame, 128, rng)}, do_compression=False)
    powers = [beam_powers(track.position[frame], np.inf, shot.fading_db, rng, facing) for facing in _FACING_DEG]
    for number, values in enumerate(powers, 1):
        _write_numbers(folder / f"unit1/pwr{number}/pwr_{i}.txt", values, 8)
    drift = np.array([0.3 * (track.time_s[frame] - track.time_s[0]), 0.0])
    own = degrees(street.to_east_north(drift[0], drift[1]), np.array([street.latitude, street.longitude]))
    other = degrees(street.to_east_north(*(track.position[frame])), own)
    _write_numbers(folder / f"unit1/gps1/gps_{i}.txt", own, 12)
    _write_numbers(folder / f"unit2/gps1/gps_{i}.txt", other, 12)
    return {
        "abs_index": str(i),
        "timestamp": stamp(track.time_s[frame], "36"),
        "seq_index": str(shot.sequence),
        **{f"unit1_pwr{n}": f"./unit1/pwr{n}/pwr_{i}.txt" for n in range(1, 5)},
        "unit1_rgb5": f"./{image}",
        "unit1_radar1": f"./{radar}",
        "unit1_gps1": f"./unit1/gps1/gps_{i}.txt",
        "unit2_gps1": f"./unit2/gps1/gps_{i}.txt",
        "unit1_overall-beam": str(int(np.concatenate(powers).argmax())),
    }


WRITERS = {"31": write_31, "32": write_31, "33": write_31, "34": write_31, "9": write_9, "36": write_36}
FOLDERS = {
    write_31: (*(f"unit1/{name}_data" for name in ("camera", "radar", "lidar", "mmWave", "GPS")), "unit2/GPS_data"),
    write_9: (*(f"unit1/{name}_data" for name in ("camera", "radar", "mmWave", "GPS")), "unit2/GPS_data",
              "unit2/GPS_data_calibrated"),
    write_36: (*(f"unit1/{name}" for name in ("rgb5", "radar1", "pwr1", "pwr2", "pwr3", "pwr4", "gps1")), "unit2/gps1"),
}  # fmt: skip
"""Folders that a layout's files lie in."""


def index_name(scenario: str) -> str:
    """File name of a scenario's CSV; 34 is released without `_dev`."""
    return f"scenario{scenario}_dev.csv" if scenario in ("31", "32", "33") else f"scenario{scenario}.csv"


def write_station(folder: Path, scenario: str, street: Street) -> None:
    """The base station's own position, one file for all frames, where the layout has one."""
    if scenario != "36":
        _write_numbers(folder / "unit1/GPS_data/gps_location.txt", np.array([street.latitude, street.longitude]), 12)


def _fix(street: Street, track: Pass, shot: Shot, rng: np.random.Generator) -> Array:
    """(2,) latitude and longitude with a centimetre of noise; between its neighbours where it was interpolated."""
    frame, last = shot.frame, len(track.position) - 1
    place = track.position[frame]
    if shot.interpolated and 0 < frame < last:
        place = 0.5 * (track.position[frame - 1] + track.position[frame + 1])
    place = place + rng.normal(0, 0.01, 2)
    return degrees(street.to_east_north(place[0], place[1]), np.array([street.latitude, street.longitude]))


def _break(powers: Array, count: int, rng: np.random.Generator) -> int:
    """Set powers to NaN in place; the beam that the release calls the best, which then is one of them."""
    if not count:
        return int(powers.argmax())
    lost = rng.choice(len(powers), count, replace=False)
    powers[lost] = np.nan
    return int(lost[0])


def _write_numbers(path: Path, values: NDArray[np.float64], digits: int) -> None:
    path.write_text("".join(f"{value:.{digits}f}\n" for value in values), encoding="ascii")


def _write_ply(path: Path, points: Array) -> None:
    properties = "".join(f"property double {axis}\n" for axis in "xyz") + "property ushort intensity\n"
    head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    body = "\n".join(f"{x:.3f} {y:.3f} {z:.3f} {i:.0f}" for x, y, z, i in points.tolist())
    path.write_text(f"{head}{body}\n", encoding="ascii")
