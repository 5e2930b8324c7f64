"""HDF5 files: opened, and checked so that nothing is allocated for numbers that are not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import h5py
import numpy as np

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.hdf5_heaps import refuse_endless

_CHUNK_BYTES = 1 << 28
_TABLE_BYTES = 1 << 30
"""What is read whole may be as large as this."""
_INFLATION, _TABLE_INFLATION = 100, 1100
"""How many bytes may come out of a stored one: samples never pack that well, and no filter packs tables better."""
_MOST_LINKS = 16
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError, MemoryError)
_open: WeakValueDictionary[tuple[Any, ...], h5py.File] = WeakValueDictionary()


def shared(path: Path) -> h5py.File:
    """The open file, one for all readers of it in this process; it is closed with the last of them."""
    key = (str(path), *stamp(path).values(), os.getpid())
    file = _open.get(key)
    if file is None or not file.id.valid:
        refuse_endless(path)
        file = _open[key] = h5py.File(path, "r")
    return file


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what h5py raises on damaged files into one error."""
    try:
        yield
    except _ERRORS as error:
        raise damaged(path, error) from None


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading.

    Raises:
        InputError: it is damaged, or no HDF5 at all.
    """
    with guarded(path):
        refuse_endless(path)
        with h5py.File(path, "r") as file:
            yield file


def is_hdf5(head: bytes) -> bool:
    """Whether a file begins as HDF5 does, possibly after MATLAB's 512 bytes."""
    return head.startswith(SIGNATURE) or head[512:520] == SIGNATURE


def root(path: Path) -> tuple[frozenset[str], dict[str, Any]]:
    """Names and attributes at the top of a file; nothing of a file that cannot be opened."""
    try:
        refuse_endless(path)
        with h5py.File(path, "r") as file:
            return frozenset(file), dict(file.attrs)
    except (*_ERRORS, InputError):
        return frozenset(), {}


def dataset(file: h5py.File, name: str, *, table: bool = False) -> h5py.Dataset:
    """A dataset of the file itself that holds what it declares.

    Args:
        file: The file.
        name: Path in it.
        table: Labels and other numbers that compress well, and that are read whole.

    Raises:
        InputError: it lies in another file, declares more than it stores or than a table may hold, or is no dataset.
        KeyError: there is none.
    """
    path, made = Path(file.filename), resolve(file, name)
    if not isinstance(made, h5py.Dataset):
        raise InputError(f"{path}: {name} is no dataset", "get the original file")
    _refuse_hollow(path, name, made, _TABLE_INFLATION if table else _INFLATION)
    if table and made.size * made.dtype.itemsize > _TABLE_BYTES:
        raise InputError(f"{path}: {name} is larger than {_TABLE_BYTES >> 30} GiB", "split the file")
    return made


def group(file: h5py.File, name: str) -> h5py.Group:
    """A group of the file itself.

    Raises:
        InputError: it lies in another file, or is no group.
        KeyError: there is none.
    """
    made = resolve(file, name)
    if not isinstance(made, h5py.Group):
        raise InputError(f"{file.filename}: {name} is no group", "get the original file")
    return made


def resolve(file: h5py.File, name: str) -> Any:
    """What a path leads to, link by link, so that no other file is ever opened.

    Raises:
        InputError: a link on the way leads to another file, or links go round in a circle.
        KeyError: there is nothing.
    """
    made, left, followed = file["/"], [part for part in name.split("/")[::-1] if part], 0
    while left:
        part = left.pop()
        link = made.get(part, getlink=True) if isinstance(made, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise InputError(f"{file.filename}: {name} is a link to another file", "name the file that holds the data")
        if isinstance(link, h5py.SoftLink):
            followed += 1
            if followed > _MOST_LINKS:
                raise InputError(f"{file.filename}: {name} leads in a circle", "get the original file")
            made = file["/"] if link.path.startswith("/") else made
            left += [step for step in link.path.split("/")[::-1] if step]
        elif link is None:
            raise KeyError(f"{name} is not there")
        else:
            made = made[part]
    return made


def _refuse_hollow(path: Path, name: str, made: h5py.Dataset, inflation: int) -> None:
    """Refuse a dataset whose numbers are elsewhere or nowhere, before anything is allocated for them."""
    if made.external or made.is_virtual:
        raise InputError(f"{path}: {name} keeps its numbers in other files", "copy them into one file (h5repack)")
    if made.shape is None:
        raise InputError(f"{path}: {name} is empty", "get the original file")
    declared, stored = made.size * made.dtype.itemsize, made.id.get_storage_size()
    most = stored * (inflation if _filtered(made) else 1)
    if not made.chunks and made.id.get_offset() is not None:
        most = min(most, max(0, path.stat().st_size - made.id.get_offset()))
    if declared > most:
        words = f"{path}: {name} declares {declared} bytes and holds {stored}"
        raise InputError(words, "copy the file again; or, if it is right, unpack it (h5repack -f NONE)")
    if made.chunks and np.prod(made.chunks, dtype=np.float64) * made.dtype.itemsize > _CHUNK_BYTES:
        raise InputError(f"{path}: {name} has chunks of {made.chunks}", "repack it in smaller chunks (h5repack)")


def _filtered(made: h5py.Dataset) -> bool:
    return bool(made.id.get_create_plist().get_nfilters())


def parts(dtype: np.dtype[Any]) -> tuple[str, str] | None:
    """Names of the real and the imaginary field of a compound type, if it is one of the usual pairs."""
    names = {name.casefold(): name for name in dtype.names or ()}
    pairs = (("real", "imag"), ("r", "i"), ("re", "im"), ("i", "q"))
    found = next((pair for pair in pairs if set(names) == set(pair)), None)
    if found is None or len(dtype.names or ()) != 2:
        return None
    real, imag = names[found[0]], names[found[1]]
    return (real, imag) if dtype[real] == dtype[imag] else None


def datatype(dtype: np.dtype[Any]) -> str | None:
    """SigMF's name of samples whose numbers (or whose fields) have this type; None if they are no numbers."""
    pair = parts(dtype)
    if pair:
        dtype = dtype[pair[0]]
    size = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    if dtype.kind == "f" and size == 2:
        size, dtype = 4, np.dtype("<f4")  # half precision is read as single
    good = (dtype.kind in "fc" and size in (4, 8)) or (dtype.kind in "iu" and size in (1, 2, 4))
    if not good:
        return None
    letter = "f" if dtype.kind in "fc" else dtype.kind
    return f"c{letter}{8 * size}" + ("" if size == 1 else "_be" if dtype.byteorder == ">" else "_le")
