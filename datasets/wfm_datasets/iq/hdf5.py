"""Windows out of HDF5 files, and the checks that make a dataset safe to read.

Layout keys of an HDF5 recording:

    kind      "array": one dataset; "torchsig-packed", "torchsig", "torchsig-2.0", "radcom": see `LOCATORS`
    dataset   its name
    axes      what its axes are, in order: "example", "channel", "time", "part" (I then Q), "one" (of size 1)
    row       the only example that is meant, where the recording is one of many
    bytes, mtime_ns    size and time of change of the file when it was scanned

A dataset that lies in one piece and unfiltered is handed to the mapped reader instead (`stored`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.flat import refuse_changed, stamp
from wfm_datasets.iq.recording import Recording, WindowReader, Windows

Index = NDArray[np.int64]
Locator = Callable[[h5py.File, Recording], "Reach"]
Reach = Callable[[Index, Index, int], NDArray[Any]]
"""(examples, starts, length) -> (B, channels, length) complex64, as stored numbers of full scale 1."""

LOCATORS: dict[str, str] = {
    "array": "wfm_datasets.iq.hdf5:locate_array",
    "torchsig-packed": "wfm_datasets.iq.torchsig:locate_packed",
    "torchsig": "wfm_datasets.iq.torchsig:locate_indexed",
    "torchsig-2.0": "wfm_datasets.iq.torchsig:locate_indexed",
    "radcom": "wfm_datasets.iq.formats.radcom:locate",
}
"""How the windows of every `kind` are reached."""

_LIMIT = 1 << 23
"""Numbers that one call of HDF5 reads at most, unless one window is longer."""
_ROW_GAP, _TIME_GAP = 64, 1 << 16
"""Windows further apart than so many examples or samples are read by calls of their own."""
_CHUNK_BYTES = 1 << 28
_INFLATION = 1100
"""No filter of HDF5 packs better."""
HALVES = ("halves",)
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError, MemoryError)


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
    with guarded(path), h5py.File(path, "r") as file:
        yield file


def is_hdf5(head: bytes) -> bool:
    """Whether a file begins as HDF5 does, possibly after MATLAB's 512 bytes."""
    return head.startswith(SIGNATURE) or head[512:520] == SIGNATURE


