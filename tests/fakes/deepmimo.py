"""Tiny DeepMIMO scenarios in the true layouts of v2/v3 (.mat) and v4 (params.json and .npz), whole or damaged.

rays = fake_rays(users=40)
write_mat(folder, {1: rays})          # params.mat, BS1_BS.mat, BS1_UE_0-40.mat
write_v4(folder, [rays])              # params.json, power_t000_tx000_r001.npz ...
lfs_pointer(file), truncate(file), matlab_73(file)
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

MAT_ROWS = ("phase", "delay", "power", "aoa_az", "aoa_el", "aod_az", "aod_el")
LIGHT = 299_792_458.0


@dataclass(frozen=True)
class FakeRays:
    """Paths (U, P) as in v4, NaN where absent, with user positions (U, 3)."""

    power: NDArray[np.float32]
    phase: NDArray[np.float32]
    delay: NDArray[np.float32]
    aoa_az: NDArray[np.float32]
    aoa_el: NDArray[np.float32]
    aod_az: NDArray[np.float32]
    aod_el: NDArray[np.float32]
    inter: NDArray[np.float32]
    rx_pos: NDArray[np.float32]
    tx_pos: NDArray[np.float32]

    @property
    def present(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.power)

    @property
    def los(self) -> NDArray[np.bool_]:
        return (self.inter == 0).any(axis=1)

    def with_value(self, field: str, user: int, value: float, path: int = 0) -> FakeRays:
        """A copy in which one number of one path is another."""
        changed = getattr(self, field).copy()
        changed[user, path] = value
        return replace(self, **{field: changed})


def fake_rays(
    users: int = 40, paths: int = 6, *, seed: int = 0, no_path: float = 0.25, spacing_m: float = 3.0
) -> FakeRays:
    """Users on a street grid before a base station 10 m high; the direct path and scatterers near it, strongest first.

    Args:
        users: Number of users.
        paths: At most so many paths of a user.
        seed: Seed of everything. Another seed is another place: its grid is shifted by `seed` times 0.25 m.
        no_path: Share of users without any path.
        spacing_m: Distance of neighbouring users.
    """
    rng = np.random.default_rng(seed)
    columns = max(1, int(np.sqrt(users)))
    row, column = np.divmod(np.arange(users), columns)
    rx = np.stack([10 + 0.25 * seed + spacing_m * row, spacing_m * (column - columns / 2), np.full(users, 1.5)], axis=1)
    tx = np.array([[0.0, 0.0, 10.0]])
    count = rng.integers(1, paths + 1, users)
    count[rng.random(users) < no_path] = 0
    absent = np.arange(paths) >= count[:, None]
    los = rng.random(users) < 0.5
    away = rx - tx
    distance = np.linalg.norm(away, axis=1)[:, None]
    # The first path is direct where there is line of sight; the others are longer, weaker and from elsewhere.
    extra = np.sort(rng.uniform(0.02, 1.5, (users, paths)), axis=1)
    extra[los, 0] = 0.0
    bend = np.where(extra > 0, 1.0, 0.0)
    length = distance * (1 + extra)
    table = {
        "power": -40 - 20 * np.log10(length) - 8 * np.arange(paths) - 15 * bend,
        "phase": rng.uniform(-180, 180, (users, paths)),
        "delay": length / LIGHT,
        "aoa_az": rng.uniform(-180, 180, (users, paths)),
        "aoa_el": rng.uniform(60, 120, (users, paths)),
        "aod_az": np.degrees(np.arctan2(away[:, 1], away[:, 0]))[:, None] + bend * rng.normal(0, 25, (users, paths)),
        "aod_el": np.degrees(np.arccos(away[:, 2:] / distance)) + bend * rng.normal(0, 5, (users, paths)),
        "inter": np.where(bend > 0, rng.choice([1.0, 2.0, 11.0], (users, paths)), 0.0),
    }
    padded = {key: np.where(absent, np.nan, values).astype(np.float32) for key, values in table.items()}
    return FakeRays(**padded, rx_pos=rx.astype(np.float32), tx_pos=tx.astype(np.float32))


def write_mat(
    folder: Path,
    stations: dict[int, FakeRays],
    *,
    pieces: int = 1,
    frequency: float = 3.5e9,
    transmit_power: float = 0.0,
    flag_everywhere: bool = False,
    inclusive_names: bool = False,
) -> Path:
    """A v2/v3 folder.

    Args:
        folder: Made if need be.
        stations: Rays of every base station.
        pieces: Number of files over which the users of a base station are spread.
        frequency: Carrier in Hz.
        transmit_power: In dBm; the powers in the files are path gain plus this.
        flag_everywhere: Repeat the line-of-sight flag on every path of a user.
        inclusive_names: Name files by their last user instead of one past it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    users = len(next(iter(stations.values())).power)
    params = {
        "version": 2,
        "carrier_freq": frequency,
        "transmit_power": transmit_power,
        "user_grids": np.array([1.0, users, 1.0]),
        "num_BS": len(stations),
        "dual_polar_available": 0,
        "doppler_available": 0,
    }
    savemat(folder / "params.mat", params)
    for number, rays in stations.items():
        cells = [_mat_cell(rays, user, transmit_power, flag_everywhere) for user in range(users)]
        bounds = np.linspace(0, users, pieces + 1).astype(int)
        for low, high in itertools.pairwise(bounds):
            name = f"BS{number}_UE_{low}-{high - inclusive_names}.mat"
            _save_channels(folder / name, cells[low:high], rays.rx_pos[low:high], rays.tx_pos)
        _save_channels(folder / f"BS{number}_BS.mat", cells[:1], rays.tx_pos, rays.tx_pos)
    return folder


