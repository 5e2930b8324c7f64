"""Damage for files, and a watch over what a reader does with them: what it opens, allocates and raises."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import canonical
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, Scan, scan

MEMORY = 48 << 20
"""Bytes that reading a tiny file may take at most; windows of `WINDOW` samples are asked for."""
SECONDS = 5.0
WINDOW = 64
_MOST = 12
"""Recordings of one file that are read."""
HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
WEIRD: tuple[Any, ...] = (
    None, True, "", "x" * 300, "../outside.bin", "/etc/hosts", "a\0b", "nan", -1, 0, 1, 3, 0.5, 2**31, 2**63, 2**64,
    -(2**63), 10**30, 1e308, -1e308, math.nan, math.inf, -math.inf, [], {}, [[]], [None], {"": None},
)  # fmt: skip


class Opened(AssertionError):
    """A file outside the folder was opened."""


@dataclass
class _Ear:
    """Hears of every file that Python opens while it is switched on; audit hooks cannot be removed."""

    on: bool = False
    folder: str = ""
    outside: list[str] = field(default_factory=list)
    installed: bool = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.system", "subprocess.Popen", "os.exec", "socket.connect"):
            return
        if event != "open":
            self.outside.append(f"{event} {arguments!r}")
            return
        path = arguments[0]
        if isinstance(path, int) or path is None:
            return
        text = os.path.abspath(os.fsdecode(path))
        modules = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/proc/", "/dev/null")
        inside = os.path.realpath(text).startswith(f"{self.folder}/") or os.path.realpath(text) == self.folder
        if not inside and not text.startswith(modules):
            self.outside.append(text)


_EAR = _Ear()


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Everything inside stays in `folder`, in memory and in time.

    Raises:
        Opened: A file elsewhere was opened, or a program started.
        AssertionError: It took more than `MEMORY` bytes or `SECONDS` of computing.
    """
    if not _EAR.installed:
        sys.addaudithook(_EAR)
        _EAR.installed = True
    _EAR.folder, _EAR.outside = str(folder.resolve()), []
    tracemalloc.start()
    began = time.process_time()
    _EAR.on = True
    try:
        yield
    finally:
        _EAR.on = False
        spent = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if _EAR.outside:
        raise Opened(", ".join(_EAR.outside[:5]))
    assert peak < MEMORY, f"{peak / 2**20:.0f} MiB allocated"
    assert spent < SECONDS, f"{spent:.1f} s"


