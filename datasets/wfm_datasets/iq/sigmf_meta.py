"""What SigMF metadata mean: the JSON of a recording, checked field by field (SigMF 1.2.x; `wfm:` is our namespace)."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import SampleType, sample_type
from wfm_datasets.iq.flat import fitting
from wfm_datasets.iq.recording import Annotation, Recording, Value

MAX_META_BYTES = 256 << 20
"""Largest metadata file that is read."""
_MAX_CHANNELS = 4096
_MORE_PIECES = 100_000
"""Annotations are cut where the frequency changes; so many parts more than two of each are refused."""
_PREFIX = "wfm:"


@dataclass(frozen=True)
class Source:
    """Where the bytes of a recording lie."""

    path: Path
    size: int
    """Bytes of the data, headers included."""
    layout: Mapping[str, JSON]
    """Keys of the backend; `offset` is the first byte of the data."""
    in_memory: bool = False
    """The bytes must be decoded first."""


def load(text: bytes, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: no JSON, or no object.
    """
    try:
        made = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{where}: no valid JSON ({reason})", "copy or write the metadata again") from None
    if not isinstance(made, dict):
        raise InputError(f"{where}: is no JSON object", "expected SigMF metadata")
    return made


def parse(text: bytes, where: str) -> dict[str, Any]:
    """The JSON object of a metadata file.

    Raises:
        InputError: no JSON, no object, or without `global`.
    """
    made = load(text, where)
    if not isinstance(made.get("global"), dict):
        raise InputError(f"{where}: has no object 'global'", "expected SigMF metadata")
    return made


def recordings(meta: Mapping[str, Any], source: Source, name: str, where: str) -> list[Recording]:
    """The recordings that metadata describe: one, or one for each stretch at its own frequency.

    Args:
        meta: Parsed metadata.
        source: Where the samples are.
        name: Name of the recording.
        where: The metadata's place, for messages.

    Raises:
        InputError: a field is missing or makes no sense, or the data hold no whole sample.
    """
    head = meta["global"]
    kind = _kind(head, where)
    channels = int(_number(head, "core:num_channels", where, least=1, most=_MAX_CHANNELS, default=1))
    rate = _number(head, "core:sample_rate", where, least=0, most=1e15, default=0.0) or None
    trailing = int(_number(head, "core:trailing_bytes", where, least=0, most=source.size, default=0))
    base = int(_number(head, "core:offset", where, least=0, most=2**62, default=0))
    captures = _captures(meta, where, base)
    headers = sum(capture.header_bytes for capture in captures)
    samples, dropped = fitting(max(0, source.size - headers - trailing), kind, channels)
    if samples == 0:
        raise InputError(f"{source.path}: {source.size} bytes hold no whole sample of {kind.name}", "record it again")
    first = int(source.layout.get("offset", 0))
    stretches = _stretches(captures, samples, first, kind.sample_bytes * channels, where)
    annotations, outside = _annotations(meta, where, base, samples)
    notes = (
        ("real numbers: the imaginary part is zero", not kind.complex),
        (f"{dropped} bytes at the end make no whole sample", dropped > 0),
        (f"{outside} annotations lie outside the {samples} samples", outside > 0),
    )
    labelled = any(note.label is not None for note in annotations)
    whole = Recording(
        name=name,
        path=source.path,
        format="SigMF",
        datatype=kind.name,
        samples=samples,
        channels=channels,
        sample_rate=rate,
        fields=_fields(head),
        origin={"datatype": "metadata"}
        | ({"sample_rate": "metadata"} if rate else {})
        | ({"label": "annotations"} if labelled else {}),
        notes=tuple(note for note, holds in notes if holds),
        backend="memory" if source.in_memory else "flat",
        layout=source.layout,
    )
    pieces = zip(stretches, _inside(annotations, stretches, where), strict=True)
    made = [_part(whole, stretch, inside) for stretch, inside in pieces]
    made[-1] = replace(made[-1], dropped_bytes=dropped)
    if len(made) == 1:
        return made
    dot = "." if "#" in name else "#"
    return [replace(recording, name=f"{name}{dot}{number}") for number, recording in enumerate(made)]


def _part(whole: Recording, stretch: _Stretch, annotations: list[Annotation]) -> Recording:
    """One stretch of a recording."""
    segments = stretch.segments
    place = {"offset": segments[0][1]} if len(segments) == 1 else {"segments": segments}
    tuned = {} if stretch.frequency is None else {"center_frequency": "metadata"}
    return replace(
        whole,
        samples=stretch.stop - stretch.start,
        center_frequency=stretch.frequency,
        annotations=tuple(annotations),
        origin={**whole.origin, **tuned},
        layout={**whole.layout, **place},
    )


@dataclass(frozen=True)
class _Capture:
    start: int
    frequency: float | None
    header_bytes: int
    global_index: int | None


@dataclass(frozen=True)
class _Stretch:
    """Samples without a break at one frequency."""

    start: int
    stop: int
    frequency: float | None
    segments: list[JSON]


def _kind(head: Mapping[str, Any], where: str) -> SampleType:
    text = head.get("core:datatype")
    if not isinstance(text, str):
        raise InputError(f"{where}: core:datatype is {text!r}", "expected a SigMF type such as cf32_le")
    try:
        return sample_type(text)
    except InputError as error:
        raise InputError(f"{where}: core:datatype: {error.message}", error.hint) from None


