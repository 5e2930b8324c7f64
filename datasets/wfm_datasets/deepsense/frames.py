"""The frames of all scenarios as columns: what is small is read here, once; files of the large sensors are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.progress import progress
from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.signal.geodesy import local_metres
from wfm_cli.errors import InputError
from wfm_datasets.deepsense import stamps
from wfm_datasets.deepsense.audit import Audit, audit_labels
from wfm_datasets.deepsense.index import Index, Row, read_index
from wfm_datasets.deepsense.presence import listed, missing, present
from wfm_datasets.deepsense.sensors import read_numbers, read_position

BEAMS = 64
"""Powers of one array."""


@dataclass
class Frames:
    """Frames of all scenarios, in the order of scenario, sequence and time."""

    scenario: NDArray[np.int64]
    sequence: NDArray[np.int64]
    """Numbers of `names`; a sequence that was cut has several."""
    names: list[str]
    """`32:7`, or `32:7b` behind a cut."""
    scenarios: list[str]
    index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    position: NDArray[np.float64]
    """(n, 2) metres east and north of the base station."""
    known: NDArray[np.bool_]
    """Whether the position is."""
    interpolated: NDArray[np.bool_]
    power: NDArray[np.float64]
    """(n, beams) linear, with NaN as released."""
    beam: NDArray[np.int64]
    released: NDArray[np.int64]
    """As it stands in the CSV, -1 where there is none."""
    files: Mapping[str, NDArray[np.str_]]
    """(n,) paths of every large sensor; empty where a challenge names none."""
    audits: Mapping[str, Audit]
    notes: list[str] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scenario)


def read_frames(source: DeepSenseSource, show: bool = True) -> Frames:
    """Everything but the large sensors.

    Raises:
        InputError: see `read_index` and the readers of `sensors`; or what the recipe's `missing`, `backwards` and
            `labels` refuse.
    """
    listed.cache_clear()  # files may have come since the last look
    indices = [read_index(place) for place in source.scenarios]
    doubled = [index.name for n, index in enumerate(indices) if index.name in [other.name for other in indices[:n]]]
    if doubled:
        raise InputError(f"scenario {doubled[0]} is given twice", "name every scenario once")
    kept = present(source, indices)
    parts = [_scenario(source, index, number, kept, show) for number, index in enumerate(indices)]
    beams = {part.power.shape[1] for part in parts}
    if len(beams) > 1:
        raise InputError(
            f"the scenarios have {' and '.join(str(n) for n in sorted(beams))} beams",
            "prepare them into stores of their own",
        )
    return _join(parts, [index.name for index in indices])


def _scenario(source: DeepSenseSource, index: Index, number: int, kept: Sequence[str], show: bool) -> Frames:
    rows, notes = list(index.rows), []
    lacking = missing(index, [*kept, "power", "position", "station"])
    if lacking and source.missing == "error":
        first = next(iter(lacking.values()))
        raise InputError(
            f"{index.path}: files of {len(lacking)} of {len(rows)} frames are missing, the first is {first}",
            "unpack all parts of the scenario, or leave these frames out with source.missing=drop",
        )
    rows = [row for n, row in enumerate(rows) if n not in lacking]
    if not rows:
        raise InputError(f"{index.path}: no frame has all of its files", "unpack all parts of the scenario")
    if lacking:
        notes.append(f"scenario {index.name}: {len(lacking)} frames left out, their files are missing")
    lines = [row.line for row in rows]
    label = f"scenario {index.name}: powers and positions"
    named = progress(rows, total=len(rows), unit="frame", label=label, enabled=show)
    arrays = max(len(row.files.get("power", ())) for row in rows)
    power = np.stack([_power(index, row, arrays) for row in named])
    measured = np.array(["power" in row.files for row in rows])
    dead = np.flatnonzero(measured & np.isnan(power).all(1))
    if len(dead):
        raise InputError(f"{index.path}: line {lines[dead[0]]}: all powers are NaN", "leave the row out of the CSV")
    place, known = _positions(index, rows)
    beam = np.where(measured, np.where(np.isnan(power), -np.inf, power).argmax(1), -1)
    released = _labels(index, rows)
    sequence, names = _sequences(index, rows)
    time = _times(index, rows, sequence)
    frames = Frames(
        scenario=np.full(len(rows), number),
        sequence=sequence,
        names=names,
        scenarios=[index.name],
        index=np.array([_whole(index, row.line, row.texts.get("id", str(n))) for n, row in enumerate(rows)], np.int64),
        time_s=time,
        position=place,
        known=known,
        interpolated=np.array([row.texts.get("interpolated", "0") in ("1", "1.0", "True") for row in rows]),
        power=power,
        beam=beam,
        released=released,
        files={key: np.array([_place(index, row, key) for row in rows]) for key in kept},
        audits={index.name: audit_labels(index.path, beam, released, power, source.labels)},
        notes=notes,
        counts={
            "rows": len(index.rows),
            "missing": len(lacking),
            "columns": {key: list(names) for key, names in index.columns.items()},
            "ignored_columns": list(index.ignored),
        },
    )
    return _ordered(source, index, frames, lines)


def _place(index: Index, row: Row, key: str) -> str:
    return str(index.folder / row.files[key][0]) if row.files.get(key) else ""


def _power(index: Index, row: Row, arrays: int) -> NDArray[np.float64]:
    names = row.files.get("power", ())
    if not names:
        return np.full(BEAMS * arrays, np.nan)
    return np.concatenate([read_numbers(index.folder / name, BEAMS, "a power file") for name in names])


def _positions(index: Index, rows: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Metres around the base station, which may move; (0, 0) where no position is released."""
    station = [
        read_position(index.folder / row.files["station"][0]) if row.files.get("station") else None for row in rows
    ]
    made, known = np.zeros((len(rows), 2)), np.zeros(len(rows), bool)
    for number, row in enumerate(rows):
        origin = station[number]
        if row.files.get("position") and origin is not None:
            place = read_position(index.folder / row.files["position"][0])
            made[number], known[number] = local_metres(place, origin), True
    return made, known


