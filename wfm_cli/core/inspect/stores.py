"""Facts about a store, from its metadata and its small columns; the large arrays are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.inspect.trade import trade
from wfm_cli.core.store import parts
from wfm_cli.core.store.direct import open_rows
from wfm_cli.core.store.files import read_json
from wfm_cli.core.store.finish import read_group
from wfm_cli.core.store.plan import BUILD, read_plan
from wfm_cli.core.store.reader import file_problems
from wfm_cli.core.store.schema import DTYPES
from wfm_cli.errors import StoreError

_FORMAT = {
    "format", "format_version", "complete", "kind", "builder", "samples", "parts", "plan_sha256", "arrays", "bytes",
    "recipe", "data_sha256", "sources", "versions", "statistics", "splits",
}  # fmt: skip
_MANY_CLASSES = 4096


def describe_store(path: Path) -> dict[str, Any]:
    """Arrays with layout and statistics, splits with leaks, class counts, sources, provenance.

    Raises:
        StoreError: Not a store, of another version, or damaged metadata.
    """
    attrs = read_group(path)
    complete = attrs.get("complete") is True
    plan = None if complete else read_plan(path) if (path / BUILD / "plan.json").is_file() else None
    names = list(attrs.get("arrays") or ([spec.name for spec in (*plan.arrays, *plan.columns)] if plan else ()))
    names.sort(key=lambda name: name.partition("/")[0] if "/" in name else "")  # by folder, else as planned
    arrays = [_array(path, name, attrs) for name in names]
    return {
        "what": "store",
        "path": str(path),
        "name": path.name,
        "kind": attrs.get("kind"),
        "builder": attrs.get("builder"),
        "complete": complete,
        "status": _status(path, complete),
        "problems": [problem for name in names for problem in file_problems(path / name)] if complete else [],
        "samples": attrs.get("samples"),
        "bytes": sum(array["bytes"] for array in arrays),
        "bytes_on_disk": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "arrays": _with_trade(path, arrays) if complete and attrs.get("kind") == "spectrogram" else arrays,
        "labels": {name: counts for name in names if (counts := _class_counts(path, name, complete))},
        "splits": attrs.get("splits") or {"default": None, "available": {}},
        "facts": {key: value for key, value in attrs.items() if key not in _FORMAT},
        "sources": attrs.get("sources") or (list(map(dict, plan.sources)) if plan else []),
        "recipe": attrs.get("recipe") or (dict(plan.recipe) if plan else {}),
        "versions": attrs.get("versions") or (dict(plan.versions) if plan else {}),
        "format_version": attrs.get("format_version"),
        "data_sha256": attrs.get("data_sha256"),
        "plan_sha256": attrs.get("plan_sha256"),
    }


def _with_trade(path: Path, arrays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spectrograms with what compression saves and costs."""
    return [
        {**array, "trade": found}
        if array["name"] == "spectrogram" and (found := trade(path / array["name"], array)) is not None
        else array
        for array in arrays
    ]


def _status(path: Path, complete: bool) -> dict[str, Any]:
    try:
        found = parts.status(path)
    except StoreError:
        return {"parts": None, "done": None, "missing": []}
    return {"parts": found.parts, "done": found.done, "missing": [] if complete else list(found.missing)}


def _array(path: Path, name: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    meta = read_json(path / name / "zarr.json")
    shape, about = list(meta["shape"]), dict(meta.get("attributes") or {})
    dtype = DTYPES.get(str(meta["data_type"]))
    shard, chunk, compression = _layout(meta)
    return {
        "name": name,
        "dtype": meta["data_type"],
        "shape": shape,
        "dims": list(meta.get("dimension_names") or ()),
        "units": about.pop("units", ""),
        "description": about.pop("description", ""),
        "attrs": about,
        "bytes": math.prod(shape) * dtype.itemsize if dtype else 0,
        "rows_per_shard": shard,
        "rows_per_chunk": chunk,
        "compression": compression,
        "reading": _reading(path / name),
        "statistics": _decoded((attrs.get("statistics") or {}).get(name), about),
    }


def _decoded(statistics: dict[str, Any] | None, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Statistics in the array's unit: those in the store are of the stored integers."""
    if statistics is None or "scale_factor" not in about:
        return statistics
    scale, offset = float(about["scale_factor"]), float(about.get("add_offset", 0.0))
    moved = {name: offset + scale * statistics[name] for name in ("mean", "min", "max")}
    return {**statistics, **moved, "std": scale * statistics["std"]}


def _layout(meta: Mapping[str, Any]) -> tuple[int, int, str]:
    """Rows of a shard and of an inner chunk, and the compression."""
    shard = int(meta["chunk_grid"]["configuration"]["chunk_shape"][0])
    chunk, codecs = shard, list(meta.get("codecs") or ())
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            chunk = int(codec["configuration"]["chunk_shape"][0])
            codecs = list(codec["configuration"]["codecs"])
    packed = [codec["name"] for codec in codecs if codec["name"] not in ("bytes", "crc32c", "transpose")]
    return shard, chunk, "+".join(packed) or "none"


def _reading(folder: Path) -> dict[str, str]:
    """How rows are read: straight from the files, or through zarr and why."""
    try:
        with open_rows(folder) as reader:
            return {"how": reader.how, "why": reader.why}
    except StoreError as error:
        return {"how": "not readable", "why": error.message}


def _class_counts(path: Path, name: str, complete: bool) -> list[dict[str, Any]] | None:
    """Samples of every class of an integer label; None for other arrays and while they are being made."""
    meta = read_json(path / name / "zarr.json")
    labels = name.startswith("labels/") or name == "meta/scenario"
    if not complete or not labels or len(meta["shape"]) != 1 or not str(meta["data_type"]).startswith(("int", "uint")):
        return None
    try:
        with open_rows(path / name) as reader:
            values, counts = np.unique(reader.whole(), return_counts=True)
    except StoreError:
        return None
    if values.size > _MANY_CLASSES:
        return None
    known = dict(zip(values.tolist(), counts.tolist(), strict=True))
    names = [str(value) for value in (meta.get("attributes") or {}).get("classes") or ()]
    every = range(len(names)) if names else sorted(known)
    rest = [value for value in sorted(known) if value not in every]
    return [
        {"class": value, "name": names[value] if 0 <= value < len(names) else str(value), "count": known.get(value, 0)}
        for value in (*every, *rest)
    ]
