"""From ray-tracer output to DeepMIMO's path matrices, and the v4 folder that holds them. NumPy alone.

DeepMIMO's own converter of Sionna results leaves out the carrier phase and keeps the first 25 paths by index, which for
some users loses the strongest. Here `phase` contains the carrier phase and the strongest paths are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PATHS = 25
"""Paths kept of a user; what is cut off carries less than 0.03 dB in the canyon."""

DIGITS = {1: 1, 8: 2, 2: 3, 4: 4}
"""Sionna's interaction types (specular, diffraction, diffuse, refraction) as DeepMIMO's digits."""

MATRICES = ("power", "phase", "delay", "aoa_az", "aoa_el", "aod_az", "aod_el", "inter")


@dataclass(frozen=True)
class TracedPaths:
    """Paths (users, paths) between one transmitter and its users as the ray tracer gives them, in any order."""

    gain: NDArray[np.complex128]
    """Passband coefficient without the carrier phase exp(-j 2 pi fc tau); 0 where there is no path."""
    delay_s: NDArray[np.float64]
    aoa_az_rad: NDArray[np.floating]
    aoa_el_rad: NDArray[np.floating]
    """Zenith angle of arrival."""
    aod_az_rad: NDArray[np.floating]
    aod_el_rad: NDArray[np.floating]
    """Zenith angle of departure."""
    interactions: NDArray[np.integer]
    """Sionna's interaction types along each path from the transmitter, (users, paths, depth); 0 ends the path."""


def deepmimo_matrices(
    paths: TracedPaths, frequency_hz: float, max_paths: int = MAX_PATHS
) -> dict[str, NDArray[np.float32]]:
    """The strongest paths of every user, strongest first.

    Args:
        paths: Output of the ray tracer.
        frequency_hz: Carrier frequency in Hz.
        max_paths: Paths kept of a user.

    Returns:
        One matrix (users, max_paths) float32 per name in `MATRICES`, NaN where there is no path: power in dB, phase in
        degrees with the carrier phase, delay in seconds, angles in degrees (azimuth, zenith), and the interactions as
        decimal digits from the transmitter, 0 for the line of sight.
    """
    magnitude = np.abs(paths.gain)
    order = np.argsort(-magnitude, axis=1, kind="stable")[:, :max_paths]

    def strongest(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, order, axis=1)

    present = strongest(magnitude) > 0
    gain, delay = strongest(paths.gain), strongest(paths.delay_s)
    # Whole carrier periods are taken off in double precision before the phase is narrowed.
    phase = np.degrees(np.angle(gain)) - 360 * ((frequency_hz * delay) % 1.0)
    made = {
        "power": 20 * np.log10(np.where(present, np.abs(gain), 1.0)),
        "phase": (phase + 180) % 360 - 180,
        "delay": delay,
        "aoa_az": np.degrees(strongest(paths.aoa_az_rad)),
        "aoa_el": np.degrees(strongest(paths.aoa_el_rad)),
        "aod_az": np.degrees(strongest(paths.aod_az_rad)),
        "aod_el": np.degrees(strongest(paths.aod_el_rad)),
        "inter": strongest(interaction_codes(paths.interactions)),
    }
    return {key: _padded(np.where(present, values, np.nan), max_paths) for key, values in made.items()}


def interaction_codes(interactions: NDArray[np.integer]) -> NDArray[np.float64]:
    """Interaction types (..., depth) as DeepMIMO's decimal codes: two reflections are 11, the line of sight is 0."""
    digit = np.zeros(max(DIGITS) + 1)
    digit[list(DIGITS)] = list(DIGITS.values())
    code = np.zeros(interactions.shape[:-1])
    for step in np.moveaxis(digit[interactions], -1, 0):
        code = np.where(step > 0, code * 10 + step, code)
    return code


def _padded(values: NDArray[Any], width: int) -> NDArray[np.float32]:
    missing = width - values.shape[1]
    return np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan).astype(np.float32)


def spread(matrices: Mapping[str, NDArray[np.float32]], users: NDArray[np.integer], total: int) -> dict[str, Any]:
    """Matrices of some users among `total` grid points; the others have no path."""
    whole = {}
    for key, values in matrices.items():
        whole[key] = np.full((total, values.shape[1]), np.nan, np.float32)
        whole[key][users] = values
    return whole


def write_v4(
    folder: Path,
    matrices: Mapping[str, NDArray[np.float32]],
    *,
    position_m: NDArray[np.floating],
    transmitter_m: Sequence[float],
    frequency_hz: float,
    tracer: Mapping[str, Any],
) -> None:
    """Write a DeepMIMO v4 scenario with one transmitter (set 0) and one set of users (set 1).

    Args:
        folder: Made if need be; its name should be lower-case, else DeepMIMO does not find it.
        matrices: See `deepmimo_matrices`, one row per user.
        position_m: User positions (users, 3), metres.
        transmitter_m: Position of the transmitter, metres.
        frequency_hz: Carrier frequency in Hz.
        tracer: More entries of `rt_params`: name, version and settings of the ray tracer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    served = ~np.isnan(matrices["power"])
    columns = max(1, int(served.any(axis=0).sum()))
    arrays = {key: matrices[key][:, :columns] for key in MATRICES}
    arrays["rx_pos"] = np.asarray(position_m, np.float32)
    arrays["tx_pos"] = np.asarray(transmitter_m, np.float32).reshape(1, 3)
    for key, values in arrays.items():
        np.savez_compressed(folder / f"{key}_t000_tx000_r001.npz", allow_pickle=False, **{key: values})
    params = {
        "version": "4.0.5",
        "rt_params": {"frequency": round(frequency_hz), **tracer},
        "txrx_sets": {
            "txrx_set_0": _set(0, "tx_array", True, 1, 1),
            "txrx_set_1": _set(1, "rx_array", False, len(served), int(served.any(axis=1).sum())),
        },
        "materials": {},
        "scene": {"num_scenes": 1},
    }
    (folder / "params.json").write_text(json.dumps(params, indent=1) + "\n", encoding="utf-8")


def _set(number: int, name: str, transmits: bool, points: int, active: int) -> dict[str, Any]:
    return {
        "name": name,
        "id_orig": number,
        "id": number,
        "is_tx": transmits,
        "is_rx": not transmits,
        "num_points": points,
        "num_active_points": active,
        "num_ant": 1,
        "dual_pol": False,
        "ant_rel_positions": [[0, 0, 0]],
        "array_orientation": [0, 0, 0],
    }
