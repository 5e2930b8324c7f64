"""Facts about a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.features import cache_name
from wfm_cli.core.inspect.text import sparkline
from wfm_cli.core.provenance import digest
from wfm_cli.core.store.files import read_json
from wfm_cli.core.store.run import Run
from wfm_cli.errors import StoreError

_SHOWN = {"format_version", "kind", "status", "complete", "recipe", "versions", "model", "manifest", "encoders"}


def describe_run(path: Path) -> dict[str, Any]:
    """Kind and status, model and weights, curves, units, checkpoints, cached features, recipe, provenance.

    Raises:
        StoreError: Not a run, of another version, or damaged metadata.
    """
    run = Run.open(path)
    attrs, recipe = run.attrs, dict(run.attrs.get("recipe") or {})
    return {
        "what": "run",
        "path": str(path),
        "name": path.name,
        "kind": run.kind,
        "status": str(attrs.get("status", "unknown")),
        "complete": run.complete,
        "bytes_on_disk": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "model": attrs.get("model"),
        "parameters": attrs.get("parameters"),
        "weights": _weights(path / "weights"),
        "curves": _curves(run.curves.read()),
        "units": _units(run),
        "checkpoints": _folders(path / "checkpoints"),
        "features": _features(path / "features"),
        "facts": {key: value for key, value in attrs.items() if key not in _SHOWN and key != "parameters"},
        "recipe": recipe,
        "recipe_sha256": digest(recipe) if recipe else None,
        "versions": dict(attrs.get("versions") or {}),
        "format_version": attrs.get("format_version"),
    }


def _weights(folder: Path) -> list[dict[str, Any]]:
    """Sets of weights (`best`, `last`) with tensors, parameters and the attributes they were saved with."""
    found = []
    for which in _folders(folder):
        about = dict(read_json(folder / which / "zarr.json").get("attributes") or {})
        layout: Mapping[str, Any] = about.pop("layout", {})
        sizes = [math.prod(entry["shape"]) for entry in layout.values()]
        kinds = Counter(str(entry["dtype"]) for entry in layout.values())
        entry = {"which": which, "tensors": len(layout), "values": sum(sizes), "dtypes": dict(kinds)}
        found.append({**entry, "attrs": about})
    return found


def _curves(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, Any]]:
    """Last value, extremes and course of every column."""
    described = {}
    for name, values in columns.items():
        finite = values[np.isfinite(values)]
        if finite.size:
            described[name] = {
                "rows": int(finite.size),
                "last": float(finite[-1]),
                "min": float(finite.min()),
                "max": float(finite.max()),
                "course": sparkline(finite),
            }
    return described


def _units(run: Run) -> dict[str, Any]:
    """Counts of units by status and task, and what has failed."""
    status: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    failed: list[dict[str, str]] = []
    for unit in run.units():
        state = str(unit.attrs.get("status", "ok"))
        status[state] += 1
        tasks[str(unit.attrs.get("task") or unit.attrs.get("kind") or "other")] += 1
        if state == "failed":
            failed.append({"key": unit.key, "error": str(unit.attrs.get("error") or "")})
    planned = len(run.attrs.get("manifest") or ())
    counted = {"count": status.total(), "planned": max(planned, status.total())}
    return {**counted, "status": dict(status), "tasks": dict(tasks), "failed": failed}


def _features(folder: Path) -> list[dict[str, Any]]:
    """Cached embeddings: digest and shape."""
    found = []
    for name in _folders(folder):
        try:
            shape = read_json(folder / name / "values" / "zarr.json")["shape"]
        except (StoreError, KeyError):
            continue
        found.append({"name": name, "shape": shape})
    return found


def feature_names(run: Run) -> dict[str, str]:
    """Cached features by name, with the label of the encoder that made them (part of the name if it is not known)."""
    labels = {str(unit.attrs.get("encoder")): str(unit.attrs.get("label")) for unit in run.units()}
    known: dict[str, str] = {}
    found = _features(run.path / "features")
    for samples in {int(entry["shape"][0]) for entry in found}:
        for spec, weights in dict(run.attrs.get("encoders") or {}).items():
            name = cache_name(weights, str(run.attrs.get("data_digest")), ("channel",), np.arange(samples))
            known[name] = labels.get(spec) or str(spec)
    return {entry["name"]: known.get(entry["name"], f"features {entry['name'][:8]}") for entry in found}


def _folders(folder: Path) -> list[str]:
    """Names of the Zarr groups in a folder that are whole (temporary ones begin with a dot)."""
    if not folder.is_dir():
        return []
    inside = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [entry.name for entry in inside if (entry / "zarr.json").is_file() or folder.name == "checkpoints"]