def root(path: Path) -> tuple[frozenset[str], dict[str, Any]]:
    """Names and attributes at the top of a file; nothing of a file that cannot be opened."""
    try:
        with h5py.File(path, "r") as file:
            return frozenset(file), dict(file.attrs)
    except _ERRORS:
        return frozenset(), {}


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of the file itself that holds what it declares.

    Raises:
        InputError: it lies in another file, declares more than it stores, or is no dataset.
        KeyError: there is none.
    """
    path, made = Path(file.filename), file
    for part in name.strip("/").split("/"):
        if isinstance(made.get(part, getlink=True), h5py.ExternalLink):
            raise InputError(f"{path}: {name} is a link to another file", "name the file that holds the data")
        made = made[part]
        if not isinstance(made, h5py.Group | h5py.Dataset):
            break
    if not isinstance(made, h5py.Dataset):
        raise InputError(f"{path}: {name} is no dataset", "get the original file")
    _refuse_hollow(path, name, made)
    return made


def _refuse_hollow(path: Path, name: str, made: h5py.Dataset) -> None:
    """Refuse a dataset whose numbers are elsewhere or nowhere, before anything is allocated for them."""
    if made.external or made.is_virtual:
        raise InputError(f"{path}: {name} keeps its numbers in other files", "copy them into one file (h5repack)")
    if made.shape is None:
        raise InputError(f"{path}: {name} is empty", "get the original file")
    declared, stored = made.size * made.dtype.itemsize, made.id.get_storage_size()
    most = stored * (_INFLATION if _filtered(made) else 1)
    if not made.chunks and made.id.get_offset() is not None:
        most = min(most, max(0, path.stat().st_size - made.id.get_offset()))
    if declared > most:
        raise damaged(path, f"{name} declares {declared} bytes and holds {stored}")
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
    good = (dtype.kind in "fc" and size in (4, 8)) or (dtype.kind in "iu" and size in (1, 2, 4))
    if not good:
        return None
    letter = "f" if dtype.kind in "fc" else dtype.kind
    return f"c{letter}{8 * size}" + ("" if size == 1 else "_be" if dtype.byteorder == ">" else "_le")


def stored(made: h5py.Dataset, axes: Sequence[str]) -> dict[str, Any]:
    """`backend` and `layout` of a recording that is one dataset with these axes.

    Numbers in one piece are mapped, which is many times as fast as HDF5; anything else is read through HDF5.
    """
    path = Path(made.file.filename)
    layout: dict[str, JSON] = dict(stamp(path))
    offset, pair = made.id.get_offset(), parts(made.dtype)
    shape = dict(zip(axes, made.shape, strict=True))
    whole = pair is None or (made.dtype.itemsize == 2 * made.dtype[pair[0]].itemsize and made.dtype.names == pair)
    complex_ = made.dtype.kind == "c" or pair is not None
    inner = tuple(axis for axis in axes if axis != "one" and (axis not in ("example", "channel") or shape[axis] > 1))
    mappable = not made.chunks and offset is not None and not _filtered(made) and whole
    if mappable and inner in (("time",), ("example", "time")) and complex_:
        return {"backend": "flat", "layout": layout | {"offset": offset}}
    if mappable and inner in (("time", "part"), ("example", "time", "part")):
        return {"backend": "flat", "layout": layout | {"offset": offset}}
    if mappable and inner in (("part", "time"), ("example", "part", "time")):
        plane = shape["time"] * made.dtype.itemsize
        return {"backend": "flat", "layout": layout | {"offset": offset, "plane_bytes": plane}}
    own: dict[str, JSON] = {"kind": "array", "dataset": str(made.name), "axes": list(axes)}
    return {"backend": "hdf5", "layout": layout | own}


def open_windows(recording: Recording) -> WindowReader:
    """Windows of an HDF5 recording; the file stays open as long as the reader lives.

    Raises:
        InputError: (the reader, too) the file has changed, gone or is damaged, or a sample is not finite.
    """
    refuse_changed(recording)
    module, _, name = LOCATORS[str(recording.layout["kind"])].partition(":")
    with guarded(recording.path):
        file = h5py.File(recording.path, "r")
        reach = cast("Locator", getattr(import_module(module), name))(file, recording)

    def read(examples: Index, starts: Index, length: int) -> Windows:
        if len(starts) and (starts.min() < 0 or starts.max() + length > recording.samples or length < 1):
            raise ValueError(f"{recording.name}: windows reach beyond {recording.samples} samples")
        with guarded(recording.path):
            made = reach(np.asarray(examples, np.int64), np.asarray(starts, np.int64), length)
        _refuse_unfinite(recording, made, examples, starts)
        return made

    return read


def _refuse_unfinite(recording: Recording, made: Windows, examples: Index, starts: Index) -> None:
    bad = np.argwhere(~np.isfinite(made))
    if len(bad):
        row, _, sample = bad[0]
        raise InputError(
            f"{recording.path}: sample {int(starts[row] + sample)} of example {int(examples[row])} is NaN or infinite",
            "cut it out or record again",
        )


def locate_array(file: h5py.File, recording: Recording) -> Reach:
    """Windows of one dataset whose axes the layout names."""
    layout = cast("dict[str, Any]", recording.layout)
    made, axes = dataset(file, layout["dataset"]), list(layout["axes"])
    shape = dict(zip(axes, made.shape, strict=True))
    row = layout.get("row")
    if shape["time"] != recording.samples or (row is None and shape.get("example", 1) != recording.examples):
        raise damaged(recording.path, f"{layout['dataset']} has another shape than before")

    def reach(examples: Index, starts: Index, length: int) -> NDArray[Any]:
        return read_array(made, axes, examples + (row or 0), starts, length)

    return reach


def read_array(made: h5py.Dataset, axes: Sequence[str], examples: Index, starts: Index, length: int) -> NDArray[Any]:
    """Windows (B, channels, length) complex64, full scale 1, in as few reads as their places allow."""
    shape = dict(zip(axes, made.shape, strict=True))
    other = shape.get("channel", 1) * shape.get("part", 1)
    out = np.empty((len(starts), shape.get("channel", 1), length), np.complex64)
    order = np.lexsort((starts, examples))
    for group in _groups(examples, starts, order, length * other, length):
        rows, times = examples[group], starts[group]
        low, high, first, last = rows.min(), rows.max() + 1, times.min(), times.max() + length
        spans = {"example": slice(int(low), int(high)), "time": slice(int(first), int(last))}
        block = unify(made[tuple(spans.get(axis, slice(None)) for axis in axes)], axes)
        if first == times.max():
            out[group] = block[rows - low]
        else:
            sliding = np.lib.stride_tricks.sliding_window_view(block, length, axis=2)
            out[group] = sliding[rows - low, :, times - first]
    return out


def read_each(find: Callable[[int], h5py.Dataset], axes: tuple[str, ...], recording: Recording) -> Reach:
    """Windows where every example is a dataset of its own, with these axes; `HALVES`: all I, then all Q."""

    def reach(examples: Index, starts: Index, length: int) -> NDArray[Any]:
        out = np.empty((len(starts), 1, length), np.complex64)
        order = np.argsort(examples, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(examples[order])) + 1):
            if not len(group):
                continue
            made = find(int(examples[group[0]]))
            first, last = int(starts[group].min()), int(starts[group].max()) + length
            if made.size != recording.samples * (1 if axes == ("time",) else 2):
                raise ValueError(f"signal {int(examples[group[0]])} has another length than before")
            stored = made[()].reshape(2, -1)[:, first:last] if axes == HALVES else made[..., first:last]
            block = unify(stored, ("part", "time") if axes == HALVES else axes)
            for row in group:
                low = int(starts[row]) - first
                out[row] = block[0, :, low : low + length]
        return out

    return reach


def _groups(examples: Index, starts: Index, order: Index, cost: int, length: int) -> Iterator[Index]:
    """Windows in order, cut where they lie far apart and where one read would be too large."""
    rows, times = np.diff(examples[order]), np.diff(starts[order])
    far = (rows > _ROW_GAP) | ((rows == 0) & (times > _TIME_GAP + length))
    waiting = np.split(order, np.flatnonzero(far) + 1)[::-1]
    while waiting:
        group = waiting.pop()
        span = int(examples[group].max() - examples[group].min()) + 1
        width = int(starts[group].max() - starts[group].min()) + length
        if len(group) > 1 and span * width * (cost // length) > _LIMIT:
            waiting += [group[len(group) // 2 :], group[: len(group) // 2]]
        elif len(group):
            yield group


def unify(block: NDArray[Any], axes: Sequence[str]) -> NDArray[np.complex64]:
    """Stored numbers with any of the axes -> (example, channel, time) complex64 of full scale 1."""
    block = block.squeeze(tuple(at for at, axis in enumerate(axes) if axis == "one"))
    axes, pair = [axis for axis in axes if axis != "one"], parts(block.dtype)
    if pair:
        real, imag = block[pair[0]], block[pair[1]]
    elif "part" in axes:
        real, imag = np.moveaxis(block, list(axes).index("part"), 0)
    else:
        real, imag = block.real, block.imag
    left = [axis for axis in axes if axis != "part"]
    made = np.empty(real.shape, np.complex64)
    with np.errstate(over="ignore", invalid="ignore"):
        made.real, made.imag = _scaled(real), _scaled(imag)
    place = [left.index(axis) for axis in ("example", "channel", "time") if axis in left]
    made = made.transpose(place)
    return made.reshape(
        made.shape[0] if "example" in left else 1, *([made.shape[-2]] if "channel" in left else [1]), made.shape[-1]
    )


def _scaled(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return values
    full = float(1 << (8 * values.dtype.itemsize - 1))
    return (values.astype(np.float64) - (full if values.dtype.kind == "u" else 0)) / full
