"""Labels and metadata of every window, from what recordings, annotations and columns say by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_cli.core.store.schema import ArraySpec
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.spectrogram.windows import Cuts

Column = tuple[ArraySpec, NDArray[Any]]
LABEL = "label"
"""Name of the class of a recording, annotation or example among the fields."""
RESERVED = frozenset(
    ("recording", "example", "start", "channel", "sample_rate_hz", "center_frequency_hz", "gain_db", "level_db",
     "clipped", "constant", "sample_rate", "center_frequency")
)  # fmt: skip
"""Columns of every store; a field of the same name is not stored twice."""
MOST_CLASSES = 1024
"""A text field with more values than this is a comment, not a label."""


@dataclass(frozen=True)
class Field:
    """One named property of all rows."""

    name: str
    values: tuple[Value, ...]
    """Distinct values, sorted."""
    codes: NDArray[np.int64]
    """Number of the value of every row, -1 where nothing is said, (n,)."""

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return all(not isinstance(value, str) for value in self.values)

    @property
    def names(self) -> list[str]:
        """The values in print."""
        return [show(value) for value in self.values]


def show(value: Value) -> str:
    """A value in print: `-5` for -5.0."""
    return value if isinstance(value, str) else f"{value:g}"


def gather(recordings: Sequence[Recording], cuts: Cuts) -> dict[str, Field]:
    """Every field that at least one row has, by its plain name."""
    names: dict[str, None] = {}
    for recording in recordings:
        names.update(dict.fromkeys((LABEL, *recording.fields, *recording.columns)))
        for note in recording.annotations:
            names.update(dict.fromkeys(note.fields))
    made = (_field(name, recordings, cuts) for name in sorted(names))
    return {plain(field.name): field for field in made if len(field.values)}


def plain(name: str) -> str:
    """A name fit for an array."""
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return text or "field"


def _field(name: str, recordings: Sequence[Recording], cuts: Cuts) -> Field:
    """Number the values of a field over all recordings."""
    pieces: list[tuple[list[Any], NDArray[np.int64]]] = []
    for number, recording in enumerate(recordings):
        rows = cuts.of(number)
        pieces.append(_values(name, recording, cuts.example[rows], cuts.annotation[rows]))
    used = {piece[i] for piece, index in pieces for i in np.unique(index).tolist() if piece[i] is not None}
    if name == LABEL or any(isinstance(value, str) for value in used):
        texts = {value: show(value) for value in used}
    else:
        texts = {value: value for value in used}
    distinct = sorted(set(texts.values()))
    rank = {value: place for place, value in enumerate(distinct)}
    codes = [np.array([rank[texts[v]] if v in texts else -1 for v in piece], np.int64)[i] for piece, i in pieces]
    return Field(name, tuple(distinct), np.concatenate(codes))


def _values(
    name: str, recording: Recording, example: NDArray[np.int64], annotation: NDArray[np.int32]
) -> tuple[list[Any], NDArray[np.int64]]:
    """Possible values in one recording, None for nothing said, and the number of that of every row."""
    if name in recording.columns:
        distinct, index = np.unique(recording.columns[name], return_inverse=True)
        return [_value(value) for value in distinct.tolist()], index.reshape(-1)[example].astype(np.int64)
    whole = recording.label if name == LABEL else recording.fields.get(name)
    notes = [note.label if name == LABEL else note.fields.get(name) for note in recording.annotations]
    own = [_value(whole if value is None else value) for value in notes]
    return [*own, _value(whole)], np.where(annotation >= 0, annotation, len(own)).astype(np.int64)


def _value(value: Any) -> Value | None:
    """A text or a finite number; anything else says nothing."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return number if np.isfinite(number) else None


def columns(fields: Mapping[str, Field], source: SpectrogramSource) -> tuple[list[Column], list[str]]:
    """Labels and numbers of every row, and sentences about fields that are not stored."""
    made: list[Column] = []
    notes, partial = [], []
    for name, field in fields.items():
        if name in RESERVED:
            continue
        missing = int((field.codes < 0).sum())
        if name != LABEL and not field.numeric and len(field.values) > MOST_CLASSES:
            notes.append(f"field {name} has {len(field.values):,} different texts and is not stored")
        elif name == LABEL or not field.numeric:
            made.append(label(name, field.codes, field.names, f"field {field.name}" if name != LABEL else "class"))
        elif missing:
            partial.append(name)
        else:
            dtype = "float64" if name.endswith(("_hz", "_s", "time", "timestamp")) else "float32"
            spec = ArraySpec(f"meta/{name}", dtype, (), ("sample",), _unit(name), f"field {field.name}")
            made.append((spec, np.array(field.values, dtype)[field.codes]))
    if partial:
        notes.append(f"numbers that not every window has are not stored: {', '.join(partial)}")
    made += [joint_label(name, parts, fields) for name, parts in source.joint.items()]
    return made, notes


def label(name: str, codes: NDArray[np.int64], classes: list[str], description: str) -> Column:
    """A column of classes; -1 means not labelled.

    Raises:
        InputError: there are more classes than numbers for them.
    """
    if len(classes) > np.iinfo(np.int16).max:
        raise InputError(f"label: {name} has {len(classes):,} classes", "choose another --label")
    spec = ArraySpec(f"labels/{name}", "int16", (), ("sample",), "1", description, {"classes": classes})
    return spec, codes.astype(np.int16)


def joint_label(name: str, parts: Sequence[str], fields: Mapping[str, Field]) -> Column:
    """One label of several fields: the combinations that occur, `-5 pedestrian`, in the order of their values.

    Raises:
        InputError: no recording has such a field, or the name is taken.
    """
    if name in fields or plain(name) != name:
        raise InputError(f"joint.{name}: is no free name", "choose another name of small letters, digits and _")
    for part in parts:
        if part not in fields:
            known = ", ".join(fields) or "none"
            raise InputError(f"joint.{name}: no recording has a field '{part}'", f"fields: {known}")
    if not parts:
        raise InputError(f"joint.{name}: names no field", "for example snr_mobility: [snr_db, mobility]")
    codes = np.stack([fields[part].codes for part in parts])
    known_rows = (codes >= 0).all(0)
    distinct, inverse = np.unique(codes[:, known_rows], axis=1, return_inverse=True)
    numbers = np.full(codes.shape[1], -1, np.int64)
    numbers[known_rows] = inverse.reshape(-1)
    names = [[fields[part].names[code] for code in row] for part, row in zip(parts, distinct, strict=True)]
    return label(name, numbers, [" ".join(row) for row in zip(*names, strict=True)], " and ".join(parts))


def _unit(name: str) -> str:
    for suffix, unit in {"_hz": "Hz", "_db": "dB", "_dbm": "dBm", "_mps": "m/s", "_s": "s", "_m": "m"}.items():
        if name.endswith(suffix):
            return unit
    return "1"