def _captures(meta: Mapping[str, Any], where: str, base: int) -> list[_Capture]:
    made = []
    for item in _objects(meta, "captures", where):
        frequency = _number(item, "core:frequency", where, least=-1e15, most=1e15, default=math.nan)
        made.append(
            _Capture(
                int(_number(item, "core:sample_start", where, least=0, most=2**62, default=base)),
                None if math.isnan(frequency) else frequency,
                int(_number(item, "core:header_bytes", where, least=0, most=2**62, default=0)),
                int(_number(item, "core:global_index", where, least=0, most=2**62, default=-1)),
            )
        )
    made.sort(key=lambda capture: capture.start)
    if made and made[0].start < base:
        raise InputError(
            f"{where}: captures start at sample {made[0].start}, core:offset is {base}",
            "sample indices count from core:offset on; correct one of the two",
        )
    return [_Capture(c.start - base, c.frequency, c.header_bytes, c.global_index) for c in made]


def _stretches(captures: list[_Capture], samples: int, first: int, pitch: int, where: str) -> list[_Stretch]:
    """Captures in a row that differ in nothing but a header make one stretch."""
    if not captures or captures[0].start > 0:
        captures = [_Capture(0, captures[0].frequency if captures else None, 0, -1), *captures]
    made: list[_Stretch] = []
    passed, at_last, before = 0, 0, None
    for at, capture in enumerate(captures):
        passed += capture.header_bytes
        stop = captures[at + 1].start if at + 1 < len(captures) else samples
        stop = min(stop, samples)
        if stop <= capture.start:
            continue
        byte = first + capture.start * pitch + passed
        if before is not None and _continues(before, capture):
            last = made[-1]
            if passed != at_last:
                last.segments.append([capture.start - last.start, byte])
            made[-1] = replace(last, stop=stop)
        else:
            made.append(_Stretch(capture.start, stop, capture.frequency, [[0, byte]]))
        before, at_last = capture, passed
    if not made:
        raise InputError(f"{where}: no capture starts within the {samples} samples", "correct core:sample_start")
    return made


def _continues(before: _Capture, capture: _Capture) -> bool:
    if before.frequency != capture.frequency:
        return False
    if before.global_index in (None, -1) or capture.global_index in (None, -1):
        return True
    return (capture.global_index or 0) - (before.global_index or 0) == capture.start - before.start


def _annotations(meta: Mapping[str, Any], where: str, base: int, samples: int) -> tuple[list[Annotation], int]:
    """Annotations that reach into the samples, cut to them, and the number of the others."""
    made, outside = [], 0
    old = str(meta["global"].get("core:version", "")).startswith("0.")
    for item in _objects(meta, "annotations", where):
        start = int(_number(item, "core:sample_start", where, least=0, most=2**62, default=base)) - base
        count = int(_number(item, "core:sample_count", where, least=0, most=2**62, default=2**62))
        low, high = max(0, start), min(samples, start + count)
        if high <= low:
            outside += 1
            continue
        label = item.get("core:label", item.get("core:description") if old else None)
        lower, upper = (_edge(item, f"core:freq_{edge}_edge", where) for edge in ("lower", "upper"))
        made.append(
            Annotation(
                low,
                high - low,
                str(label) if label not in (None, "") else None,
                lower,
                upper,
                _fields(item),
            )
        )
    return made, outside


def _edge(item: Mapping[str, Any], key: str, where: str) -> float | None:
    value = _number(item, key, where, -1e15, 1e15, math.nan)
    return None if math.isnan(value) else value


def _inside(annotations: list[Annotation], stretches: list[_Stretch], where: str) -> list[list[Annotation]]:
    """The annotations of every stretch, counted from its first sample; those of several stretches are cut."""
    starts, ends = [stretch.start for stretch in stretches], [stretch.stop for stretch in stretches]
    spans = [(bisect_right(ends, n.start), bisect_left(starts, n.start + n.count)) for n in annotations]
    if sum(last - first for first, last in spans) > 2 * len(annotations) + _MORE_PIECES:
        raise InputError(
            f"{where}: {len(annotations)} annotations over {len(stretches)} frequencies make too many pieces",
            "split the recording",
        )
    made: list[list[Annotation]] = [[] for _ in stretches]
    for note, (first, last) in zip(annotations, spans, strict=True):
        for number in range(first, last):
            low, high = max(starts[number], note.start), min(ends[number], note.start + note.count)
            made[number].append(replace(note, start=low - starts[number], count=high - low))
    return made


def _fields(item: Mapping[str, Any]) -> dict[str, Value]:
    """Our own namespace, and the name of the collection."""
    made: dict[str, Value] = {}
    if isinstance(item.get("core:collection"), str):
        made["collection"] = item["core:collection"]
    for key, value in item.items():
        if key.startswith(_PREFIX) and len(key) > len(_PREFIX):
            if isinstance(value, str | bool):
                made[key.removeprefix(_PREFIX)] = str(value)
            elif isinstance(value, int | float) and abs(value) < 1e300:
                made[key.removeprefix(_PREFIX)] = float(value)
    return made


def _objects(meta: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = meta.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{where}: {key} is no list of objects", "expected SigMF metadata")
    return value


def _number(item: Mapping[str, Any], key: str, where: str, least: float, most: float, default: float) -> float:
    """A finite number within limits; the default where the key is missing or null."""
    value = item.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{where}: {key} is {str(value)[:40]}", f"expected a number from {least:g} to {most:g}")
    return float(value) if abs(value) < 2**53 else value
