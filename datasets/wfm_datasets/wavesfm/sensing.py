"""WiFi CSI sensing: NTU-Fi folders of MATLAB v5 files (EfficientFi, 10.1109/JIOT.2021.3139958)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.wavesfm import files, image
from wfm_datasets.wavesfm.mat5 import read_matrix, variables
from wfm_datasets.wavesfm.scan import Column, Scan, label, number

ACTIVITIES = ["box", "circle", "clean", "fall", "run", "walk"]
VARIABLE, SHAPE = "CSIamp", (342, 2000)
ANTENNAS = 3
NORM = image.Norm(2.44, 54.72, (0.7396, 0.7722, 0.7758), (0.0960, 0.0764, 0.0888))
LAYOUT = "{train_amp,test_amp}/{box,circle,clean,fall,run,walk}/*.mat of NTU-Fi"
_NEIGHBOURS = 10
"""Consecutive recordings of one class that stay together where the files name no person."""


class SensingReader:
    """`CSIamp` (342, 2000) of every file: 3 antennas x 114 subcarriers x 2000 times."""

    def __init__(self, source: WavesFMSource) -> None:
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".mat",), LAYOUT)
        sources = tuple(raw.record() for raw in found)
        for raw in found:
            _check(raw.path)
        folders = [raw.path.parent.name for raw in found]
        activity = set(folders) <= set(ACTIVITIES)
        if not activity and not all(name.isdigit() for name in folders):
            odd = next(raw for raw in found if raw.path.parent.name not in ACTIVITIES)
            raise InputError(
                f"{odd.path}: its folder '{odd.path.parent.name}' is no class of NTU-Fi", f"expected {LAYOUT}"
            )
        classes = ACTIVITIES if activity else sorted(set(folders))
        labels = np.array([classes.index(name) for name in folders], np.int64)
        official = np.array(["test" in raw.path.parent.parent.name for raw in found])
        what = label("activity" if activity else "person", classes, "name of the folder")
        columns: list[Column] = [(what, labels.astype(np.int16))]
        parts = number("official_test", "int8", "1", "whether the file lies in the authors' test folder", ["no", "yes"])
        columns.append((parts, official.astype(np.int8)))
        return Scan(
            kind="csi",
            array=image.describe(
                "csi", (ANTENNAS, SHAPE[0] // ANTENNAS, SHAPE[1]), ("channel", "frequency", "time"),
                "amplitude of WiFi CSI, one channel for each receiving antenna", NORM, self.source, {},
            ),
            columns=tuple(columns),
            sources=sources,
            stratum=labels,
            groups={"recording_block": _blocks(labels, official)},
            held_out={"official": official} if official.any() and not official.all() else {},
            default="official",
            attrs={"groups": "files name no person: recordings of one person can be in every part of every split"},
            state={"file": files.names(found)},
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        made = np.empty((stop - start, *_size(self.source)), np.float32)
        for row, name in enumerate(state["file"][start:stop]):
            values = _load(Path(str(name))).reshape(1, ANTENNAS, SHAPE[0] // ANTENNAS, SHAPE[1])
            made[row] = image.finish(values, NORM, self.source)[0]
        return made


def _size(source: WavesFMSource) -> tuple[int, int, int]:
    return (ANTENNAS, source.size, source.size) if source.size else (ANTENNAS, SHAPE[0] // ANTENNAS, SHAPE[1])


def _blocks(labels: NDArray[np.int64], official: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Runs of consecutive files of one class and folder, numbered."""
    made, first = np.empty(len(labels), np.int64), 0
    for cell in np.unique(labels * 2 + official):
        mine = np.flatnonzero(labels * 2 + official == cell)
        made[mine] = first + np.arange(len(mine)) // _NEIGHBOURS
        first = int(made[mine].max()) + 1
    return made


def _check(path: Path) -> None:
    held = variables(path)
    if VARIABLE not in held or held[VARIABLE].shape != SHAPE:
        words = ", ".join(f"{name} {matrix.shape}" for name, matrix in held.items()) or "nothing"
        raise InputError(f"{path}: holds {words}, not {VARIABLE} {SHAPE}", f"expected {LAYOUT}")


def _load(path: Path) -> NDArray[np.float32]:
    values = read_matrix(path, VARIABLE)
    if values.shape != SHAPE:
        raise InputError(f"{path}: {VARIABLE} has changed its shape to {values.shape}", f"expected {LAYOUT}")
    files.refuse_unfinite(path, VARIABLE, values)
    return values.astype(np.float32)
