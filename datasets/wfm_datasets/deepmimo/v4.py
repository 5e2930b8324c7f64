"""DeepMIMO v4 folders: `params.json` and one file per quantity, read through the `deepmimo` package.

The package prompts for a download when it does not find a scenario, prints what it does, lower-cases names, looks
parameters up by name below a configured folder and unpickles arrays. It is therefore handed a temporary folder with a
lower-case name that links to exactly the files that were found and checked here, and its output is swallowed.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from wfm_cli.core.signal.channels import Rays
from wfm_cli.errors import InputError, MissingExtraError
from wfm_datasets.deepmimo.files import SourceFolder, damaged, refuse_outside, refuse_unfinite
from wfm_datasets.deepmimo.scenario import Scenario, pack

RAYS = ("power", "phase", "delay", "aod_az", "aod_el")
"""What a channel is made of, (users, paths), NaN where there is no path: dB, degrees, seconds, degrees (zenith)."""
MATRICES = (*RAYS, "inter", "rx_pos", "tx_pos")
"""Everything that is read. `inter` codes the interactions of a path; 0 is the line of sight."""

ARRIVALS = ("aoa_az", "aoa_el")
"""Azimuth and zenith angle of arrival in degrees, (users, paths); read on demand, a channel does not need them."""

_SUFFIXES = (".mat", ".npz", ".npy")  # in the order in which deepmimo looks for them
_ALL_PATHS = 1 << 30


def read_v4(folder: SourceFolder, bs: int, arrivals: bool = False) -> Scenario:
    """Read base station `bs` of a v4 folder, counting the points of all transmitter sets from 1.

    The users are the points of every set that only receives, in the order of the sets. A user is in line of sight
    when any of its paths has no interaction; DeepMIMO's own `los` looks at the first path alone.

    Raises:
        InputError: a file is missing, damaged or a Git LFS pointer, a path has a value that is not finite, the
            scenario is dynamic, or the base station is not there.
        MissingExtraError: the package `deepmimo` cannot be imported.
    """
    params_file = folder.path / "params.json"
    sources = [folder.record(params_file)]
    frequency, transmitters, receivers = _parse(params_file)
    if not 1 <= bs <= len(transmitters):
        present = ", ".join(map(str, range(1, len(transmitters) + 1)))
        raise InputError(f"{folder.label}: there is no base station {bs}", f"present: {present} (--bs)")
    transmitter = transmitters[bs - 1]
    keys = (*MATRICES, *ARRIVALS) if arrivals else MATRICES
    files = {rx_set: _files(folder, keys, transmitter, rx_set) for rx_set in receivers}
    for rx_set, of_set in files.items():
        for key, file in of_set.items():
            sources.append(folder.record(file))
            _check_array(file, key, receivers[rx_set])
    parts = _through_deepmimo(params_file, files, transmitter)
    first_user = np.cumsum([0, *receivers.values()])
    for of_set, part, start in zip(files.values(), parts, first_user[:-1], strict=True):
        _check_values(of_set, part, int(start))
    per_path = [key for key in keys if not key.endswith("_pos")]
    table = {key: _stack([part[key] for part in parts]) for key in per_path}
    is_los = table["inter"] == 0
    return Scenario(
        name=folder.name,
        bs=bs,
        frequency_hz=frequency,
        rays=Rays(*pack(*(table[key] for key in RAYS))),
        los=np.logical_or.reduce(is_los, axis=1),
        los_not_first=int(np.count_nonzero(is_los[:, 1:].any(axis=1) & ~is_los[:, 0])),
        position_m=np.concatenate([part["rx_pos"] for part in parts])[:, :3],
        bs_position_m=parts[0]["tx_pos"].reshape(-1)[:3],
        sources=tuple(sources),
        arrival_deg=np.stack(pack(table["power"], *(table[key] for key in ARRIVALS))[1:], axis=2) if arrivals else None,
    )


def _parse(file: Path) -> tuple[float, list[tuple[int, int]], dict[int, int]]:
    """Carrier frequency, every (transmitter set, point), and the points of every set that only receives."""
    try:
        params = json.loads(file.read_text(encoding="utf-8"))
        frequency = float(params["rt_params"]["frequency"])
        sets = sorted(params["txrx_sets"].values(), key=lambda entry: int(entry["id"]))
        scenes = int(params["scene"]["num_scenes"])
        transmitters = [(int(s["id"]), point) for s in sets if s["is_tx"] for point in range(int(s["num_points"]))]
        receivers = {int(s["id"]): int(s["num_points"]) for s in sets if s["is_rx"] and not s["is_tx"]}
        receivers = {number: points for number, points in receivers.items() if points}
    except KeyError as error:
        raise damaged(file, f"field {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(file, error) from error
    if scenes > 1:
        raise InputError(f"{file}: a dynamic scenario of {scenes} snapshots", "give a scenario with a single scene")
    if not transmitters or not receivers:
        raise damaged(file, "field 'txrx_sets' names no transmitter or no set that only receives")
    return frequency, transmitters, receivers


def _files(folder: SourceFolder, keys: Sequence[str], transmitter: tuple[int, int], rx_set: int) -> dict[str, Path]:
    """The file of every matrix between one transmitter and one receiver set."""
    found = {}
    for key in keys:
        stem = folder.path / f"{key}_t{transmitter[0]:03d}_tx{transmitter[1]:03d}_r{rx_set:03d}"
        present = [file for suffix in _SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()]
        if not present:
            hint = "unpack or convert the whole scenario again"
            raise InputError(f"{stem}.npz: this file of the scenario is missing", hint)
        found[key] = present[0]
    return found


def _check_array(file: Path, key: str, points: int) -> None:
    """Decode a file without unpickling; deepmimo, which would unpickle, only sees files that pass."""
    try:
        array = _decode(file, key)
    except KeyError as error:
        raise damaged(file, f"field '{key}' is missing") from error
    except Exception as error:  # zip, zlib, header and end-of-file errors have no common class
        raise damaged(file, error or type(error).__name__) from error
    if key != "tx_pos" and (array.ndim != 2 or len(array) != points):
        raise damaged(file, f"field '{key}' has shape {array.shape}, but params.json names {points} users")


def _decode(file: Path, key: str) -> NDArray[Any]:
    array: NDArray[Any]
    with file.open("rb") as stream:  # NumPy forgets to close a damaged file that it opened itself
        if file.suffix == ".mat":
            array = loadmat(stream, variable_names=[key])[key]
        elif file.suffix == ".npz":
            array = np.load(stream, allow_pickle=False)[key]
        else:
            array = np.load(stream, allow_pickle=False)
    return array


def _through_deepmimo(
    params_file: Path, files: Mapping[int, Mapping[str, Path]], transmitter: tuple[int, int]
) -> list[dict[str, NDArray[np.float32]]]:
    """The matrices of every receiver set, loaded by the package from links to the files."""
    keys = list(next(iter(files.values())))
    with (
        tempfile.TemporaryDirectory(prefix="wfm-deepmimo-") as parent,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        deepmimo = _import()
        scenario = Path(parent).resolve() / "scenario"
        scenario.mkdir()
        for file in (params_file, *(file for of_set in files.values() for file in of_set.values())):
            (scenario / file.name).symlink_to(file.resolve())
        before = deepmimo.config.get("scenarios_folder")
        deepmimo.config.set("scenarios_folder", str(scenario.parent))
        try:
            loaded = deepmimo.load(
                scenario.name,
                max_paths=_ALL_PATHS,
                tx_sets={transmitter[0]: [transmitter[1]]},
                rx_sets=dict.fromkeys(files, "all"),
                matrices=keys,
            )
            parts = loaded.datasets if len(files) > 1 else [loaded]
            return [{key: np.asarray(part[key], np.float32) for key in keys} for part in parts]
        except Exception as error:  # the package documents no exceptions of its own
            raise damaged(params_file.parent, f"deepmimo cannot load it: {error or type(error).__name__}") from error
        finally:
            deepmimo.config.set("scenarios_folder", before)


def _import() -> Any:
    try:
        import deepmimo
    except ImportError as error:
        raise MissingExtraError(
            f"DeepMIMO v4 folders are read through the package deepmimo, which cannot be imported ({error})",
            "pip install 'deepmimo>=4.0,<5'",
        ) from error
    return deepmimo


def _check_values(where: Mapping[str, Path], part: Mapping[str, NDArray[np.float32]], start: int) -> None:
    """A path has a finite value in every matrix; a user index counts from `start`."""
    keys = [key for key in part if not key.endswith("_pos")]
    widths = {part[key].shape for key in keys}
    if len(widths) > 1:
        raise damaged(where["power"].parent, f"the matrices {', '.join(keys)} have different shapes")
    present = ~np.all([np.isnan(part[key]) for key in RAYS], axis=0)
    user = start + np.nonzero(present)[0]
    for key in keys:
        refuse_unfinite(where[key], key, part[key][present], user)
    delay, zenith = part["delay"][present], part["aod_el"][present]
    refuse_outside(where["delay"], "delay", delay, user, 0.0, 1.0, "delays are in seconds")
    refuse_outside(
        where["aod_el"], "aod_el", zenith, user, -0.01, 180.01, "elevations are zenith angles in degrees, 0 is up"
    )
    position = part["rx_pos"]
    refuse_unfinite(where["rx_pos"], "rx_pos", position.ravel(), start + np.arange(position.size) // position.shape[1])


def _stack(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Matrices of several receiver sets below each other, padded with NaN to the same number of paths."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=np.nan) for p in parts])
