"""RadioML 2016.10a, 2016.10b, 2016.04C and RML22: a pickled dict {(modulation, SNR): array (n, 2, length)}.

Nothing in the pickle is executed, and the arrays stay in the file: windows are cut out of the mapped bytes.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.hdf5_files import datatype
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.wavesfm.pickle_instructions import begins_pickle
from wfm_datasets.wavesfm.pickle_objects import PickledArray
from wfm_datasets.wavesfm.pickled import read_at, scan

LAYOUT = "a pickled dict {(modulation, snr): array (n, 2, length)}, as RadioML 2016 and RML22 are published"
_SUFFIXES = (".pkl", ".pickle")
_NOISE_ONLY = "AM-SSB of RadioML 2016.10a holds noise alone"
_MOST_ENCODED = 1 << 26
"""Bytes of arrays that a pickle holds as text; they are carried along."""
Cell = tuple[tuple[str, float], PickledArray]


def recognise(path: Path, head: bytes) -> bool:
    """A pickle, whatever its suffix: 2016.10b is a `.dat`, RML22 a `.01A`."""
    return begins_pickle(head) or (path.suffix.lower() in _SUFFIXES and not head.startswith(b"version https"))


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """All examples of the file as one recording with columns `label` and `snr_db`, sorted by class and SNR.

    Raises:
        InputError: damaged, another layout, or a pickle that wants something else than arrays.
    """
    cells = sorted(((_key(path, key), array) for key, array in scan(path).items()), key=lambda cell: cell[0])
    _, first_array = cells[0]
    for key, array in cells:
        _check(path, key, array, first_array)
    kind = np.dtype(first_array.dtype)
    length, counts = first_array.shape[2], np.array([array.shape[0] for _, array in cells])
    labels = np.array([modulation for (modulation, _), _ in cells])
    noise = "AM-SSB" in labels and "2016.10a" in path.name.casefold()
    layout: dict[str, JSON] = {
        **stamp(path),
        "plane_bytes": length * kind.itemsize,
        "example_bytes": 2 * length * kind.itemsize,
        **_places(path, cells),
    }
    return [
        Recording(
            name=path.stem,
            path=path,
            format="RadioML pickle",
            datatype=str(datatype(kind)),
            samples=length,
            examples=int(counts.sum()),
            columns={
                "label": np.repeat(labels, counts),
                "snr_db": np.repeat(np.array([snr for (_, snr), _ in cells], np.float32), counts),
            },
            origin={"label": "key of the pickle", "datatype": "array type in the pickle"},
            notes=(_NOISE_ONLY,) if noise else (),
            backend="blocks",
            layout=layout,
        )
    ]


def _key(path: Path, key: Any) -> tuple[str, float]:
    try:
        modulation, snr = key
        return str(modulation), float(snr)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: key {key!r} is not (modulation, snr)", f"expected {LAYOUT}") from None


def _check(path: Path, key: tuple[str, float], array: PickledArray, first: PickledArray) -> None:
    """Refuse an array of another layout than the first, or none of I/Q at all."""
    shape, words = array.shape, f"{array.dtype} {array.shape}"
    if len(shape) != 3 or shape[1] != 2 or min(shape) < 1 or np.dtype(array.dtype).kind == "c":
        raise InputError(f"{path}: entry {key} is {words}, not (n, 2, length)", f"expected {LAYOUT}")
    if datatype(np.dtype(array.dtype)) is None or array.dtype[1:] == "f2":
        raise InputError(f"{path}: entry {key} is {words}: no type of I/Q numbers", f"expected {LAYOUT}")
    if (array.dtype, shape[2]) != (first.dtype, first.shape[2]):
        raise InputError(
            f"{path}: entry {key} is {words}, others are {first.dtype} {first.shape}",
            "split it into files whose arrays share type and length",
        )


def _places(path: Path, cells: list[Cell]) -> dict[str, JSON]:
    """Where the examples lie, for the reader of blocks."""
    blocks: list[JSON] = []
    inline: list[JSON] = []
    first = encoded = 0
    for key, array in cells:
        if array.offset >= 0:
            blocks.append([first, array.offset])
        else:  # small, or written by Python 2 as text
            encoded += math.prod(array.shape) * np.dtype(array.dtype).itemsize
            if encoded > _MOST_ENCODED:
                raise InputError(f"{path}: entry {key} is written as text", "pickle the dict again with protocol 4")
            data = array.inline if array.at < 0 else read_at(path, array.at, array.dtype, array.shape).tobytes()
            inline.append([first, base64.b64encode(data).decode()])
        first += array.shape[0]
    return {"blocks": blocks} | ({"inline": inline} if inline else {})
