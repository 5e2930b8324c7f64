"""Interference detection: ICARUS recordings with one CSV of metadata each (10.1109/INFOCOM53939.2023.10228929)."""

from __future__ import annotations

import csv
import math
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
from wfm_datasets.wavesfm import files
from wfm_datasets.wavesfm.scan import Scan, iq, label, number, scale_iq

LAYOUT = "Batch1_{5,10}MHz/{Metadata/*.csv, IQ/*.bin}, a CSV and a .bin of the same stem for every recording"
LENGTH = 4096
STD = (0.00275, 0.00260)
FULL_SCALE = {"<f4": 1.0, "<i2": 32768.0, "i1": 128.0}


@dataclass(frozen=True)
class _Recording:
    raw: files.RawFile
    dtype: str
    samples: int
    rate_hz: float
    band_mhz: int
    level: int
    """0: LTE alone; k: direct-sequence spread spectrum of 2^k chips beside it."""


class IcarusReader:
    """The middle 4,096 samples of every recording."""

    def __init__(self, source: WavesFMSource) -> None:
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        found = files.find(self.source.paths, (".bin",), LAYOUT)
        sources = tuple(raw.record() for raw in found)
        made = [_look(raw) for raw in found]
        level = np.array([r.level for r in made], np.int64)
        band = np.array([r.band_mhz for r in made], np.int64)
        classes = ["LTE", *(f"LTE + DSSS {2**k}" for k in range(1, int(level.max()) + 1))]
        group, _ = files.number_of([record["sha256"] for record in sources])
        attrs = {"normalise": self.source.normalise, "wavesfm_std": list(STD), "integers": "divided by full scale"}
        return Scan(
            kind="iq",
            array=iq(1, LENGTH, "1", "middle of the recording", attrs),
            columns=(
                (label("interference", ["no", "yes"], "spread spectrum beside LTE"), (level > 0).astype(np.int16)),
                (label("spreading", classes, "interference and its spreading factor"), level.astype(np.int16)),
                (number("band_mhz", "int16", "MHz", "LTE bandwidth, from the folder"), band.astype(np.int16)),
                (number("sample_rate_hz", "float64", "Hz", "sampling rate"), np.array([r.rate_hz for r in made])),
                (number("recording", "int32", "1", "recording; equal files are one"), group.astype(np.int32)),
            ),
            sources=sources,
            stratum=level * (int(band.max()) + 1) + band,
            groups={"recording": group},
            attrs={"groups": "one sample for each recording; byte-identical files are one recording"},
            state={
                "file": files.names(found),
                "dtype": np.array([r.dtype for r in made]),
                "samples": np.array([r.samples for r in made], np.int64),
            },
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        made = np.empty((stop - start, 1, LENGTH), np.complex64)
        for row in range(start, stop):
            path, code = Path(str(state["file"][row])), str(state["dtype"][row])
            at = (int(state["samples"][row]) - LENGTH) // 2
            made[row - start, 0] = _middle(path, code, at)
        return scale_iq(made, STD, self.source)


def _middle(path: Path, code: str, at: int) -> NDArray[np.complex64]:
    try:
        values = np.fromfile(path, code, 2 * LENGTH, offset=2 * at * np.dtype(code).itemsize)
    except OSError as error:
        raise damaged(path, error) from None
    if len(values) < 2 * LENGTH:
        raise damaged(path, f"{len(values) // 2} of {LENGTH} samples from {at}")
    files.refuse_unfinite(path, f"samples {at} to {at + LENGTH - 1}", values)
    return (values.astype(np.float32) / np.float32(FULL_SCALE[code])).view(np.complex64)


def _look(raw: files.RawFile) -> _Recording:
    path = raw.path
    side = path.parent.parent / "Metadata" / f"{path.stem}.csv"
    row = read_row(side)
    band = re.search(r"(\d+)MHz", path.parent.parent.name)
    if band is None:
        raise InputError(f"{path}: lies in no folder Batch1_{{5,10}}MHz", f"expected {LAYOUT}")
    rate = positive(side, row, "Sampling_Rate")
    count = (
        positive(side, row, "No_of_Samples")
        if row.get("No_of_Samples")
        else rate * positive(side, row, "Frameduration")
    )
    samples, size = round(count), path.stat().st_size
    code = {8: "<f4", 4: "<i2", 2: "i1"}.get(size // samples if samples and size % samples == 0 else 0)
    if code is None:
        raise InputError(
            f"{path}: {size} bytes for {samples} complex samples are neither f32, i16 nor i8",
            f"copy the file again, or correct {side.name}",
        )
    if samples < LENGTH:
        raise InputError(f"{path}: {samples} samples are fewer than the {LENGTH} that are cut", "leave this file out")
    return _Recording(raw, code, samples, rate, int(band[1]), spreading(side, row))


def read_row(path: Path) -> dict[str, str]:
    """The one row of metadata.

    Raises:
        InputError: missing, damaged, or other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing", f"expected {LAYOUT}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, error) from None
    if len(rows) != 1 or "Signal_Type" not in rows[0]:
        held = ", ".join(map(str, rows[0])) if rows else "nothing"
        raise InputError(f"{path}: {len(rows)} rows with columns {held}", "expected one row with Signal_Type ...")
    return {str(key): str(value or "").strip() for key, value in rows[0].items()}


def positive(path: Path, row: Mapping[str, str], key: str) -> float:
    """A positive number of the row.

    Raises:
        InputError: it is missing or something else.
    """
    try:
        value = float(row[key])
    except (KeyError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{path}: {key} is '{row.get(key, 'missing')}'", "a positive number is needed")
    return value


def spreading(path: Path, row: Mapping[str, str]) -> int:
    """0 for LTE alone, k where a spread spectrum of 2^k chips lies beside it.

    Raises:
        InputError: a factor that is no power of two.
    """
    if row["Signal_Type"].upper() == "LTE":
        return 0
    factor = positive(path, row, "DSSS_Mod")
    level = math.log2(factor)
    if level != round(level) or level < 1:
        raise InputError(f"{path}: DSSS_Mod is {factor:g}, no power of two", f"expected {LAYOUT}")
    return round(level)
