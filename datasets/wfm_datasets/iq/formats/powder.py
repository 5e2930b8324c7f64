"""POWDER recordings for RF fingerprinting: `<stem>.bin` (cf32) beside `<stem>.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.datatypes import canonical, sample_type
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.sidecars import Sidecar, read_sidecar
from wfm_datasets.wavesfm.powder import NAME

_RATE, _CENTRE = ("core:sample_rate",), ("core:center_frequency", "core:frequency")


def recognise(path: Path, head: bytes) -> bool:
    """A .bin with SigMF-like JSON of the same stem."""
    if path.suffix.lower() != ".bin":
        return False
    side = path.with_suffix(".json")
    try:
        with side.open("rb") as stream:
            begin = stream.read(1 << 16)
    except OSError:
        return NAME.fullmatch(path.stem) is not None
    return b'"core:' in begin or b'"_metadata"' in begin


def belongs(path: Path) -> bool:
    """The JSON of a pair."""
    side = path.with_suffix(".bin")
    return path.suffix.lower() == ".json" and side.is_file() and recognise(side, b"")


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The pair; the class is the transmitter that the JSON names, else the one in the file name.

    Raises:
        InputError: the JSON is missing or damaged, or names a type that does not fit.
    """
    side = read_sidecar(path.with_suffix(".json"))
    said = side.general.get("core:datatype", "cf32")
    try:
        kind = sample_type(canonical(str(said)))
    except InputError:
        raise InputError(f"{side.path}: core:datatype is {said!r}", "expected cf32, ci16 ...") from None
    size = path.stat().st_size
    samples, dropped = divmod(size, kind.sample_bytes)
    if not samples:
        raise damaged(path, f"{size} bytes are no sample of {kind.name}")
    label, origin = _transmitter(side), {"datatype": side.path.name, "label": side.path.name}
    name = NAME.fullmatch(path.stem)
    fields: dict[str, Value] = {}
    if name:
        fields = {"standard": name[1], "day": float(name[2]), "take": float(name[4])}
        if label is None:
            label, origin["label"] = name[3].casefold(), "file name"
    values: dict[str, Any] = {"sample_rate": side.number(*_RATE), "center_frequency": side.number(*_CENTRE)}
    origin |= {key: side.path.name for key, value in values.items() if value is not None}
    missing = tuple(
        f"{side.path.name} says nothing of {key.replace('_', ' ')}" for key in values if values[key] is None
    )
    return [
        Recording(
            name=path.stem,
            path=path,
            format="POWDER pair",
            datatype=kind.name,
            samples=samples,
            label=label,
            fields=fields,
            origin=origin if label else {key: value for key, value in origin.items() if key != "label"},
            notes=tuple(f"{side.path.name} says nothing of the {what}" for what in missing),
            dropped_bytes=dropped,
            layout=stamp(path),
            **values,
        )
    ]


def _transmitter(side: Sidecar) -> str | None:
    value = side.annotation.get("transmitter")
    found = value.get("core:location") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None
