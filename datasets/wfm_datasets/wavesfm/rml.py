"""Modulation recognition: the pickled dict {(modulation, snr): (n, 2, length)} of RML2016 and RML22."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.pickle_objects import PickledArray
from wfm_datasets.wavesfm.pickled import read_at, scan
from wfm_datasets.wavesfm.scan import Scan, iq, label, number, scale_iq

LAYOUT = "one pickle of RML22 or RML2016: a dict {(modulation, snr): array (n, 2, length)}"
STD = {"RML22": (2.925, 2.924), "RML2016": (0.0058, 0.0062)}
BLOCKS = 20
"""Blocks of consecutive frames into which every (class, SNR) is cut: neighbouring frames stay together."""
_SUFFIXES = (".pkl", ".dat", ".01a", ".pickle", ".p")


class RMLReader:
    """I/Q frames sorted by modulation, SNR and place in the file."""

    def __init__(self, source: WavesFMSource) -> None:
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, _SUFFIXES, LAYOUT)
        if len(found) > 1:
            raise InputError(f"{found[1].path}: a second pickle", f"expected {LAYOUT}")
        path, record = found[0].path, found[0].record()
        cells = sorted((_key(path, key), array) for key, array in scan(path).items())
        length = _length(path, cells)
        classes = sorted({modulation for (modulation, _), _ in cells})
        counts = np.array([array.shape[0] for _, array in cells])
        cell = np.repeat(np.arange(len(cells)), counts)
        first = np.concatenate([[0], np.cumsum(counts)])
        kind = np.array([classes.index(modulation) for (modulation, _), _ in cells], np.int64)[cell]
        snr = np.array([value for (_, value), _ in cells], np.float32)[cell]
        block = blocks(cell, np.arange(len(cell)) - first[cell], counts)
        std = self._std(path)
        return Scan(
            kind="iq",
            array=iq(1, length, "1", "I/Q frame", {"normalise": self.source.normalise, "wavesfm_std": list(std)}),
            columns=(
                (label("modulation", classes, "modulation"), kind.astype(np.int16)),
                (number("snr_db", "float32", "dB", "signal-to-noise ratio"), snr),
                (number("block", "int32", "1", "block of consecutive frames of one modulation and SNR"), block),
            ),
            sources=(record,),
            stratum=cell.astype(np.int64),
            groups={"block": block.astype(np.int64)},
            attrs={"groups": f"{BLOCKS} blocks of consecutive frames for every modulation and SNR"},
            state={
                "file": np.array([str(path)]),
                "first": first,
                "at": np.array([array.at for _, array in cells], np.int64),
                "dtype": np.array([array.dtype for _, array in cells]),
            },
        )

    def _std(self, path: Path) -> tuple[float, float]:
        return STD["RML2016" if "2016" in path.name else "RML22"]

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        path, first = Path(str(state["file"][0])), state["first"]
        made = []
        for cell, low, high in files.overlaps(first, start, stop):
            begin, end = int(first[cell]), int(first[cell + 1])
            whole = read_at(path, int(state["at"][cell]), str(state["dtype"][cell]), (end - begin, 2, -1))
            part = whole[low:high].astype(np.float32)
            files.refuse_unfinite(path, f"frame among rows {begin + low} to {begin + high - 1}", part)
            made.append((part[:, 0] + 1j * part[:, 1]).astype(np.complex64)[:, None])
        return scale_iq(np.concatenate(made), self._std(path), self.source)


def blocks(cell: NDArray[np.int64], index: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number of the block of every frame.

    Args:
        cell: Cell (class and SNR) of every frame, (n,).
        index: Place of the frame in its cell, (n,).
        counts: Frames of every cell.
    """
    inner = index * np.minimum(BLOCKS, counts)[cell] // counts[cell]
    made: NDArray[np.int32] = (cell * BLOCKS + inner).astype(np.int32)
    return made


def _key(path: Path, key: Any) -> tuple[str, int]:
    try:
        modulation, snr = key
        return str(modulation), int(snr)
    except (TypeError, ValueError):
        raise InputError(f"{path}: key {key!r} is not (modulation, snr)", f"expected {LAYOUT}") from None


def _length(path: Path, cells: list[tuple[tuple[str, int], PickledArray]]) -> int:
    """Length of a frame, the same for all."""
    length = cells[0][1].shape[-1] if cells[0][1].shape else 0
    for key, array in cells:
        good = len(array.shape) == 3 and array.shape[0] > 0 and array.shape[1:] == (2, length) and array.dtype[1] == "f"
        if not good or array.at < 0:
            raise InputError(
                f"{path}: entry {key} is {array.dtype} {array.shape}, not (n, 2, length)", f"expected {LAYOUT}"
            )
    return int(length)
