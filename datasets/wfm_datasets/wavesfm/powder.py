"""RF fingerprinting: POWDER recordings, `.bin` and SigMF-like `.json` (GLOBECOM 2020, hdl 2047/D20385049)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.sidecars import read_sidecar
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.scan import Scan, iq, label, number

DEVICES = ["bes", "browning", "honors", "meb"]
STANDARDS = ["4G", "5G", "Wifi"]
LAYOUT = "{4G,5G,Wifi}_Day_{1,2}_{bes,browning,honors,meb}_s{1..5}.bin (complex64), each with a .json of the same stem"
LENGTH = 512
NAME = re.compile(rf"({'|'.join(STANDARDS)})_Day_(\d+)_({'|'.join(DEVICES)})_s(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class _Recording:
    raw: files.RawFile
    standard: int
    day: int
    device: int
    chunks: int
    rate_hz: float
    centre_hz: float


class PowderReader:
    """Consecutive cuts of 512 samples of every recording."""

    def __init__(self, source: WavesFMSource) -> None:
        if source.normalise == "wavesfm":
            raise InputError("source.normalise: the published constants of rfp are not known", "use file")
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".bin",), LAYOUT)
        recordings = [_look(raw) for raw in found]
        sources = tuple(raw.record() for raw in found)
        counts = [recording.chunks for recording in recordings]
        file = np.repeat(np.arange(len(found)), counts).astype(np.int64)
        first = np.concatenate([[0], np.cumsum(counts)])
        start = ((np.arange(len(file)) - first[file]) * LENGTH).astype(np.int64)

        def of(values: list[Any], dtype: str) -> NDArray[Any]:
            return np.array(values, dtype)[file]

        device, standard = of([r.device for r in recordings], "i8"), of([r.standard for r in recordings], "i8")
        day = of([r.day for r in recordings], "i4")
        stems = [raw.path.stem for raw in found]
        return Scan(
            kind="iq",
            array=iq(1, LENGTH, "1", "cut of a recording", {"normalise": "file"}),
            columns=(
                (label("transmitter", DEVICES, "transmitting base station"), device.astype(np.int16)),
                (number("standard", "int8", "1", "waveform", STANDARDS), standard.astype(np.int8)),
                (number("day", "int32", "1", "day of the recording"), day),
                (number("recording", "int32", "1", "file that the cut is from", stems), file.astype(np.int32)),
                (number("start", "int64", "1", "first sample of the cut in its file"), start),
                (number("sample_rate_hz", "float64", "Hz", "sampling rate"), of([r.rate_hz for r in recordings], "f8")),
                (number("centre_hz", "float64", "Hz", "centre frequency"), of([r.centre_hz for r in recordings], "f8")),
            ),
            sources=sources,
            stratum=device * len(STANDARDS) + standard,
            groups={"recording": file},
            held_out={"day": day == day.max()} if len(np.unique(day)) > 1 else {},
            default="day",
            attrs={"groups": "day: the last day is the test set; recording: whole files, days mixed"},
            state={"file": files.names(found), "first": first},
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        made = []
        for file, low, high in files.overlaps(state["first"], start, stop):
            values = _samples(Path(str(state["file"][file])), low * LENGTH, (high - low) * LENGTH)
            made.append(values.reshape(-1, 1, LENGTH))
        return np.concatenate(made)


def _samples(path: Path, at: int, count: int) -> NDArray[np.complex64]:
    try:
        values = np.fromfile(path, "<c8", count, offset=at * 8)
    except OSError as error:
        raise damaged(path, error) from None
    if len(values) < count:
        raise damaged(path, f"{len(values)} of {count} samples from {at}")
    files.refuse_unfinite(path, f"samples {at} to {at + count - 1}", values)
    return values


def _look(raw: files.RawFile) -> _Recording:
    path = raw.path
    name = NAME.fullmatch(path.stem)
    if name is None:
        raise InputError(f"{path}: its name says no standard, day and transmitter", f"expected {LAYOUT}")
    size = path.stat().st_size
    raw.record() if size < 1024 else None  # a pointer is told before its odd size
    if size % 8 or size < 8 * LENGTH:
        raise damaged(path, f"{size} bytes are no whole number of complex64 samples, at least {LENGTH}")
    side = read_sidecar(path.with_suffix(".json"))
    meta = {**side.general, **side.capture}
    kind = str(meta.get("core:datatype", "cf32"))
    if kind.removesuffix("_le") != "cf32":
        raise InputError(f"{side.path}: core:datatype is {kind}, expected cf32", f"expected {LAYOUT}")
    standard = [word.casefold() for word in STANDARDS].index(name[1].casefold())
    return _Recording(
        raw, standard, int(name[2]), DEVICES.index(name[3].casefold()), size // 8 // LENGTH,
        _positive(side.path, meta, "core:sample_rate"), _positive(side.path, meta, "core:center_frequency"),
    )  # fmt: skip


def _positive(path: Path, meta: Mapping[str, Any], key: str) -> float:
    try:
        value = float(meta[key])
    except (KeyError, TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"{path}: {key} is {meta.get(key, 'missing')}", "a positive number in Hz is needed")
    return value
