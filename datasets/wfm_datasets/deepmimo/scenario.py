"""One DeepMIMO scenario as the builder sees it, whatever version its folder has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.signal.channels import Rays, late_paths
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import SourceFolder

EMBEDDED = "embedded:"
"""Prefix of the scenarios that ship with wfm."""

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class Scenario:
    """All users of one scenario and the paths from one base station to each."""

    name: str
    bs: int
    """Number of the base station, from 1."""
    frequency_hz: float
    rays: Rays
    """Paths in the order of the file; a user without paths has an empty row."""
    los: NDArray[np.bool_]
    """Whether a line-of-sight path exists, (U,)."""
    los_not_first: int
    """Users in line of sight whose first path is another one; who looks at the first path alone calls them NLoS."""
    position_m: NDArray[np.float32]
    """User positions (U, 3), metres."""
    bs_position_m: NDArray[np.float32]
    """Position of the base station (3,), metres."""
    sources: tuple[Mapping[str, Any], ...]
    """Records of the files that were read."""
    arrival_deg: NDArray[np.float32] | None = None
    """Azimuth and zenith angle at which every path arrives, (U, P, 2), degrees; None unless asked for."""

    @property
    def served(self) -> NDArray[np.bool_]:
        """Users with at least one path, (U,)."""
        served: NDArray[np.bool_] = np.logical_or.reduce(self.rays.present, axis=1)
        return served

    def take(self, index: NDArray[Any]) -> Scenario:
        """Some users of the scenario."""
        return replace(
            self,
            rays=self.rays.take(index),
            los=self.los[index],
            position_m=self.position_m[index],
            arrival_deg=None if self.arrival_deg is None else self.arrival_deg[index],
        )


def locate(spec: str) -> SourceFolder:
    """The folder that a recipe or the command line names.

    Raises:
        InputError: it does not exist, or no scenario of that name is embedded.
    """
    if spec.startswith(EMBEDDED):
        folder = EMBEDDED_FOLDER / spec.removeprefix(EMBEDDED)
        names = sorted(entry.name for entry in EMBEDDED_FOLDER.iterdir() if entry.is_dir())
        if folder.name not in names:
            raise InputError(f"{spec}: no such embedded scenario", f"embedded: {', '.join(names)}")
        return SourceFolder(folder, spec)
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return SourceFolder(folder, spec)
    if folder.exists():
        raise InputError(f"{spec}: not a folder", "give the unpacked scenario folder")
    raise InputError(f"{spec}: no such scenario folder", "give the path of a DeepMIMO folder, or embedded:canyon_3p5")


def read_scenario(spec: str, bs: int, arrivals: bool = False) -> Scenario:
    """Read a DeepMIMO v2/v3 or v4 folder.

    Args:
        spec: Path of the folder, or `embedded:NAME`.
        bs: Base station number from 1.
        arrivals: Read the angles of arrival too.

    Raises:
        InputError: the folder is none of these, incomplete or damaged, the base station is not in it, or it serves
            nobody.
    """
    folder = locate(spec)
    if (folder.path / "params.mat").exists():
        from wfm_datasets.deepmimo.mat import read_mat

        scenario = read_mat(folder, bs, arrivals)
    elif (folder.path / "params.json").exists():
        from wfm_datasets.deepmimo.v4 import read_v4

        scenario = read_v4(folder, bs, arrivals)
    else:
        raise _unknown(folder)
    if not scenario.served.any():
        raise InputError(
            f"{spec}: base station {bs} reaches none of the {len(scenario.los)} users (no path at all)",
            "choose another base station (--bs) or another scenario",
        )
    return scenario


def _unknown(folder: SourceFolder) -> InputError:
    entries = sorted(folder.path.iterdir())
    if not entries:
        return InputError(f"{folder.label}: the folder is empty", "unpack or download the scenario into it")
    inside = [e.name for e in entries if (e / "params.mat").exists() or (e / "params.json").exists()]
    hint = "a scenario folder holds params.mat (DeepMIMO v2/v3) or params.json (v4)"
    if inside:
        hint = f"did you mean a folder inside it: {', '.join(inside[:6])}?"
    return InputError(f"{folder.label}: not a DeepMIMO v2, v3 or v4 scenario", hint)


def limit_paths(scenario: Scenario, paths: int) -> tuple[Scenario, NDArray[np.float64]]:
    """Keep the first `paths` paths of every user, as DeepMIMO does.

    Returns:
        The scenario, and the share of every user's power that was cut off, (U,).
    """
    rays = scenario.rays
    if rays.power_db.shape[1] <= paths:
        return scenario, np.zeros(len(rays))
    power = np.where(rays.present, 10 ** (np.nan_to_num(rays.power_db.astype(np.float64)) / 10), 0.0)
    total = power.sum(axis=1)
    lost = np.divide(power[:, paths:].sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
    cut = Rays(*(column[:, :paths] for column in _columns(rays)))
    arrival = None if scenario.arrival_deg is None else scenario.arrival_deg[:, :paths]
    return replace(scenario, rays=cut, arrival_deg=arrival), lost


def drop_late(scenario: Scenario, spacing_hz: float) -> tuple[Scenario, int]:
    """Remove the paths that arrive at or after 1/`spacing_hz`, which DeepMIMO gives no power.

    Returns:
        The scenario, and the number of paths removed.
    """
    late = late_paths(scenario.rays, spacing_hz)
    if not late.any():
        return scenario, 0
    columns = _columns(scenario.rays)
    arrival = scenario.arrival_deg
    if arrival is not None:
        columns += (arrival[..., 0], arrival[..., 1])
    kept = pack(*(np.where(late, np.nan, column).astype(column.dtype) for column in columns))
    if arrival is not None:
        arrival = np.stack(kept[5:], axis=2)
    return replace(scenario, rays=Rays(*kept[:5]), arrival_deg=arrival), int(late.sum())


def pack(*columns: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Columns (U, P) with the present paths, those with a number in the first column, moved to the left in order."""
    absent = np.isnan(columns[0])
    if (absent[:, :-1] & ~absent[:, 1:]).any():
        order = np.argsort(absent, axis=1, kind="stable")
        columns = tuple(np.take_along_axis(column, order, axis=1) for column in columns)
    return columns


def _columns(rays: Rays) -> tuple[NDArray[Any], ...]:
    return rays.power_db, rays.phase_deg, rays.delay_s, rays.aod_az_deg, rays.aod_el_deg
