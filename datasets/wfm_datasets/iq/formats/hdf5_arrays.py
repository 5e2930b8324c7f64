"""MATLAB v7.3, and HDF5 of no other known layout: one array of samples among scalars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wfm_cli.errors import InputError
from wfm_datasets.iq import axes as axis_words
from wfm_datasets.iq import hdf5, hdf5_files
from wfm_datasets.iq.axes import looks_like_samples
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.variables import choose, describe, hidden


def recognise(path: Path, head: bytes) -> bool:
    """HDF5 at the beginning or behind MATLAB's 512 bytes, whatever the text in there says; or the suffix."""
    return hdf5_files.is_hdf5(head) or path.suffix.lower() in (".h5", ".hdf5", ".hdf")


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The one dataset with I/Q samples, or the one that `options.variable` names.

    Raises:
        InputError: damaged, no or several such datasets, or an ambiguous shape.
    """
    with hdf5_files.opened(path) as file:
        found = _datasets(file)
        matlab = any("MATLAB_class" in made.attrs for made in found.values())

        def seen(made: h5py.Dataset) -> tuple[int, ...]:
            shape = made.shape or ()
            return shape[::-1] if matlab else shape

        def complex_(made: h5py.Dataset) -> bool:
            return made.dtype.kind == "c" or hdf5_files.parts(made.dtype) is not None

        numeric = {name: made for name, made in found.items() if hdf5_files.datatype(made.dtype)}
        names = [name for name, made in numeric.items() if complex_(made) and looks_like_samples(seen(made), True)]
        names = names or [name for name, made in numeric.items() if looks_like_samples(seen(made), False)]
        name = choose(path, names, list(found), options.variable)
        made = hdf5_files.dataset(file, name)
        kind = hdf5_files.datatype(made.dtype)
        if kind is None:
            raise InputError(f"{path}: {name} is {made.dtype}, no numbers", "choose another one with --variable NAME")
        if matlab:
            axes = axis_words.matlab(f"{path}: {name}", seen(made), complex_(made), options.layout)[::-1]
        else:
            axes = axis_words.row_major(f"{path}: {name}", made.shape, made.dtype, options.layout)
        shape = dict(zip(axes, made.shape, strict=True))
        said, notes = _scalars(file, found, matlab)
        if kind[1] != "f":
            notes += (f"{name} holds counts ({made.dtype}): divided by full scale",)
        place = hdf5.stored(made, axes)
        form = "MATLAB v7.3" if matlab else "HDF5"
        return [describe(path, form, kind, name, shape, said, notes, place)]


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every dataset but MATLAB's own (`#refs#`); links to other files are left alone."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, made: Any) -> None:
        if isinstance(made, h5py.Dataset) and not name.startswith("#") and len(found) < 10000:
            found[name] = made

    file.visititems(visit)
    return found


def _scalars(
    file: h5py.File, found: Mapping[str, h5py.Dataset], matlab: bool
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Numbers and lines of text beside the samples; objects are noted."""
    said: dict[str, Value] = {}
    objects = []
    for name, made in found.items():
        key = name.rpartition("/")[2]
        kind = made.attrs.get("MATLAB_class", b"")
        kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
        if kind == "char" and made.dtype == np.uint16 and made.size <= 256:
            said[key] = "".join(map(chr, made[()].reshape(-1, order="F").tolist()))
        elif "MATLAB_object_decode" in made.attrs or kind in ("string", "datetime", "categorical"):
            objects.append(f"{name} ({kind})")
        elif made.size == 1 and made.dtype.kind in "fiu":
            said[key] = float(made[()].reshape(-1)[0])
        elif made.size == 1 and h5py.check_string_dtype(made.dtype) and made.dtype.itemsize <= 4096 and not matlab:
            value = made[()] if made.shape == () else made[()].reshape(-1)[0]
            said[key] = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return said, hidden(objects)
