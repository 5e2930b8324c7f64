"""Radar and communication waveforms: RadComOta HDF5 with tuple-named data sets (10.1016/j.comnet.2021.108441)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.iq.hdf5_files import opened
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.rml import blocks
from wfm_datasets.wavesfm.scan import Scan, iq, label, number

LAYOUT = "RadComOta2.45GHz.hdf5: data sets named ('modulation', 'signal type', 'snr', 'index') of 128 I then 128 Q"
LENGTH = 128
Key = tuple[str, str, int, int]


class RadComReader:
    """I/Q frames sorted by modulation, signal type, SNR and index."""

    def __init__(self, source: WavesFMSource) -> None:
        if source.normalise == "wavesfm":
            raise InputError("source.normalise: the published constants of radcom are not known", "use file")
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".hdf5", ".h5"), LAYOUT)
        if len(found) > 1:
            raise InputError(f"{found[1].path}: a second file", f"expected {LAYOUT}")
        path, record = found[0].path, found[0].record()
        with opened(path) as file:
            keyed = sorted((parse_key(path, name), name) for name in file)
        if not keyed:
            raise InputError(f"{path}: holds no data set", f"expected {LAYOUT}")
        keys = [key for key, _ in keyed]
        kind, kinds = files.number_of([f"{key[0]}, {key[1]}" for key in keys])
        modulation, modulations = files.number_of([key[0] for key in keys])
        signal, signals = files.number_of([key[1] for key in keys])
        cell, cells = files.number_of([key[:3] for key in keys])
        counts = np.bincount(cell, minlength=len(cells))
        block = blocks(cell, np.arange(len(cell)) - (np.cumsum(counts) - counts)[cell], counts)
        snr = np.array([key[2] for key in keys], np.float32)
        return Scan(
            kind="iq",
            array=iq(1, LENGTH, "1", "I/Q frame received over the air", {"normalise": "file"}),
            columns=(
                (label("waveform", kinds, "modulation and signal type"), kind.astype(np.int16)),
                (label("modulation", modulations, "modulation"), modulation.astype(np.int16)),
                (label("signal_type", signals, "radar or communication signal"), signal.astype(np.int16)),
                (number("snr_db", "float32", "dB", "signal-to-noise ratio"), snr),
                (number("block", "int32", "1", "block of consecutive frames of one waveform and SNR"), block),
            ),
            sources=(record,),
            stratum=cell,
            groups={"block": block.astype(np.int64)},
            attrs={"groups": "20 blocks of consecutive frames for every waveform and SNR"},
            state={"file": np.array([str(path)]), "name": np.array([name for _, name in keyed])},
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        path = Path(str(state["file"][0]))
        values = np.empty((stop - start, 2 * LENGTH), np.float32)
        with opened(path) as file:
            for row, name in enumerate(state["name"][start:stop]):
                values[row] = read_frame(path, file, str(name))
        files.refuse_unfinite(path, f"data set among rows {start} to {stop - 1}", values)
        made: NDArray[np.complex64] = (values[:, :LENGTH] + 1j * values[:, LENGTH:]).astype(np.complex64)
        return made[:, None]


def read_frame(path: Path, file: h5py.File, name: str) -> NDArray[Any]:
    """128 I, then 128 Q.

    Raises:
        InputError: something else is there.
    """
    values = np.empty(2 * LENGTH, np.float32)
    data = h5py.h5d.open(file.id, name.encode())  # half the time of file[name]
    if data.get_space().get_simple_extent_npoints() == values.size and data.dtype.kind == "f":
        data.read(h5py.h5s.ALL, h5py.h5s.ALL, values.reshape(data.shape))
        return values
    words = f"{name} is {data.dtype} {data.shape}, not {2 * LENGTH} floats"
    raise InputError(f"{path}: {words}", f"expected {LAYOUT}")


def parse_key(path: Path, name: str) -> Key:
    """Modulation, signal type, SNR in dB and index out of a data set's name; nothing in it is executed.

    Raises:
        InputError: no tuple of these four.
    """
    try:
        modulation, signal, snr, index = ast.literal_eval(name)
        return str(modulation), str(signal), int(snr), int(index)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError(f"{path}: data set '{name}' is not named as a tuple of four", f"expected {LAYOUT}") from None
