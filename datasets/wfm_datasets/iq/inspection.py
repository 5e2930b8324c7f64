"""What `wfm show` says about recordings: facts, levels, and the arrays that its pictures are drawn from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.signal.levels import Levels, measure
from wfm_cli.errors import InputError
from wfm_datasets.iq.excerpts import excerpt, read_blocks, spread
from wfm_datasets.iq.recording import Recording, open_windows
from wfm_datasets.iq.scan import ReadOptions, Scan, scan

__all__ = [
    "Inspection",
    "ReadOptions",
    "describe",
    "describe_recording",
    "excerpt",
    "findings",
    "look",
    "measure_recording",
]

BUDGET = 1 << 20
"""Samples of one recording that are measured at most; longer ones are measured in stretches spread evenly."""
QUICK = 1 << 16
"""The same for each of many recordings."""
STRETCH = 1 << 14
"""Samples of one stretch."""


@dataclass(frozen=True)
class Inspection:
    """What was found below a path."""

    path: Path
    found: Scan

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """The recordings, sorted by name."""
        return self.found.recordings


def look(path: Path, options: ReadOptions) -> Inspection:
    """Find the recordings of a file or a folder.

    Raises:
        InputError: nothing is there, or the one file is no recording (with the reason and the remedy).
    """
    found = scan([str(path)], options)
    if not found.recordings and path.is_file() and found.outcomes:
        worst = (found.failed or found.outcomes)[0]
        reason = worst.reason if str(path) in worst.reason else f"{path}: {worst.reason}"
        hint = None if worst.status == "failed" else "wfm show takes I/Q recordings, stores and runs"
        raise InputError(reason, hint)
    return Inspection(path, found)


def describe(inspection: Inspection, limit: int | None = None) -> dict[str, Any]:
    """Everything about the recordings as JSON-able values.

    Args:
        inspection: From `look`.
        limit: Recordings that are measured at most; the rest comes without levels.

    Returns:
        `what` "recordings", `path`, `counts` of files by status, `classes` with recordings and annotations,
        `recordings` (see `describe_recording`) and `outcomes` of the files.
    """
    recordings = inspection.recordings
    budget = BUDGET if len(recordings) == 1 else QUICK
    status = Counter(outcome.status for outcome in inspection.found.outcomes)
    return {
        "what": "recordings",
        "path": str(inspection.path),
        "counts": {name: status[name] for name in ("used", "skipped", "failed")},
        "classes": _classes(recordings),
        "recordings": [
            describe_recording(recording, budget if limit is None or place < limit else 0)
            for place, recording in enumerate(recordings)
        ],
        "outcomes": [asdict(o) | {"recordings": list(o.recordings)} for o in inspection.found.outcomes],
    }


def describe_recording(recording: Recording, budget: int = BUDGET) -> dict[str, Any]:
    """Facts of one recording; `channels_measured` holds the levels of every channel, `error` why there are none."""
    rate = recording.sample_rate
    facts: dict[str, Any] = {
        "name": recording.name,
        "path": str(recording.path),
        "format": recording.format,
        "datatype": recording.datatype,
        "samples": recording.samples,
        "channels": recording.channels,
        "examples": recording.examples,
        "sample_rate_hz": rate,
        "center_frequency_hz": recording.center_frequency,
        "duration_s": recording.samples / rate if rate else None,
        "label": recording.label,
        "fields": dict(recording.fields),
        "columns": {name: _column(values) for name, values in recording.columns.items()},
        "annotations": [asdict(annotation) for annotation in recording.annotations],
        "origin": dict(recording.origin),
        "notes": list(recording.notes),
        "dropped_bytes": recording.dropped_bytes,
        "layout": {key: value for key, value in recording.layout.items() if isinstance(value, str | int | float)},
        "measured_samples": 0,
        "levels": [],
        "error": None,
    }
    if budget:
        try:
            found = measure_recording(recording, budget)
        except InputError as error:
            return {**facts, "error": error.message}
        facts["measured_samples"] = found[0].samples
        facts["levels"] = [asdict(levels) for levels in found]
        facts["findings"] = findings(found, real=recording.datatype.startswith("r"))
    return facts


def measure_recording(recording: Recording, budget: int = BUDGET) -> list[Levels]:
    """Levels of every channel, from at most `budget` samples of all of them.

    Raises:
        InputError: The samples cannot be read.
    """
    read = open_windows(recording)
    examples, starts, length = _stretches(recording, max(budget // recording.channels, 1))
    step = converter_step(recording.datatype)
    return [
        measure(read_blocks(read, recording, examples, starts, length, channel), step)
        for channel in range(recording.channels)
    ]


def converter_step(datatype: str) -> float:
    """Distance of neighbouring values of an integer type at full scale 1, from its SigMF name; 0 for floats."""
    match = re.fullmatch(r"[cr][iu](\d+)(?:_[lb]e)?", datatype)
    return 2.0 ** (1 - int(match[1])) if match else 0.0


def findings(channels: Sequence[Levels], real: bool = False) -> list[str]:
    """What is conspicuous in the levels, one sentence each.

    Args:
        channels: From `measure_recording`.
        real: The samples are known to be real.
    """
    said = []
    for number, found in enumerate(channels):
        where = f"channel {number}: " if len(channels) > 1 else ""
        said += [where + text for text in _conspicuous(found, real)]
    return said


def _conspicuous(found: Levels, real: bool) -> list[str]:
    said = []
    if found.nonfinite:
        said.append(f"{found.nonfinite:,} samples are NaN or infinite")
    if found.peak_dbfs > 3.1:  # no integer within full scale is as strong
        said.append("amplitudes lie beyond full scale 1: counts of the converter, or the wrong --dtype")
    elif found.clipped > 1e-3:
        said.append(f"{100 * found.clipped:.2g} % of the samples are clipped: the gain was too high")
    elif found.flat_tops > 1e-3:
        said.append(f"{100 * found.flat_tops:.2g} % of the samples stick to the largest value: clipped before scaling")
    if not real and found.symmetry is not None and found.symmetry > 0.9999:
        said.append("the spectrum is symmetric: real samples or audio rather than I/Q")
    if found.constant > 0.5:
        said.append(f"{100 * found.constant:.0f} % of the samples lie in constant runs")
    if found.dc_db is not None and found.dc_db > -3 and found.constant <= 0.5:
        said.append("most of the power is at 0 Hz: DC offset or a carrier in the middle")
    return said


def _stretches(recording: Recording, budget: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Examples, first samples and length of what is measured: the whole recording, or stretches spread over it."""
    if recording.examples == 1 and recording.samples <= budget:
        return np.zeros(1, np.int64), np.zeros(1, np.int64), recording.samples
    length = min(STRETCH, recording.samples)
    count = max(budget // length, 1)
    if recording.examples > 1:
        examples = spread(recording.examples, count)
        return examples, np.zeros(examples.size, np.int64), length
    starts = np.round(np.linspace(0, recording.samples - length, count)).astype(np.int64)
    return np.zeros(count, np.int64), starts, length


def _classes(recordings: Sequence[Recording]) -> dict[str, dict[str, int]]:
    """Recordings, examples and annotations of every class."""
    of: dict[str, Counter[str]] = {"recordings": Counter(), "examples": Counter(), "annotations": Counter()}
    for recording in recordings:
        if "label" in recording.columns:
            of["examples"].update(map(str, recording.columns["label"].tolist()))
        elif recording.label is not None:
            of["recordings"][recording.label] += 1
        of["annotations"].update(note.label for note in recording.annotations if note.label is not None)
    return {name: {kind: counts[name] for kind, counts in of.items()} for name in sorted(set().union(*of.values()))}


def _column(values: NDArray[Any]) -> dict[str, Any]:
    """A summary of one value per example: its values with counts where they are few, else its range."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    counts = Counter(values.tolist())  # many times as fast as sorting millions of names
    if len(counts) <= 64:
        return {"counts": {str(value): counts[value] for value in sorted(counts)}}
    if values.dtype.kind in "iuf":
        return {"min": float(np.nanmin(values)), "max": float(np.nanmax(values)), "distinct": len(counts)}
    return {"distinct": len(counts)}