def _labels(index: Index, rows: Sequence[Row]) -> NDArray[np.int64]:
    return np.array(
        [_whole(index, row.line, row.texts["label"]) if row.texts.get("label") else -1 for row in rows], np.int64
    )


def _whole(index: Index, line: int, text: str) -> int:
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
        return int(value)
    except (ValueError, OverflowError):
        raise InputError(f"{index.path}: line {line}: {text!r} is no whole number", "correct the CSV") from None


def _sequences(index: Index, rows: Sequence[Row]) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers and names of the sequences, in the order in which they begin."""
    texts = [row.texts.get("sequence", "0") for row in rows]
    order = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    plain = [text.removesuffix(".0") for text in order]
    names = [text if "-" in text else f"{index.name}:{text}" for text in plain]
    return np.array([order[text] for text in texts], np.int64), names


def _times(index: Index, rows: Sequence[Row], sequence: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds; where no stamp is released, a tenth of a second per frame of its sequence."""
    if all("time" in row.texts for row in rows):
        return stamps.unwrap(
            stamps.parse([row.texts["time"] for row in rows], [row.line for row in rows], index.path), sequence
        )
    made = np.zeros(len(rows))
    for start, stop in stamps.runs(sequence):
        made[start:stop] = 0.1 * np.arange(stop - start)
    return made


def _ordered(source: DeepSenseSource, index: Index, frames: Frames, lines: Sequence[int]) -> Frames:
    """Sequences together, and what happens where time runs backwards or the gap is long."""
    order = np.argsort(frames.sequence, kind="stable")
    frames = take(frames, order)
    step = np.diff(frames.time_s)
    inside = np.diff(frames.sequence) == 0
    back = np.flatnonzero(inside & (step < 0))
    if len(back) and source.backwards == "error":
        line = [lines[n] for n in order]
        raise InputError(
            f"{index.path}: time runs backwards from line {line[back[0]]} to line {line[back[0] + 1]} "
            f"({len(back)} times)",
            "sort the CSV by time, or begin a new sequence there with source.backwards=cut",
        )
    cut = np.zeros(len(frames), bool)
    cut[back + 1] = True
    if source.gap_s is not None:
        cut[np.flatnonzero(inside & (step > source.gap_s)) + 1] = True
    frames.counts |= {"cuts": int(cut.sum()), "duplicate_stamps": int((inside & (step == 0)).sum())}
    if cut.any():
        piece = np.cumsum(cut | np.concatenate([[True], ~inside])) - 1
        first = np.flatnonzero(np.concatenate([[True], np.diff(piece) > 0]))
        old = frames.sequence[first]
        turn = [int((old[:n] == old[n]).sum()) for n in range(len(old))]
        frames.names = [frames.names[o] + (f"/{t + 1}" if t else "") for o, t in zip(old, turn, strict=True)]
        frames.sequence = piece.astype(np.int64)
    return frames


_COLUMNS = ("scenario", "sequence", "index", "time_s", "position", "known", "interpolated", "power", "beam", "released")


def take(frames: Frames, rows: NDArray[Any]) -> Frames:
    """Some of the frames."""
    values = {**vars(frames), **{name: getattr(frames, name)[rows] for name in _COLUMNS}}
    return Frames(**{**values, "files": {key: paths[rows] for key, paths in frames.files.items()}})


def _join(parts: Sequence[Frames], scenarios: list[str]) -> Frames:
    offsets = np.cumsum([0, *(len(part.names) for part in parts)])
    values: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    values["sequence"] = np.concatenate([part.sequence + o for part, o in zip(parts, offsets[:-1], strict=True)])
    return Frames(
        **values,
        names=[name for part in parts for name in part.names],
        scenarios=scenarios,
        files={key: np.concatenate([part.files[key] for part in parts]) for key in parts[0].files},
        audits={name: audit for part in parts for name, audit in part.audits.items()},
        notes=[note for part in parts for note in part.notes],
        counts={part.scenarios[0]: part.counts for part in parts},
    )
