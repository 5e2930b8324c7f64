"""ORACLE, the KRI set of 16 transmitters: SigMF nested under `_metadata`, whose declared type may be wrong."""

from __future__ import annotations

import re
from pathlib import Path

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording, Value
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.sidecars import read_sidecar

_NAME = re.compile(r"WiFi_air_X310_([0-9A-Za-z]+)_(\d+)ft_run(\d+)")
_BYTES = {8: "cf32_le", 16: "cf64_le", 4: "ci16_le"}


def recognise(path: Path, head: bytes) -> bool:
    """A .sigmf-meta with everything under `_metadata`."""
    return path.suffix == ".sigmf-meta" and b'"_metadata"' in head


def belongs(path: Path) -> bool:
    """The data of such a pair."""
    if path.suffix != ".sigmf-data":
        return False
    try:
        with path.with_suffix(".sigmf-meta").open("rb") as stream:
            return recognise(path.with_suffix(".sigmf-meta"), stream.read(8192))
    except OSError:
        return False


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The pair; bytes by `core:sample_count` decide between cf32 and cf64, whatever the metadata declare.

    Raises:
        InputError: the data are missing, or no type fits their size.
    """
    side, data = read_sidecar(path), path.with_suffix(".sigmf-data")
    if not data.is_file():
        raise InputError(f"{data}: is missing", "copy the pair together")
    size, count = data.stat().st_size, side.number("core:sample_count")
    said = str(side.general.get("core:datatype", "nothing"))
    if size < 1024 and data.read_bytes().startswith(b"version https://git-lfs"):
        raise InputError(f"{data}: a Git LFS pointer lies in place of the data", "fetch the real file (git lfs pull)")
    if count is None or not count.is_integer():
        raise InputError(f"{path}: says no core:sample_count, so that cf32 and cf64 cannot be told apart", "add it")
    kind = _BYTES.get(size // int(count) if size % int(count) == 0 else 0)
    if kind is None:
        raise damaged(data, f"{size} bytes for core:sample_count {int(count)} are neither cf32 nor cf64")
    differs = said.removesuffix("_le") != kind.removesuffix("_le")
    note = f"declared {said}, but {size} bytes for {int(count)} samples are {kind}"
    name = _NAME.fullmatch(path.stem)
    fields: dict[str, Value] = {}
    if name:
        fields = {"serial": name[1], "distance_ft": float(name[2]), "run": float(name[3])}
    rate, centre = side.number("core:sample_rate"), side.number("core:frequency", "core:center_frequency")
    return [
        Recording(
            name=path.stem,
            path=data,
            format="ORACLE pair",
            datatype=kind,
            samples=size // (size // int(count)),
            sample_rate=rate,
            center_frequency=centre,
            label=name[1] if name else None,
            fields=fields,
            origin={"datatype": "bytes / core:sample_count"} | ({"label": "serial number in the name"} if name else {}),
            notes=(note,) if differs else (),
            layout=stamp(data),
        )
    ]
