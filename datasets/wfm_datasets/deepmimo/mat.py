"""DeepMIMO v2/v3 folders: `params.mat` and `BS{i}_UE_{first}-{last}.mat`, read with scipy alone.

A file of users holds `channels`, an object array with one struct per user whose field `p` is an 8 x P matrix (rows in
`ROWS`, paths in columns, no column without a path), `rx_locs` (users, x y z distance pathloss) and `tx_loc`. The users
of one base station may be spread over several files, which are read in the order of their numbers; `BS{i}_BS.mat`
holds the paths between base stations and is of no use here. Powers are in dBm for the transmit power in `params.mat`.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from wfm_cli.core.signal.channels import Rays
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import SourceFolder, damaged, refuse_outside, refuse_unfinite
from wfm_datasets.deepmimo.scenario import Scenario

ROWS = ("phase", "delay", "power", "aoa_az", "aoa_el", "aod_az", "aod_el", "los")
"""Rows of the matrix `p`: degrees, seconds, dBm, degrees (azimuth, zenith), line-of-sight flag."""

_FILE = re.compile(r"BS(\d+)_UE_(\d+)-(\d+)\.mat")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class _Piece:
    """The users of one file."""

    counts: NDArray[np.int64]
    """Paths of every user, (U,)."""
    values: NDArray[np.float32]
    """All paths side by side, (len(ROWS), sum of counts)."""
    position_m: NDArray[np.float32]
    bs_position_m: NDArray[np.float32]


def read_mat(folder: SourceFolder, bs: int, arrivals: bool = False) -> Scenario:
    """Read base station `bs` of a v2/v3 folder.

    Raises:
        InputError: a file is missing, damaged, a Git LFS pointer or of MATLAB's version 7.3, a field is missing or
            misshapen, a path has a value that is not finite, or the base station is not there.
    """
    files = _user_files(folder, bs)
    params = folder.path / "params.mat"
    sources = [folder.record(params)]
    values = _load(params, ("carrier_freq", "transmit_power"))
    frequency, transmitted = (_scalar(params, values, key) for key in ("carrier_freq", "transmit_power"))
    pieces, first = [], 0
    for file in files:
        sources.append(folder.record(file))
        pieces.append(_read_piece(file, first))
        first += len(pieces[-1].counts)
    counts = np.concatenate([piece.counts for piece in pieces])
    field = _padded(counts, np.concatenate([piece.values for piece in pieces], axis=1))
    # One path carries the flag in the files we know; a flag on every path of the user would mean the same.
    is_los = field["los"] > 0
    return Scenario(
        name=folder.name,
        bs=bs,
        frequency_hz=frequency,
        rays=Rays(
            power_db=field["power"] - np.float32(transmitted),
            phase_deg=field["phase"],
            delay_s=field["delay"],
            aod_az_deg=field["aod_az"],
            aod_el_deg=field["aod_el"],
        ),
        los=np.logical_or.reduce(is_los, axis=1),
        los_not_first=int(np.count_nonzero(is_los[:, 1:].any(axis=1) & ~is_los[:, 0])),
        position_m=np.concatenate([piece.position_m for piece in pieces]),
        bs_position_m=pieces[0].bs_position_m,
        sources=tuple(sources),
        arrival_deg=np.stack([field["aoa_az"], field["aoa_el"]], axis=2) if arrivals else None,
    )


def _padded(counts: NDArray[np.int64], flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """One matrix (users, paths) per row name, NaN where a user has no further path."""
    table = np.full((len(ROWS), len(counts), max(1, int(counts.max(initial=0)))), np.nan, np.float32)
    table[:, np.arange(table.shape[2]) < counts[:, None]] = flat
    return dict(zip(ROWS, table, strict=True))


def _user_files(folder: SourceFolder, bs: int) -> list[Path]:
    """The files of one base station in the order of their first user."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in folder.path.iterdir():
        match = _FILE.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), []).append((int(match[2]), path))
    if not found:
        raise InputError(
            f"{folder.label}: no file BS*_UE_*.mat lies beside params.mat", "unpack the whole scenario into this folder"
        )
    if bs not in found:
        present = ", ".join(map(str, sorted(found)))
        raise InputError(f"{folder.label}: there is no base station {bs}", f"present: {present} (--bs)")
    return [path for _, path in sorted(found[bs])]


