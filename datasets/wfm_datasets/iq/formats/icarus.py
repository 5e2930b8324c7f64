"""ICARUS recordings of LTE with and without interference: IQ/<stem>[.bin] and Metadata/<stem>.csv."""

from __future__ import annotations

import re
from pathlib import Path

from wfm_cli.errors import InputError
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.wavesfm.icarus import positive, read_row, spreading

_TYPES = {8: "cf32_le", 4: "ci16_le", 2: "ci8"}
_TOLERANCE = 0.02
"""Largest difference of size and metadata, as a share: durations are rounded."""


def recognise(path: Path, head: bytes) -> bool:
    """A file in a folder IQ with a folder Metadata beside it."""
    return path.parent.name == "IQ" and path.suffix in ("", ".bin") and (path.parent.parent / "Metadata").is_dir()


def belongs(path: Path) -> bool:
    """The CSV of a recording."""
    folder = path.parent.parent / "IQ"
    if path.parent.name != "Metadata" or path.suffix != ".csv":
        return False
    return any((folder / name).is_file() for name in (path.stem, f"{path.stem}.bin"))


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The pair; the type is the one whose size is nearest to what the CSV says.

    Raises:
        InputError: the CSV is missing or damaged, or no type fits.
    """
    folder = path.parent.parent / "Metadata"
    names = [folder / f"{stem}.csv" for stem in (path.name, path.stem)]
    side = next((name for name in names if name.is_file()), names[-1])
    row = read_row(side)
    rate = positive(side, row, "Sampling_Rate")
    told = bool(row.get("No_of_Samples"))
    count = positive(side, row, "No_of_Samples") if told else rate * positive(side, row, "Frameduration")
    size = path.stat().st_size
    unit = min(_TYPES, key=lambda unit: abs(size / unit - count))
    if abs(size / unit - count) > _TOLERANCE * count:
        raise InputError(
            f"{path}: {size} bytes for {count:.0f} complex samples are neither f32, i16 nor i8",
            f"copy the file again, or correct {side.name}",
        )
    level, band = spreading(side, row), re.search(r"(\d+)MHz", path.parent.parent.name)
    fields: dict[str, Value] = {
        "interference": "yes" if level else "no",
        "signal_type": row["Signal_Type"],
        **({"dsss_factor": float(2**level)} if level else {}),
        **({"band_mhz": float(band[1])} if band else {}),
    }
    samples, dropped = divmod(size, unit)
    note = f"{_TYPES[unit]} by its size: {size} bytes for {count:.0f} samples"
    return [
        Recording(
            name=path.stem,
            path=path,
            format="ICARUS pair",
            datatype=_TYPES[unit],
            samples=samples,
            sample_rate=rate,
            label=f"LTE + DSSS {2**level}" if level else "LTE",
            fields=fields,
            origin={"datatype": "file size", "label": side.name, "sample_rate": side.name},
            notes=(note,),
            dropped_bytes=dropped,
            layout=stamp(path),
        )
    ]
