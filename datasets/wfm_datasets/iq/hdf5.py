"""Windows out of HDF5 files.

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
from wfm_datasets.iq.hdf5_files import dataset, guarded, parts, shared
from wfm_datasets.iq.recording import Recording, WindowReader, Windows

Index = NDArray[np.int64]
Locator = Callable[[h5py.File, Recording], "Reach"]
Reach = Callable[[Index, Index, int], NDArray[Any]]
"""(examples, starts, length) -> (B, channels, length) complex64, as stored numbers of full scale 1."""

LOCATORS: dict[str, str] = {
    "array": "wfm_datasets.iq.hdf5:locate_array",
    "torchsig-packed": "wfm_datasets.iq.torchsig:locate_packed",
    "torchsig": "wfm_datasets.iq.torchsig_groups:locate_indexed",
    "torchsig-2.0": "wfm_datasets.iq.torchsig_groups:locate_indexed",
    "radcom": "wfm_datasets.iq.formats.radcom:locate",
}
"""How the windows of every `kind` are reached."""

_LIMIT = 1 << 23
"""Numbers that one call of HDF5 reads at most, unless one window is longer."""
_ROW_GAP, _TIME_GAP = 64, 1 << 16
"""Windows further apart than so many examples or samples are read by calls of their own."""
HALVES = ("halves",)


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
    half = (made.dtype[pair[0]] if pair else made.dtype).str[1:] == "f2"
    mappable = not made.chunks and offset is not None and whole and not half
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
        file = shared(recording.path)
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


def read_each(find: Callable[[int], h5py.Dataset | NDArray[Any]], axes: tuple[str, ...], recording: Recording) -> Reach:
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