def _read_piece(file: Path, first: int) -> _Piece:
    """Read one file whose first user has index `first` in the scenario."""
    data = _load(file, ("channels", "rx_locs", "tx_loc"))
    cells = data["channels"].ravel()
    matrices = [_matrix(cell) for cell in cells]
    shapes = np.array([matrix.shape for matrix in matrices if matrix.size] or [(len(ROWS), 0)])
    if shapes.shape[1] != 2 or (shapes[:, 0] != len(ROWS)).any():
        raise InputError(
            f"{file}: field 'channels.p' has {shapes[0, 0]} rows, expected {len(ROWS)} ({', '.join(ROWS)})",
            "only the static, single-polarised DeepMIMO v2/v3 layout is read",
        )
    counts = np.array([matrix.shape[1] if matrix.size else 0 for matrix in matrices], np.int64)
    empty = np.zeros((len(ROWS), 0), np.float32)
    values = np.concatenate([empty, *(matrix for matrix in matrices if matrix.size)], axis=1).astype(np.float32)
    _check_range(file, first, len(counts))
    _check_values(file, values, first + np.repeat(np.arange(len(counts)), counts))
    position = np.asarray(data["rx_locs"], np.float32)
    if position.ndim != 2 or position.shape[0] != len(counts) or position.shape[1] < 3:
        raise damaged(file, f"field 'rx_locs' has shape {position.shape}, but there are {len(counts)} users")
    for axis, name in enumerate("xyz"):
        refuse_unfinite(file, f"rx_locs {name}", position[:, axis], first + np.arange(len(counts)))
    return _Piece(counts, values, position[:, :3], np.asarray(data["tx_loc"], np.float32).reshape(-1)[:3])


def _matrix(cell: NDArray[Any]) -> NDArray[Any]:
    """The matrix `p` of one user: within a struct, or bare; empty when the user has no path."""
    matrix: NDArray[Any] = cell["p"].flat[0] if cell.dtype.names and cell.size else cell
    return matrix


def _check_range(file: Path, first: int, users: int) -> None:
    """The numbers in the file's name must join on to the files before it and agree with the users in it."""
    match = _FILE.fullmatch(file.name)
    low, high = (int(match[2]), int(match[3])) if match else (first, first + users)
    if low != first:
        raise InputError(
            f"{file}: begins with user {low}, but the files before it end with user {first - 1}",
            "a file of this base station is missing; unpack the whole scenario again",
        )
    # The last number is exclusive in some scenarios and inclusive in others.
    if users not in (high - low, high - low + 1):
        raise damaged(file, f"field 'channels' has {users} users, the file's name says {high - low}")


def _check_values(file: Path, values: NDArray[np.float32], user: NDArray[np.integer]) -> None:
    for name, row in zip(ROWS, values, strict=True):
        refuse_unfinite(file, name, row, user)
    refuse_outside(file, "delay", values[ROWS.index("delay")], user, 0.0, 1.0, "delays are in seconds")
    zenith = values[ROWS.index("aod_el")]
    refuse_outside(file, "aod_el", zenith, user, -0.01, 180.01, "elevations are zenith angles in degrees, 0 is up")


def _load(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """All variables of a MATLAB v5 file, `names` among them; whatever scipy cannot decode becomes one line."""
    with file.open("rb") as stream:
        head = stream.read(128)
    if head.startswith((b"MATLAB 7.3", _HDF5)):
        raise InputError(
            f"{file}: a MATLAB v7.3 (HDF5) file, which DeepMIMO v2/v3 does not use", "save it with -v7 in MATLAB"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scipy warns of unreadable variables and puts text in their place
        try:
            data: dict[str, NDArray[Any]] = loadmat(file)
        except Exception as error:  # scipy raises nearly anything on a truncated file
            raise damaged(file, error or type(error).__name__) from error
    for name in names:
        if name not in data:
            raise damaged(file, f"field '{name}' is missing")
    return data


def _scalar(file: Path, data: dict[str, NDArray[Any]], name: str) -> float:
    values = np.asarray(data[name]).ravel()
    if values.size < 1 or values.dtype.kind not in "iuf" or not np.isfinite(values[0]):
        raise damaged(file, f"field '{name}' is not a number")
    return float(values[0])