def _mat_cell(rays: FakeRays, user: int, transmit_power: float, flag_everywhere: bool) -> NDArray[np.float32]:
    here = rays.present[user]
    rows = [getattr(rays, name)[user, here] for name in MAT_ROWS]
    rows[2] = rows[2] + np.float32(transmit_power)
    flags = (rays.inter[user, here] == 0).astype(np.float32)
    if flag_everywhere:
        flags[:] = flags.max(initial=0)
    return np.stack([*rows, flags]).astype(np.float32)


def _save_channels(file: Path, cells: list[NDArray[np.float32]], rx: NDArray[Any], tx: NDArray[Any]) -> None:
    channels = np.empty((1, len(cells)), object)
    for column, matrix in enumerate(cells):
        struct = np.empty((1, 1), [("p", object)])
        struct["p"][0, 0] = matrix
        channels[0, column] = struct
    locations = np.concatenate([rx, np.linalg.norm(rx - tx, axis=1)[:, None], np.zeros((len(rx), 1))], axis=1)
    data = {"channels": channels, "rx_locs": locations.astype(np.float32), "tx_loc": tx}
    savemat(file, data, do_compression=True)


def write_v4(
    folder: Path,
    stations: list[FakeRays],
    *,
    points_in_one_set: bool = False,
    receiver_sets: int = 1,
    frequency: float = 3.5e9,
    scenes: int = 1,
    suffix: str = ".npz",
) -> Path:
    """A v4 folder.

    Args:
        folder: Made if need be.
        stations: Rays of every base station.
        points_in_one_set: All base stations are points of one transmitter set instead of a set each.
        receiver_sets: Number of sets over which the users are spread.
        frequency: Carrier in Hz.
        scenes: Number of snapshots that params.json claims.
        suffix: .npz, .npy or .mat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tx_sets = (
        [(0, point) for point in range(len(stations))] if points_in_one_set else [(k, 0) for k in range(len(stations))]
    )
    first_rx = 1 if points_in_one_set else len(stations)
    users = len(stations[0].power)
    bounds = np.linspace(0, users, receiver_sets + 1).astype(int)
    for rays, (tx_set, point) in zip(stations, tx_sets, strict=True):
        for number, (low, high) in enumerate(itertools.pairwise(bounds)):
            for key in ("power", "phase", "delay", "aoa_az", "aoa_el", "aod_az", "aod_el", "inter", "rx_pos"):
                stem = folder / f"{key}_t{tx_set:03d}_tx{point:03d}_r{first_rx + number:03d}"
                _save_array(stem, key, getattr(rays, key)[low:high], suffix)
            stem = folder / f"tx_pos_t{tx_set:03d}_tx{point:03d}_r{first_rx + number:03d}"
            _save_array(stem, "tx_pos", rays.tx_pos, suffix)
    sizes = [len(stations)] if points_in_one_set else [1] * len(stations)
    sets = [_set(k, True, size) for k, size in enumerate(sizes)]
    sets += [_set(first_rx + k, False, int(size)) for k, size in enumerate(np.diff(bounds))]
    params = {
        "version": "4.0.5",
        "rt_params": {"raytracer_name": "fake", "frequency": frequency, "max_path_depth": 3},
        "txrx_sets": {f"txrx_set_{entry['id']}": entry for entry in sets},
        "materials": {},
        "scene": {"num_scenes": scenes},
    }
    (folder / "params.json").write_text(json.dumps(params))
    return folder


def _save_array(stem: Path, key: str, array: NDArray[Any], suffix: str) -> None:
    file = stem.with_name(stem.name + suffix)
    if suffix == ".npz":
        np.savez_compressed(file, **{key: array})
    elif suffix == ".npy":
        np.save(file, array)
    else:
        savemat(file, {key: array})


def _set(number: int, transmits: bool, points: int) -> dict[str, Any]:
    return {
        "name": f"set_{number}",
        "id_orig": number,
        "id": number,
        "is_tx": transmits,
        "is_rx": not transmits,
        "num_points": points,
        "num_active_points": points,
        "num_ant": 1,
        "dual_pol": False,
        "ant_rel_positions": [[0, 0, 0]],
        "array_orientation": [0, 0, 0],
    }


def lfs_pointer(file: Path) -> None:
    """Put a Git LFS pointer in the place of a file."""
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n")


def truncate(file: Path, keep: float = 0.5) -> None:
    """Cut a file off."""
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])


def matlab_73(file: Path) -> None:
    """Give a file the header of MATLAB v7.3."""
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" ") + b"\x89HDF\r\n\x1a\n" + bytes(512))
