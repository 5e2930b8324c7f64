"""The class of a recording: from the file, its folder, its name, a table, or one of its fields."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, Value

Placed = tuple[Recording, Path, str, bool]
"""A recording, the file that was named or found, its path below the input, and whether there are several inputs."""


def apply(placed: Sequence[Placed], rule: str) -> list[Recording]:
    """The recordings with the labels that `ReadOptions.label` asks for, in order.

    Raises:
        InputError: the rule cannot be used, or fits no recording.
    """
    if not placed:
        return []
    kind, _, rest = rule.partition(":")
    if rule == "auto":
        return [_auto(item) for item in placed]
    if rule == "folder":
        return [_labelled(recording, path.absolute().parent.name, "folder") for recording, path, _, _ in placed]
    if rule == "none":
        return [_bare(recording) for recording, *_ in placed]
    if kind == "name":
        return _by_name(placed, rest)
    if kind == "csv":
        return _by_table(placed, Path(rest))
    return _by_field([recording for recording, *_ in placed], rule)


def has_label(recording: Recording) -> bool:
    """Whether the file itself says what it holds."""
    return (
        recording.label is not None
        or "label" in recording.columns
        or any(annotation.label is not None for annotation in recording.annotations)
    )


def _auto(item: Placed) -> Recording:
    recording, path, inner, several = item
    if has_label(recording) or not ("/" in inner or several):
        return recording
    return _labelled(recording, path.absolute().parent.name, "folder")


def _bare(recording: Recording) -> Recording:
    """Without any label."""
    return replace(
        recording,
        label=None,
        annotations=tuple(replace(annotation, label=None) for annotation in recording.annotations),
        columns={name: column for name, column in recording.columns.items() if name != "label"},
        origin={name: text for name, text in recording.origin.items() if name != "label"},
    )


def _labelled(recording: Recording, label: str | None, origin: str, fields: Mapping[str, Value] = {}) -> Recording:
    """One label for the whole recording."""
    bare = _bare(recording)
    if label is None:
        return replace(bare, notes=(*bare.notes, f"no label: {origin} says nothing of it"))
    return replace(
        bare,
        label=label,
        origin={**bare.origin, "label": origin},
        fields={**bare.fields, **fields} if fields else bare.fields,
    )


def _by_name(placed: Sequence[Placed], expression: str) -> list[Recording]:
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InputError(
            f"label name:{expression}: no regular expression ({error})", "example: name:([^_]+)_"
        ) from None
    if pattern.groups != 1:
        raise InputError(
            f"label name:{expression}: has {pattern.groups} groups", "put the class, alone, in brackets ()"
        )

    def find(inner: str) -> str | None:
        match = pattern.search(inner)
        return match[1] if match else None

    made = [_labelled(recording, find(inner), f"name:{expression}") for recording, _, inner, _ in placed]
    _refuse_none(made, f"label name:{expression}", f"a name is {placed[0][2]!r}")
    return made


def _by_table(placed: Sequence[Placed], table: Path) -> list[Recording]:
    rows = _rows(table)
    made = []
    for recording, path, inner, _ in placed:
        keys = (recording.name, inner, inner.rpartition(".")[0], path.name, path.stem)
        row = next((rows[key] for key in keys if key in rows), {})
        extra = {name: _number(text) for name, text in row.items() if name not in ("file", "label") and text}
        made.append(_labelled(recording, row.get("label") or None, f"csv:{table.name}", extra))
    _refuse_none(made, f"{table}: column file", f"a file is {placed[0][2]!r}")
    return made


def _rows(table: Path) -> dict[str, dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, restkey="", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{table}: cannot be read as a table ({error})", "give a CSV file with columns file,label"
        ) from None
    if not rows or not {"file", "label"} <= set(rows[0]):
        have = ", ".join(str(name) for name in rows[0]) if rows else "none"
        raise InputError(f"{table}: has no columns file and label (columns: {have})", "name them in the first line")
    return {row["file"].removeprefix("./"): {k: str(v) for k, v in row.items() if k} for row in rows}


def _number(text: str) -> Value:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if np.isfinite(value) else text


def _by_field(recordings: Sequence[Recording], name: str) -> list[Recording]:
    made = [_field(recording, name) for recording in recordings]
    if not any(has_label(recording) for recording in made):
        known = sorted(
            {field for recording in recordings for field in (*recording.fields, *recording.columns)}
            | {field for recording in recordings for note in recording.annotations for field in note.fields}
        )
        raise InputError(
            f"label {name!r}: no recording has such a field",
            f"fields: {', '.join(known) or 'none'}; or use auto, folder, none, name:REGEX, csv:FILE",
        )
    return made


def _field(recording: Recording, name: str) -> Recording:
    bare = _bare(recording)
    text: Callable[[Value], str] = lambda value: f"{value:g}" if isinstance(value, float) else str(value)  # noqa: E731
    annotations = tuple(
        replace(note, label=text(note.fields[name])) if name in note.fields else note for note in bare.annotations
    )
    columns = dict(bare.columns)
    if name in recording.columns:
        column = recording.columns[name]
        columns["label"] = (
            np.array([text(value) for value in column.tolist()]) if column.dtype.kind in "fiu" else column
        )
    label = text(recording.fields[name]) if name in recording.fields else None
    origin = {**bare.origin, "label": f"field {name}"}
    return replace(bare, label=label, annotations=annotations, columns=columns, origin=origin)


def _refuse_none(made: Sequence[Recording], what: str, example: str) -> None:
    if all(recording.label is None for recording in made):
        raise InputError(f"{what}: fits none of the {len(made)} recordings", example)
