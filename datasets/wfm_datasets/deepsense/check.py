"""What a scenario folder holds, before anything is built from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.signal.lidar import depth_image
from wfm_cli.errors import InputError
from wfm_datasets.deepsense.frames import Frames, read_frames
from wfm_datasets.deepsense.index import Index, Row, read_index
from wfm_datasets.deepsense.presence import LARGE, exists, listed
from wfm_datasets.deepsense.sensors import read_cloud
from wfm_datasets.deepsense.windows import window_index

NAMED = 3
"""Missing files that are named."""
CLOUDS = 20
"""Point clouds that are looked into, evenly spread."""
_STEPS_MS = (0, 50, 95, 105, 150, 200, 500, float("inf"))
_FILES = (*LARGE, "power", "position", "station")


def check(source: DeepSenseSource) -> list[dict[str, Any]]:
    """Facts of every scenario as JSON-able values; nothing is written.

    Returns:
        Per scenario: `scenario`, `index`, `rows`, `files` (per sensor: named, found, first missing ones), `problem` if
        powers, positions or labels cannot be read, else `sequences`, `windows`, `labels`, `nan`, `time`,
        `interpolated`, `lidar`.

    Raises:
        InputError: an index cannot be read.
    """
    return [_scenario(source.model_copy(update={"scenarios": (place,)}), place) for place in source.scenarios]


def _scenario(source: DeepSenseSource, place: str) -> dict[str, Any]:
    listed.cache_clear()
    index = read_index(place)
    facts: dict[str, Any] = {
        "scenario": index.name,
        "index": str(index.path),
        "rows": len(index.rows),
        "columns": {key: list(names) for key, names in index.columns.items()},
        "ignored_columns": list(index.ignored),
        "files": {key: _count(index, index.rows, key) for key in _FILES},
    }
    lenient = source.model_copy(update={"missing": "drop", "labels": "ignore", "backwards": "cut"})
    try:
        frames = read_frames(lenient, show=False)
    except InputError as error:
        return {**facts, "problem": error.message}
    return {**facts, **_frames(frames, source), "lidar": _clouds(frames)}


def _count(index: Index, rows: Sequence[Row], key: str) -> dict[str, Any]:
    named = [row.files[key] for row in rows if row.files.get(key)]
    lost = [names for names in named if not exists(index.folder, names)]
    return {"named": len(named), "found": len(named) - len(lost), "missing": [names[0] for names in lost[:NAMED]]}


def _frames(frames: Frames, source: DeepSenseSource) -> dict[str, Any]:
    inside = np.diff(frames.sequence) == 0
    step = np.diff(frames.time_s)[inside]
    unmeasured = np.isnan(frames.power) & (frames.beam >= 0)[:, None]
    lengths = np.bincount(frames.sequence, minlength=len(frames.names))
    (name,) = frames.scenarios
    audit = frames.audits[name]
    return {
        "sequences": {"count": len(frames.names), "shortest": int(lengths.min()), "longest": int(lengths.max())},
        "windows": len(window_index(frames.sequence, source.history + source.horizon, source.stride)),
        "labels": audit.to_json(),
        "labels_agree": audit.words(name),
        "nan": {"frames": int(unmeasured.any(1).sum()), "powers": int(unmeasured.sum())},
        "time": _times(step) | {"backwards_or_cut": frames.counts[name]["cuts"]},
        "interpolated": round(float(frames.interpolated.mean()), 4),
        "beams_used": len(np.unique(frames.beam[frames.beam >= 0])),
    }


def _times(step: NDArray[np.float64]) -> dict[str, Any]:
    """Statistics of the time between two frames, in milliseconds."""
    if not len(step):
        return {"steps": 0}
    edges = np.array(_STEPS_MS)
    counts = np.histogram(1e3 * step, edges)[0]
    return {
        "steps": len(step),
        "median_ms": round(1e3 * float(np.median(step)), 1),
        "mean_ms": round(1e3 * float(step.mean()), 1),
        "longest_ms": round(1e3 * float(step.max()), 1),
        "duplicate_stamps": int((step == 0).sum()),
        "histogram_ms": {
            f"{low:g} to {high:g}" if np.isfinite(high) else f"above {low:g}": int(count)
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        },
    }


def _clouds(frames: Frames) -> dict[str, Any] | None:
    """Share of the points that fall into the picture, of some clouds."""
    paths = frames.files.get("lidar")
    if paths is None:
        return None
    chosen = np.unique(np.linspace(0, len(paths) - 1, CLOUDS).round().astype(int))
    images = [depth_image(read_cloud(Path(str(paths[n])))) for n in chosen]
    points, kept = sum(image.points for image in images), sum(image.kept for image in images)
    return {"clouds": len(images), "points": points, "kept": round(kept / max(1, points), 4)}