@contextmanager
def limited_memory(room: int = 3 << 30) -> Iterator[None]:
    """At most `room` bytes more than now, also for libraries in C; more fails at once and fills no machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def explore(folder: Path, options: ReadOptions | None = None, inputs: tuple[str, ...] = ()) -> Scan | InputError:
    """Scan a folder (or `inputs` in it) and read windows of what is found; only `InputError` is an answer otherwise.

    Raises:
        AssertionError: A recording contradicts itself, or see `watched`.
        Exception: whatever else a reader lets through.
    """
    with watched(folder):
        try:
            found = scan(inputs or [str(folder)], options or ReadOptions())
        except InputError as error:
            check_message(error)
            return error
        for outcome in found.outcomes:
            assert "more memory than" not in outcome.reason, outcome
            assert "\n" not in outcome.reason
            assert outcome.status == "used" or outcome.reason
        for recording in found.recordings[:_MOST]:
            check_recording(recording)
            try:
                read_some(recording)
            except InputError as error:
                check_message(error)
    return found


def check_message(error: InputError) -> None:
    """One line."""
    assert error.message
    assert "\n" not in error.message


def check_recording(recording: Recording) -> None:
    """What is said of a recording fits together."""
    assert recording.samples >= 1
    assert recording.channels >= 1
    assert recording.examples >= 1
    assert canonical(recording.datatype) == recording.datatype
    assert recording.sample_rate is None or 0 < recording.sample_rate < math.inf, recording.sample_rate
    assert recording.center_frequency is None or math.isfinite(recording.center_frequency)
    assert recording.label is None or isinstance(recording.label, str)
    for note in recording.annotations:
        assert note.start >= 0
        assert note.count >= 0
        assert note.start + note.count <= recording.samples
        assert note.label is None or isinstance(note.label, str)
        assert all(edge is None or math.isfinite(edge) for edge in (note.low_hz, note.high_hz))
        assert all(isinstance(value, str | int | float) for value in note.fields.values())
    assert all(isinstance(value, str | int | float) for value in recording.fields.values())
    for name, values in recording.columns.items():
        assert values.shape == (recording.examples,), name
        assert values.dtype.kind in "UTiufb", (name, values.dtype)
    json.dumps(recording.key)


def read_some(recording: Recording) -> None:
    """Windows from the start, the middle and the end, as another process would read them."""
    read = open_windows(from_key(json.loads(json.dumps(recording.key))))
    length = min(WINDOW, recording.samples)
    last, middle = recording.examples - 1, recording.examples // 2
    examples = np.array([0, middle, last, last], np.int64)
    starts = np.array([0, (recording.samples - length) // 2, 0, recording.samples - length], np.int64)
    made = read(examples, starts, length)
    assert made.shape == (4, recording.channels, length)
    assert made.dtype == np.complex64
    assert np.isfinite(made).all()


def _place() -> st.SearchStrategy[int]:
    """Mostly near the start, where headers are, or near the end, where directories are."""
    return st.one_of(st.integers(0, 300), st.integers(-300, -1), st.integers(0, 1 << 16))


Mutation = tuple[Any, ...]


def mutations() -> st.SearchStrategy[list[Mutation]]:
    """One to four ways to damage bytes, for `damage`."""
    one = st.one_of(
        st.tuples(st.just("cut"), _place()),
        st.tuples(st.just("flip"), _place(), st.integers(0, 7)),
        st.tuples(st.just("number"), _place(), st.sampled_from(HUGE), st.sampled_from((1, 2, 4, 8)), st.booleans()),
        st.tuples(st.just("insert"), _place(), st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("delete"), _place(), st.integers(1, 64)),
        st.tuples(st.just("repeat"), _place(), st.integers(1, 64)),
        st.tuples(st.just("digits"), st.integers(0, 1 << 16), st.sampled_from((*HUGE, -1, 10**30))),
    )
    return st.lists(one, min_size=1, max_size=4)


def damage(content: bytes, mutation: Mutation) -> bytes:
    """Bytes with one mutation."""
    kind, size = mutation[0], max(len(content), 1)
    at = mutation[1] % size
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ (1 << mutation[2])]) + content[at + 1 :] if content else b""
    if kind == "number":
        _, _, value, width, big = mutation
        packed = (value % (1 << 8 * width)).to_bytes(width, "big" if big else "little")
        return content[:at] + packed + content[at + width :]
    if kind == "insert":
        return content[:at] + mutation[2] + content[at:]
    if kind == "delete":
        return content[:at] + content[at + mutation[2] :]
    if kind == "repeat":
        return content[: at + mutation[2]] + content[at:]
    return _digits(content, mutation[1], mutation[2])


def _digits(content: bytes, which: int, value: int) -> bytes:
    """One of the decimal numbers in the first 64 KiB replaced."""
    import re

    found = list(re.finditer(rb"\d+", content[: 1 << 16]))
    if not found:
        return content
    match = found[which % len(found)]
    return content[: match.start()] + str(value).encode() + content[match.end() :]


def damaged_json(text: str, which: int, value: Any, remove: bool) -> str:
    """A JSON document with one of its values replaced or removed."""
    document = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(document)
    if not places:
        return json.dumps(value)
    node, key = places[which % len(places)]
    if remove:
        del node[key]
    else:
        node[key] = value
    return json.dumps(document)
