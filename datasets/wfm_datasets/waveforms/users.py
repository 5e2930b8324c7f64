"""The users of a scenario as single-antenna channels: path gains, delays and directions of arrival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.scenario import read_scenario

SPEED_OF_LIGHT = 299_792_458.0


@dataclass(frozen=True)
class Users:
    """Users that the base station reaches; paths that do not exist have gain 0."""

    name: str
    """The scenario's name."""
    frequency_hz: float
    number: NDArray[np.int64]
    """Index of every user in the scenario, (U,)."""
    gain: NDArray[np.complex64]
    """Complex path gains, the powers of a user adding up to 1, (U, P)."""
    delay_s: NDArray[np.float64]
    """Delays behind the first arrival, (U, P)."""
    direction: NDArray[np.float64]
    """Unit vectors from the user to where the path comes from, (U, P, 3)."""
    sources: tuple[Mapping[str, Any], ...]
    """Records of the files that were read."""

    def __len__(self) -> int:
        return len(self.number)

    def doppler_hz(self, user: int, velocity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Frequency shift of every path of one user with this velocity in m/s, (P,): positive towards the source."""
        shift: NDArray[np.float64] = self.direction[user] @ velocity * (self.frequency_hz / SPEED_OF_LIGHT)
        return shift


def read_users(spec: str, bs: int, strongest_path: float = 1.0) -> Users:
    """The served users of one base station of a scenario, in the order of the files.

    Args:
        spec: Path of the scenario's folder, or `embedded:NAME`.
        bs: Base station number from 1.
        strongest_path: Users with a larger share of their power in one path are left out.

    Raises:
        InputError: see `read_scenario`; the angles of arrival must be there, and a user must be left.
    """
    scenario = read_scenario(spec, bs, arrivals=True)
    number = np.flatnonzero(scenario.served)
    served = scenario.take(number)
    rays, present = served.rays, served.rays.present
    azimuth, zenith = np.radians(np.nan_to_num(np.asarray(served.arrival_deg, np.float64))).transpose(2, 0, 1)
    power_db = np.where(present, rays.power_db, -np.inf).astype(np.float64)
    amplitude = 10 ** ((power_db - power_db.max(axis=1, keepdims=True)) / 20)
    amplitude /= np.sqrt(np.square(amplitude).sum(axis=1, keepdims=True))
    delay = np.where(present, rays.delay_s, np.inf).astype(np.float64)
    fading = np.flatnonzero(np.square(amplitude).max(axis=1) <= strongest_path + 1e-9)
    if not len(fading):
        raise InputError(
            f"{spec}: every user has more than {strongest_path:g} of the power in one path", "raise strongest_path"
        )
    users = Users(
        name=scenario.name,
        frequency_hz=scenario.frequency_hz,
        number=number,
        gain=(amplitude * np.exp(1j * np.radians(np.nan_to_num(rays.phase_deg)))).astype(np.complex64),
        delay_s=np.where(present, delay - delay.min(axis=1, keepdims=True), 0.0),
        direction=np.stack(
            [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)], axis=2
        ),
        sources=scenario.sources,
    )
    chosen = {field: getattr(users, field)[fading] for field in ("number", "gain", "delay_s", "direction")}
    return replace(users, **chosen)


def coherence_s(doppler_hz: float) -> float:
    """Time over which a channel with this largest Doppler shift stays alike: 9 / (16 pi f_d), infinite at rest."""
    return 9 / (16 * np.pi * doppler_hz) if doppler_hz > 0 else float("inf")
