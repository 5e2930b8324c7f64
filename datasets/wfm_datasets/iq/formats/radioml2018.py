"""RadioML 2018.01A: HDF5 with X (n, 1024, 2), one-hot Y (n, 24) and SNRs Z (n, 1)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.iq.hdf5 import stored
from wfm_datasets.iq.hdf5_files import dataset, datatype, is_hdf5, opened, root
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions

CLASSES = [
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK", "16APSK", "32APSK", "64APSK", "128APSK"),
    *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM", "AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC"),
    *("FM", "GMSK", "OQPSK"),
]
"""Order of the columns of Y. The classes.txt that was published with the data is in another, wrong order."""
LAYOUT = "X (n, length, 2) real, Y (n, classes) one-hot, Z (n,) or (n, 1) SNR in dB"
_BLOCK = 1 << 16
_SHORTEST = 8
"""Samples below which an example is no example, and the file only an array with that many labels."""


def recognise(path: Path, head: bytes) -> bool:
    """HDF5 with X, Y and Z."""
    return is_hdf5(head) and root(path)[0] >= {"X", "Y", "Z"}


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """All examples as one recording with columns `label` and `snr_db`.

    Raises:
        InputError: damaged or of other shapes.
    """
    with opened(path) as file:
        samples, hot, snr = (dataset(file, name, table=name != "X") for name in "XYZ")
        shape, kind = samples.shape, datatype(samples.dtype)
        if (
            len(shape) != 3
            or shape[2] != 2
            or min(shape) < 1
            or shape[1] < 8
            or kind is None
            or samples.dtype.kind == "c"
        ):
            raise _other(path, "X", samples)
        if hot.ndim != 2 or hot.shape[0] != shape[0] or hot.dtype.kind not in "iufb":
            raise _other(path, "Y", hot)
        if snr.shape not in ((shape[0],), (shape[0], 1)) or snr.dtype.kind not in "iuf":
            raise _other(path, "Z", snr)
        number = _numbers(path, hot)
        values = np.concatenate([snr[low : low + _BLOCK].reshape(-1) for low in range(0, shape[0], _BLOCK)])
        classes, origin, notes = _classes(path, hot.shape[1])
        place = stored(samples, ("example", "time", "part"))
    return [
        Recording(
            name=path.stem,
            path=path,
            format="RadioML 2018 HDF5",
            datatype=kind,
            samples=int(shape[1]),
            examples=int(shape[0]),
            columns={"label": np.array(classes)[number], "snr_db": values.astype(np.float32)},
            origin={"label": origin, "datatype": "HDF5 type of X"},
            notes=notes,
            **place,
        )
    ]


def _other(path: Path, name: str, made: h5py.Dataset) -> InputError:
    return InputError(f"{path}: {name} is {made.dtype} {made.shape}", f"expected {LAYOUT}")


def _numbers(path: Path, hot: h5py.Dataset) -> NDArray[np.int16]:
    """Class number of every example; the one-hot rows are read in blocks."""
    made = np.empty(hot.shape[0], np.int16)
    for low in range(0, hot.shape[0], _BLOCK):
        block = hot[low : low + _BLOCK]
        bad = np.flatnonzero((block != 0).sum(axis=1) != 1)
        if len(bad):
            raise InputError(f"{path}: row {low + int(bad[0])} of Y is not one-hot", f"expected {LAYOUT}")
        made[low : low + len(block)] = block.argmax(axis=1)
    return made


def _classes(path: Path, count: int) -> tuple[list[str], str, tuple[str, ...]]:
    """Names of the columns of Y, where they come from, and what is wrong with the file that ships with them."""
    listed = path.with_name("classes.txt")
    names = _listed(listed) if listed.is_file() else []
    if count == len(CLASSES):
        origin = "order of the classes as corrected after publication"
        if names and names != CLASSES:
            differ = sum(a != b for a, b in zip(names, CLASSES, strict=False)) + abs(len(names) - len(CLASSES))
            note = (
                f"classes.txt beside it is in another order ({differ} of {count} differ): not used, known to be wrong"
            )
            return CLASSES, origin, (note,)
        return CLASSES, origin, ()
    if len(names) == count:
        return names, "classes.txt", ("class names are from classes.txt; that of 2018.01A is known to be wrong",)
    return (
        [f"class {number}" for number in range(count)],
        "column of Y",
        (f"the names of its {count} classes are unknown",),
    )


def _listed(path: Path) -> list[str]:
    """Names in quotes, or one a line."""
    try:
        text: Any = path.read_text(encoding="utf-8", errors="replace")[: 1 << 16]
    except OSError:
        return []
    return re.findall(r"['\"]([^'\"]+)['\"]", text) or text.split()
