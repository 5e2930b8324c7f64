"""Data sets of TorchSig 2: HDF5 of every version, and folders of .npy with metadata.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq import torchsig, torchsig_groups
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.hdf5 import stored
from wfm_datasets.iq.hdf5_files import dataset, datatype, is_hdf5, opened, root
from wfm_datasets.iq.recording import Annotation, Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.torchsig import Meta, Signal

NOTHING = "no signal"
"""Class of examples without any component."""
_KINDS: Mapping[str, tuple[str, Callable[[Path, h5py.File], Iterator[Signal]]]] = {
    "torchsig-packed": ("TorchSig packed HDF5", torchsig.packed_signals),
    "torchsig-homogeneous": ("TorchSig homogeneous HDF5", torchsig.homogeneous_signals),
    "torchsig": ("TorchSig HDF5", torchsig_groups.indexed_signals),
    "torchsig-2.0": ("TorchSig HDF5", torchsig_groups.grouped_signals),
}
_PACKED_NPY = ("records.npy", "shapes.npy", "metadata.json")


def recognise(path: Path, head: bytes) -> bool:
    """HDF5 that TorchSig wrote, or an array of a TorchSig folder."""
    if path.suffix == ".npy":
        return all(path.with_name(name).is_file() for name in ("metadata.csv", "info.json")) or _packed_npy(path)
    return is_hdf5(head) and _kind(path) is not None


def belongs(path: Path) -> bool:
    """The descriptions in a folder of .npy."""
    if path.name in ("metadata.csv", "info.json") and path.with_name("info.json").is_file():
        return path.with_name("metadata.csv").is_file() and any(path.parent.glob("*.npy"))
    return path.name in _PACKED_NPY and _packed_npy(path.with_name("data.npy"))


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """Signals with one component at most: a recording for each length and type, with columns.

    Where signals hold several components, each signal is a recording with annotations.

    Raises:
        InputError: unfinished, newer than version 1 of its schema, damaged, or no I/Q.
    """
    if path.suffix == ".npy":
        return _folder(path)
    kind = _kind(path) or "torchsig"
    with opened(path) as file:
        signals = list(_KINDS[kind][1](path, file))
        if not signals:
            raise InputError(f"{path}: holds no signal", "write the data set again")
        groups: dict[tuple[tuple[int, ...], str], list[int]] = {}
        for number, signal in enumerate(signals):
            groups.setdefault((signal.shape, _datatype(path, number, signal)), []).append(number)
        crowded = any(len(signal.components) > 1 for signal in signals)
        made = []
        for number, (key, members) in enumerate(groups.items()):
            place = _place(path, file, kind, key[0], members if len(groups) > 1 else [])
            of = [signals[member] for member in members]
            if crowded:
                made += _each(path, kind, key, members, of, place)
            else:
                name = path.stem if len(groups) == 1 else f"{path.stem}#{number}"
                made.append(_together(path, name, kind, key, of, place))
        return made


def _kind(path: Path) -> str | None:
    names, attrs = root(path)
    form = attrs.get("format")
    form = form.decode("utf-8", "replace") if isinstance(form, bytes) else form
    if form in _KINDS:
        return str(form)
    if (isinstance(form, str) and form.startswith("torchsig")) or ("schema" in names and "records" in names):
        return "torchsig-packed"
    if names >= {"data", "metadata", "index"}:
        return "torchsig"
    writer = str(attrs.get("created_by", ""))
    return "torchsig-2.0" if "TorchSig" in writer and names and all(name.isdigit() for name in names) else None


def _datatype(path: Path, number: int, signal: Signal) -> str:
    shape, kind = signal.shape, datatype(signal.dtype)
    complex_ = signal.dtype.kind == "c" and len(shape) == 1
    if kind is None or not (complex_ or (signal.dtype.kind == "f" and len(shape) == 2 and shape[0] == 2)) or 0 in shape:
        raise InputError(
            f"{path}: signal {number} is {signal.dtype} {shape}, no I/Q",
            "write the data set before transforms to spectrograms",
        )
    return kind


def _place(path: Path, file: h5py.File, kind: str, shape: tuple[int, ...], members: list[int]) -> dict[str, Any]:
    if kind == "torchsig-homogeneous":
        axes = ("example", "time") if len(shape) == 1 else ("example", "part", "time")
        return stored(dataset(file, "data"), axes)
    layout: dict[str, JSON] = {**stamp(path), "kind": kind, "planar": len(shape) == 2}
    return {"backend": "hdf5", "layout": layout | ({"signals": list(members)} if members else {})}


def _together(
    path: Path, name: str, kind: str, key: tuple[tuple[int, ...], str], of: Sequence[Signal], place: dict[str, Any]
) -> Recording:
    """One recording with a column of classes."""
    said = [_said(signal) for signal in of]
    columns: dict[str, NDArray[Any]] = {"label": np.array([str(meta.get("class_name", NOTHING)) for meta in said])}
    for field in ("snr_db", "center_freq", "bandwidth"):
        values = [_number(meta.get(field)) for meta in said]
        if np.any(np.isfinite(values)):
            columns["offset_hz" if field == "center_freq" else field.replace("width", "width_hz")] = np.array(values)
    rates = {_number(meta.get("sample_rate")) for meta in said}
    rate = rates.pop() if len(rates) == 1 else float("nan")
    return Recording(
        name=name,
        path=path,
        format=_KINDS[kind][0],
        datatype=key[1],
        samples=key[0][-1],
        examples=len(of),
        sample_rate=rate if rate > 0 else None,
        columns=columns,
        origin={"label": "class_name", "datatype": "HDF5 type"},
        **place,
    )


def _each(
    path: Path, kind: str, key: tuple[tuple[int, ...], str], members: Sequence[int], of: Sequence[Signal],
    place: dict[str, Any],
) -> list[Recording]:  # fmt: skip
    """One recording for each signal, its components as annotations."""
    made = []
    for number, signal in zip(members, of, strict=True):
        own = dict(place)
        if kind == "torchsig-homogeneous":
            axes: list[JSON] = ["example", "time"] if len(key[0]) == 1 else ["example", "part", "time"]
            own = {"kind": "array", "dataset": "data", "axes": axes, "row": number}
            own = {"backend": "hdf5", "layout": {**stamp(path), **own}}
        else:
            own["layout"] = {**place["layout"], "signals": [number]}
        rate = _number(_said(signal).get("sample_rate"))
        made.append(
            Recording(
                name=f"{path.stem}#{number}",
                path=path,
                format=_KINDS[kind][0],
                datatype=key[1],
                samples=key[0][-1],
                sample_rate=rate if rate > 0 else None,
                annotations=tuple(_annotation(meta, key[0][-1]) for meta in signal.components),
                origin={"annotations": "components", "datatype": "HDF5 type"},
                notes=("frequency edges are counted from the centre of the band",),
                **own,
            )
        )
    return made


def _annotation(meta: Meta, samples: int) -> Annotation:
    centre, width = _number(meta.get("center_freq")), _number(meta.get("bandwidth"))
    start, count = _number(meta.get("start_in_samples")), _number(meta.get("duration_in_samples"))
    first = min(max(0, round(start)), samples) if np.isfinite(start) else 0
    known = bool(np.isfinite(centre) and np.isfinite(width))
    snr = _number(meta.get("snr_db"))
    return Annotation(
        start=first,
        count=min(max(0, round(count)), samples - first) if np.isfinite(count) else samples - first,
        label=str(meta["class_name"]) if meta.get("class_name") else None,
        low_hz=centre - width / 2 if known else None,
        high_hz=centre + width / 2 if known else None,
        fields={"snr_db": snr} if np.isfinite(snr) else {},
    )


def _said(signal: Signal) -> dict[str, Any]:
    """What is known of a signal: its own fields, and those of its only component where it has none."""
    own = {name: value for name, value in signal.meta.items() if value is not None}
    below = signal.components[0] if len(signal.components) == 1 else {}
    return {name: value for name, value in below.items() if value is not None} | own


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _packed_npy(path: Path) -> bool:
    return path.name in ("data.npy", *_PACKED_NPY) and all(path.with_name(name).is_file() for name in _PACKED_NPY)


def _folder(path: Path) -> list[Recording]:
    """One array of a folder: its rows follow those of the arrays before it in metadata.csv."""
    if _packed_npy(path):
        raise InputError(f"{path}: TorchSig's packed .npy is not read", "write the data set as packed HDF5")
    arrays = sorted(path.parent.glob("*.npy"), key=lambda other: other.name)
    heads = [_header(other) for other in arrays]
    shape, dtype, offset = heads[arrays.index(path)]
    first = sum(head[0][0] if len(head[0]) > 1 else 1 for head in heads[: arrays.index(path)])
    count = shape[0] if len(shape) > 1 else 1
    rows = _rows(path.with_name("metadata.csv"), first, count)
    kind = datatype(dtype)
    if kind is None or dtype.kind != "c" or len(shape) > 2 or 0 in shape:
        raise InputError(f"{path}: is {dtype} {shape}", "expected complex (n, length) or (length,)")
    if offset + int(np.prod(shape, dtype=object)) * dtype.itemsize > path.stat().st_size:
        raise damaged(path, f"declares {shape} {dtype} in {path.stat().st_size} bytes")
    rates = {rate for _, _, rate in rows}
    common: dict[str, Any] = {"samples": int(shape[-1]), "sample_rate": rates.pop() if len(rates) == 1 else None}
    labels, modulations = ([row[part] for row in rows] for part in (0, 1))
    if len(shape) == 1:
        common |= {"label": labels[0], "fields": {"modulation": modulations[0]}}
    else:
        common |= {"examples": count, "columns": {"label": np.array(labels), "modulation": np.array(modulations)}}
    return [
        Recording(
            name=path.stem,
            path=path,
            format="TorchSig .npy",
            datatype=kind,
            origin={"label": "metadata.csv", "sample_rate": "metadata.csv", "datatype": "header"},
            layout={**stamp(path), "offset": offset},
            **common,
        )
    ]


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    try:
        with path.open("rb") as stream:
            shape, fortran, dtype = torchsig.npy_header(stream)
            if fortran and len(shape) > 1:
                raise ValueError("Fortran order")
            return shape, dtype, stream.tell()
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, error) from None


def _rows(path: Path, first: int, count: int) -> list[tuple[str, str, float]]:
    """Label, modulation and rate of the rows; the file has no head line."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [(row[1], row[2], float(row[3])) for row in islice(csv.reader(stream), first, first + count)]
        size = json.loads(path.with_name("info.json").read_text(encoding="utf-8"))["size"]
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise damaged(path, f"expected index,label,modcod,sample_rate and info.json: {error}") from None
    if len(rows) < count:
        raise InputError(f"{path}: {first + len(rows)} rows, {first + count} signals", f"info.json says {size}")
    return rows
