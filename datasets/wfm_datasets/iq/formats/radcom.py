"""RadCom over the air: HDF5 with one dataset for each example, named by a tuple; 128 I, then 128 Q."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.hdf5 import HALVES, Reach, read_each
from wfm_datasets.iq.hdf5_files import dataset, datatype, is_hdf5, opened, root
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.wavesfm.radcom import LAYOUT, parse_key


def recognise(path: Path, head: bytes) -> bool:
    """HDF5 whose datasets are named as tuples."""
    names = root(path)[0] if is_hdf5(head) else ()
    return any(name.startswith("(") and name.endswith(")") for name in names)


def _sorted(path: Path, file: h5py.File) -> list[tuple[tuple[str, str, int, int], str]]:
    return sorted((parse_key(path, name), name) for name in file)


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """All examples, sorted by modulation, signal type, SNR and index, with a column for each of the first three.

    Raises:
        InputError: damaged, a name that is no such tuple, or datasets of different shapes.
    """
    with opened(path) as file:
        keyed = _sorted(path, file)
        first = dataset(file, keyed[0][1])
        shape, kind = first.shape, datatype(first.dtype)
        if len(shape) != 1 or shape[0] % 2 or shape[0] < 2 or first.dtype.kind != "f" or kind is None:
            raise InputError(f"{path}: {keyed[0][1]} is {first.dtype} {shape}", f"expected {LAYOUT}")
        for _, name in keyed:
            inside = isinstance(file.get(name, getlink=True), h5py.HardLink)
            made: Any = file[name] if inside else None
            alike = isinstance(made, h5py.Dataset) and (made.shape, made.dtype) == (shape, first.dtype)
            if not alike or made.is_virtual or made.external:
                raise InputError(f"{path}: {name} is another kind than {keyed[0][1]}", f"expected {LAYOUT}")
    layout: dict[str, JSON] = {**stamp(path), "kind": "radcom"}
    modulations, signals = ([key[part] for key, _ in keyed] for part in (0, 1))
    return [
        Recording(
            name=path.stem,
            path=path,
            format="RadCom HDF5",
            datatype=kind,
            samples=shape[0] // 2,
            examples=len(keyed),
            columns={
                "label": np.array([f"{a}, {b}" for a, b in zip(modulations, signals, strict=True)]),
                "modulation": np.array(modulations),
                "signal_type": np.array(signals),
                "snr_db": np.array([key[2] for key, _ in keyed], np.float32),
            },
            origin={"label": "names of the datasets", "datatype": "HDF5 type"},
            backend="hdf5",
            layout=layout,
        )
    ]


def locate(file: h5py.File, recording: Recording) -> Reach:
    """Windows of the examples in the order of `recordings`."""
    names = [name for _, name in _sorted(recording.path, file)]
    kind = dataset(file, names[0]).dtype

    def find(example: int) -> NDArray[Any]:
        made = h5py.h5d.open(file.id, names[example].encode())  # a third of the time of file[name]
        if made.get_space().get_simple_extent_npoints() != 2 * recording.samples or made.dtype != kind:
            raise ValueError(f"{names[example]} has another length than before")
        values = np.empty(made.shape, kind)
        made.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values

    return read_each(find, HALVES, recording)
