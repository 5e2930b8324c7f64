"""5G NR positioning: MATLAB v7.3 files, which are HDF5 with the axes reversed (10.21227/jsat-pb50)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.iq.hdf5_files import opened
from wfm_datasets.wavesfm import files, image
from wfm_datasets.wavesfm.scan import Scan, number, position

LAYOUT = "dataset_SNR{10,20,50}_outdoor.mat (MATLAB v7.3): features (n, gNB, 16, 193), labels/position (n, 3)"
OUTDOOR = image.Norm(-0.096, 1.136, (0.4638, 0.4631, 0.4703, 0.4620), (0.1154, 0.1176, 0.0979, 0.1281))
BOX_M = {"outdoor": (80.0, 60.0, 40.0), "indoor": (60.0, 20.0, 4.0)}
INDOOR_RANGE = (-0.123, 1.415)
_SAME_M = 1e-3
"""Positions that agree to a millimetre are one position."""


@dataclass(frozen=True)
class _File:
    path: Path
    shape: tuple[int, int, int]
    position_m: NDArray[np.float64]
    snr_db: float
    scene: str


class PositionReader:
    """`features` of every file; copies of one position at several SNRs are one group."""

    def __init__(self, source: WavesFMSource) -> None:
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".mat",), LAYOUT)
        sources = tuple(raw.record() for raw in found)
        parts = [_look(raw.path) for raw in found]
        first = parts[0]
        for part in parts:
            if (part.scene, part.shape) != (first.scene, first.shape):
                raise InputError(
                    f"{part.path}: {part.scene} with features of {part.shape}, but {first.path.name} is {first.scene} "
                    f"with {first.shape}", "prepare indoor and outdoor files as two stores",
                )  # fmt: skip
        place = np.concatenate([part.position_m for part in parts])
        counts = [len(part.position_m) for part in parts]
        group = np.unique(np.rint(place / _SAME_M), axis=0, return_inverse=True)[1].ravel().astype(np.int64)
        snr = np.repeat([part.snr_db for part in parts], counts)
        words = "radio features of one transmission as seen by each base station (gNB = channel)"
        more = {"axes": "the last two are not documented with the data; antenna and subcarrier assumed"}
        return Scan(
            kind="csi",
            array=image.describe(
                "csi", first.shape, ("channel", "antenna", "subcarrier"), words, self._norm(first), self.source, more
            ),
            columns=(
                (position(f"user position, {first.scene}"), place.astype(np.float32)),
                (number("snr_db", "float32", "dB", "SNR of the file, from its name"), snr.astype(np.float32)),
                (number("place", "int32", "1", "number of the position: SNR copies share it"), group.astype(np.int32)),
            ),
            sources=sources,
            stratum=np.zeros(len(group), np.int64),
            groups={"position": group},
            attrs={"scene": first.scene, "nominal_box_m": list(BOX_M[first.scene])},
            state={
                "file": np.array([str(part.path) for part in parts]),
                "first": np.cumsum([0, *counts]),
            },
        )  # fmt: skip

    def _norm(self, part: _File) -> image.Norm | None:
        if part.scene == "outdoor" and part.shape[0] == len(OUTDOOR.mean):
            return OUTDOOR
        if self.source.normalise == "wavesfm":
            raise InputError(
                f"{part.path}: no published mean and standard deviation for {part.scene} files of {part.shape[0]} "
                "channels", f"use normalise: file (published range of indoor values: {INDOOR_RANGE})",
            )  # fmt: skip
        return None

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        norm = OUTDOOR if self.source.normalise == "wavesfm" else None
        made = []
        for file, low, high in files.overlaps(state["first"], start, stop):
            made.append(image.finish(_rows(Path(str(state["file"][file])), low, high), norm, self.source))
        return np.concatenate(made)


def _refuse_v5(path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(19) == b"MATLAB 5.0 MAT-file":
            raise InputError(f"{path}: is MATLAB v5, expected v7.3", "save it with -v7.3")


def _dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        held: list[str] = []
        file.visit(lambda key: held.append(key) if not key.startswith("#") else None)
        raise InputError(
            f"{path}: has no variable {name} (it holds {', '.join(held[:6]) or 'nothing'})", f"expected {LAYOUT}"
        )
    return found


def _reversed(data: h5py.Dataset) -> bool:
    """MATLAB marks what it writes, and writes the last axis first."""
    return "MATLAB_class" in data.attrs


def _look(path: Path) -> _File:
    snr = re.search(r"SNR(-?\d+)", path.name)
    if snr is None:
        raise InputError(f"{path}: its name says no SNR", f"expected {LAYOUT}")
    _refuse_v5(path)
    with opened(path) as file:
        features, where = _dataset(file, path, "features"), _dataset(file, path, "labels/position")
        shape = features.shape[::-1] if _reversed(features) else features.shape
        place_shape = where.shape[::-1] if _reversed(where) else where.shape
        if len(shape) != 4 or place_shape != (shape[0], 3) or features.dtype.kind != "f":
            raise InputError(
                f"{path}: features {features.dtype} {shape} and labels/position {place_shape} do not fit each other",
                f"expected {LAYOUT}",
            )
        place = np.asarray(where[()], np.float64)
        place = place.T if _reversed(where) else place
    files.refuse_unfinite(path, "labels/position", place)
    return _File(path, shape[1:], place, float(snr[1]), "indoor" if "indoor" in path.name else "outdoor")


def _rows(path: Path, start: int, stop: int) -> NDArray[np.float32]:
    with opened(path) as file:
        data = _dataset(file, path, "features")
        if _reversed(data):
            values = data[..., start:stop].T
        else:
            values = data[start:stop]
    files.refuse_unfinite(path, f"features of samples {start} to {stop - 1}", values)
    return np.ascontiguousarray(values, np.float32)
