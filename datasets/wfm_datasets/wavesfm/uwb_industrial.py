"""UWB positioning in a hall (Fraunhofer): one line of JSON for each row of the published pandas table.

The published files are pickles of a pandas table. Nothing here unpickles them: rebuilding a table runs code that the
file chooses, and pandas is no dependency. The error for such a file says how to turn it into JSON lines once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.scan import Scan, number, position
from wfm_datasets.wavesfm.uwb_indoor import cir

COLUMNS = ("anch_id", "cir_real", "cir_imag", "ref_x", "ref_y", "rec_time", "burst_id")
LAYOUT = f"JSON lines (.jsonl) with the columns {', '.join(COLUMNS)}, one file for each of train and test"
REMEDY = (
    'if you trust its author, convert it once where pandas is installed: python -c "import pandas; '
    "pandas.read_pickle('IN.pkl').to_json('OUT.jsonl', orient='records', lines=True, double_precision=15)\""
)
LEAST_ANCHORS = 4
TIME_BLOCKS = 40
"""Blocks of equal numbers of consecutive bursts: neighbours on the track stay together."""


@dataclass
class _Burst:
    position_m: tuple[float, float]
    time: float
    lines: dict[str, int] = field(default_factory=dict)
    """Byte position of the line of every anchor."""
    length: int = 0


class IndustrialReader:
    """One sample for each burst that four anchors or more have heard."""

    def __init__(self, source: WavesFMSource) -> None:
        if source.normalise == "wavesfm":
            raise InputError("source.normalise: uwb-industrial is normalised by its own statistics", "use file")
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".jsonl", ".pkl", ".pickle", ".p"), LAYOUT)
        for raw in found:
            if raw.path.suffix != ".jsonl":
                raw.record()
                raise InputError(f"{raw.path}: a pickled table is not opened", REMEDY)
        sources = tuple(raw.record() for raw in found)
        bursts = [(index, number_, burst) for index, raw in enumerate(found)
                  for number_, burst in _bursts(raw.path).items() if len(burst.lines) >= LEAST_ANCHORS]  # fmt: skip
        if not bursts:
            raise InputError(f"{found[0].path}: no burst has {LEAST_ANCHORS} anchors", f"expected {LAYOUT}")
        bursts.sort(key=lambda entry: (entry[0], entry[2].time, entry[1]))
        anchors = sorted({name for _, _, burst in bursts for name in burst.lines}, key=files.natural)
        line = np.array([[burst.lines.get(name, -1) for name in anchors] for _, _, burst in bursts], np.int64)
        file = np.array([index for index, _, _ in bursts], np.int64)
        block = np.arange(len(bursts)) * TIME_BLOCKS // len(bursts)
        group = np.unique(file * TIME_BLOCKS + block, return_inverse=True)[1].astype(np.int64)
        test = np.array(["test" in raw.path.stem.lower() for raw in found])[file]
        place = np.array([(*burst.position_m, 0.0) for _, _, burst in bursts], np.float32)
        length = 1 << (max(burst.length for _, _, burst in bursts) - 1).bit_length()
        names = [raw.path.stem for raw in found]
        return Scan(
            kind="cir",
            array=cir(len(anchors), length, {"anchors": anchors}),
            columns=(
                (position("tag position in the hall; z is not given and 0"), place),
                (number("rec_time", "float64", "1", "recording time, in the file's own unit"),
                 np.array([burst.time for _, _, burst in bursts])),
                (number("burst", "int64", "1", "burst number"), np.array([n for _, n, _ in bursts], np.int64)),
                (number("file", "int16", "1", "file of the burst", names), file.astype(np.int16)),
            ),
            sources=sources,
            stratum=np.zeros(len(file), np.int64),
            groups={"time_block": group},
            held_out={"official": test} if test.any() and not test.all() else {},
            default="official",
            attrs={"missing": "an anchor that has not heard a burst is zero"},
            state={"file": files.names(found), "of": file, "line": line, "length": np.array([length])},
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        line = state["line"][start:stop]
        made = np.zeros((*line.shape, int(state["length"][0])), np.complex64)
        for index, name in enumerate(state["file"]):
            path = Path(str(name))
            mine = np.argwhere((state["of"][start:stop] == index)[:, None] & (line >= 0))
            with path.open("rb") as stream:
                for row, anchor in mine:
                    at = int(line[row, anchor])
                    stream.seek(at)
                    values = _response(path, at, _entry(path, at, stream.readline()))
                    made[row, anchor, : len(values)] = values
        return made


def _bursts(path: Path) -> dict[int, _Burst]:
    made: dict[int, _Burst] = {}
    for at, entry in _entries(path):
        values = _response(path, at, entry)
        try:
            burst_id, place = int(entry["burst_id"]), (float(entry["ref_x"]), float(entry["ref_y"]))
            time = float(entry["rec_time"])
        except (TypeError, ValueError) as error:
            raise damaged(path, f"line at byte {at}: {error}") from None
        files.refuse_unfinite(path, f"ref_x, ref_y or rec_time of burst {burst_id}", np.array([*place, time]))
        burst = made.setdefault(burst_id, _Burst(place, time))
        if burst.position_m != place:
            raise InputError(f"{path}: burst {burst_id} has two positions", "burst numbers must be unique in a file")
        burst.lines[str(entry["anch_id"])] = at
        burst.length = max(burst.length, len(values))
    return made


def _entries(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    at = 0
    with path.open("rb") as stream:
        for line in stream:
            if line.strip():
                yield at, _entry(path, at, line)
            at += len(line)


def _entry(path: Path, at: int, line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        lacking = [name for name in COLUMNS if name not in entry]
    except (ValueError, TypeError) as error:
        raise damaged(path, f"line at byte {at}: {error}") from None
    if lacking:
        raise InputError(f"{path}: the line at byte {at} lacks {', '.join(lacking)}", f"expected {LAYOUT}")
    return dict(entry)


def _response(path: Path, at: int, entry: Mapping[str, Any]) -> NDArray[np.complex64]:
    try:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused
            real, imag = (np.asarray(entry[key], np.float32) for key in ("cir_real", "cir_imag"))
    except (TypeError, ValueError) as error:
        raise damaged(path, f"line at byte {at}: {error}") from None
    if real.ndim != 1 or real.shape != imag.shape or not len(real):
        raise InputError(
            f"{path}: the line at byte {at} has cir_real {real.shape} and cir_imag {imag.shape}", f"expected {LAYOUT}"
        )
    values = np.empty(len(real), np.complex64)
    values.real, values.imag = real, imag
    files.refuse_unfinite(path, f"cir of the line at byte {at}", values)
    return values
