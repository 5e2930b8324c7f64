"""UWB positioning indoors: one nested `data.json` for each environment (10.5281/zenodo.7629141).

The files have gigabytes. One pass finds where each location's measurements begin; only one location is ever parsed at a
time.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.core.store.schema import ArraySpec
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.scan import Scan, number, position

LAYOUT = 'environmentX/data.json: "measurements" {"x_y_z": {"A1": {"1": [{"cir": [...], ...}, ...]}}}'
_NUMBER = rb"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_LOCATION = re.compile(rb'"(' + rb"_".join([_NUMBER] * 3) + rb')"\s*:\s*(?=\{)')
_Measurements = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class _Location:
    file: int
    start: int
    stop: int
    position_m: tuple[float, float, float]
    anchors: frozenset[str]
    copies: Mapping[int, int]
    """Measurements of every channel: the most that an anchor has."""
    length: int


class IndoorReader:
    """One sample for each location, UWB channel and repetition: the impulse responses of all anchors."""

    def __init__(self, source: WavesFMSource) -> None:
        if source.normalise == "wavesfm":
            raise InputError("source.normalise: uwb-indoor is normalised by its own statistics", "use file")
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".json",), LAYOUT)
        sources = tuple(raw.record() for raw in found)
        places = [place for index, raw in enumerate(found) for place in _locations(index, raw.path)]
        anchors = sorted({name for place in places for name in place.anchors}, key=files.natural)
        length = 1 << (max(place.length for place in places) - 1).bit_length()
        rows = [(p, channel, copy) for p, place in enumerate(places)
                for channel, copies in sorted(place.copies.items()) for copy in range(copies)]  # fmt: skip
        table = np.array(rows, np.int64).reshape(-1, 3)
        where = table[:, 0]
        environment = np.array([place.file for place in places], np.int64)[where]
        names = [raw.path.parent.name for raw in found]
        group = np.unique([(p.file, *p.position_m) for p in places], axis=0, return_inverse=True)[1].ravel()[where]
        last = environment == environment.max()
        return Scan(
            kind="cir",
            array=cir(len(anchors), length, {"anchors": anchors}),
            columns=(
                (position("tag position in its environment"), np.array([p.position_m for p in places], "f4")[where]),
                (number("environment", "int16", "1", "room", names), environment.astype(np.int16)),
                (number("uwb_channel", "int16", "1", "UWB channel number"), table[:, 1].astype(np.int16)),
                (number("place", "int32", "1", "number of the location"), group.astype(np.int32)),
            ),
            sources=sources,
            stratum=environment,
            groups={"location": group.astype(np.int64)},
            held_out={"environment": last} if len(found) > 1 else {},
            attrs={"missing": "an anchor without a measurement is zero"},
            state={
                "file": files.names(found), "anchor": np.array(anchors), "row": table, "length": np.array([length]),
                "span": np.array([(p.file, p.start, p.stop) for p in places], np.int64),
            },
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        anchors, length = [str(name) for name in state["anchor"]], int(state["length"][0])
        made = np.zeros((stop - start, len(anchors), length), np.complex64)
        table = state["row"][start:stop]
        for place in np.unique(table[:, 0]):
            file, first, last = state["span"][place]
            path = Path(str(state["file"][file]))
            measured = _parse(path, int(first), int(last))
            for row in np.flatnonzero(table[:, 0] == place):
                channel, copy = str(table[row, 1]), int(table[row, 2])
                for column, name in enumerate(anchors):
                    repeats = measured.get(name, {}).get(channel, [])
                    if copy < len(repeats):
                        values = _response(path, repeats[copy])
                        made[row, column, : len(values)] = values
        return made


def cir(anchors: int, length: int, attrs: Mapping[str, Any]) -> ArraySpec:
    """Impulse responses."""
    more = {"normalise": "file", "padding": "zeros up to a power of two", **attrs}
    words = "channel impulse response of the tag at every anchor"
    return ArraySpec("cir", "complex64", (anchors, length), ("sample", "anchor", "delay"), "1", words, more)


def _locations(index: int, path: Path) -> Iterator[_Location]:
    spans = list(_spans(path))
    if not spans:
        raise InputError(f'{path}: has no location "x_y_z" with measurements', f"expected {LAYOUT}")
    for start, stop, name in spans:
        measured = _parse(path, start, stop)
        copies: dict[int, int] = {}
        lengths = []
        for channels in measured.values():
            for channel, repeats in channels.items():
                copies[int(channel)] = max(copies.get(int(channel), 0), len(repeats))
                lengths += [len(_taps(path, entry)) for entry in repeats]
        if lengths:
            x, y, z = (float(value) for value in name.split("_"))
            yield _Location(index, start, stop, (x, y, z), frozenset(measured), copies, max(lengths))


def _spans(path: Path) -> Iterator[tuple[int, int, str]]:
    """Where the object of every location begins, and where it has ended at the latest."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            begun = [(match.end(), match.start(), match[1].decode()) for match in _LOCATION.finditer(data)]
            ends = [before for _, before, _ in begun[1:]] + [len(data)]
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None
    for (start, _, name), stop in zip(begun, ends, strict=False):
        yield start, stop, name


def _parse(path: Path, start: int, stop: int) -> _Measurements:
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            text = stream.read(stop - start).decode()
        found, _ = json.JSONDecoder().raw_decode(text)
        for channels in found.values():
            for channel, repeats in channels.items():
                if not (isinstance(repeats, list) and int(channel) > 0):
                    raise TypeError(f"channel {channel} holds no list")
    except (ValueError, AttributeError, TypeError, OSError, RecursionError) as error:
        raise damaged(path, f"location at byte {start}: {error}") from None
    return dict(found)


def _taps(path: Path, entry: Any) -> list[Any]:
    taps = entry.get("cir") if isinstance(entry, dict) else None
    if not isinstance(taps, list) or not taps:
        raise damaged(path, "a measurement without a list of taps cir")
    return taps


def _response(path: Path, entry: Any) -> NDArray[np.complex64]:
    taps = _taps(path, entry)
    try:
        values = np.array([complex(tap) for tap in taps]).astype(np.complex64)
    except (TypeError, ValueError) as error:
        raise damaged(path, f"cir: {error}") from None
    files.refuse_unfinite(path, "cir", values)
    return values
