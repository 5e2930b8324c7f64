"""Headerless files of interleaved samples: type from the option, the name, or a guess that is told."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq import memory, sniff
from wfm_datasets.iq.containers import compression, foreign, is_text, only_member, pointer
from wfm_datasets.iq.datatypes import RTL_ZERO, canonical, sample_type
from wfm_datasets.iq.flat import fitting, stamp
from wfm_datasets.iq.names import NameFacts, facts
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions

SUFFIXES = frozenset((
    ".bin", ".iq", ".dat", ".cfile", ".raw", ".data", ".complex", ".complex16s", ".complex16u", ".complex32s",
    ".complex32u", ".fc32", ".cf32", ".fc64", ".cf64", ".c64", ".c128", ".cs8", ".ci8", ".sc8", ".cu8", ".cs16",
    ".ci16", ".sc16", ".cu16", ".cs32", ".ci32", ".sc32", ".32cf", ".16sc", ".8t", ".u8", ".s8", ".coco",
))  # fmt: skip
_PACKED = frozenset((".gz", ".bz2", ".xz"))
_SCANNER = bytes.fromhex("0ad7a37043f1f140"), bytes.fromhex("4c63c5ba025be9bf")
"""Two of the eight marks in the 128-byte header of LTE-Cell-Scanner's RTL-SDR captures."""
_REMEDY = "name it with --dtype (cs16, cu8, cf32 ...)"


@dataclass(frozen=True)
class Header:
    """A private header in front of the samples."""

    bytes: int
    name: str
    sample_rate: float | None = None
    center_frequency: float | None = None


def recognise(path: Path, head: bytes) -> bool:
    """Suffixes of raw samples, also before `.gz`, `.bz2` or `.xz`, unless the first bytes are those of another file."""
    if compression(head) is not None:
        return _bare(path) is not None
    return path.suffix.lower() in SUFFIXES and foreign(head) is None


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The one recording of a headerless file, or of Universal Radio Hacker's `.coco`: a compressed tar of one.

    Raises:
        InputError: a pointer, text, a type that cannot be guessed, no whole sample, or no I/Q at all.
    """
    with path.open("rb") as stream:
        head = stream.read(sniff.PROBE_BYTES)
    bare = _bare(path) if compression(head) is not None else None
    if bare is None:
        _refuse_other(path, head)
        return [_describe(path, head, path.stat().st_size, stamp(path), options, facts(path))]
    layout: dict[str, JSON] = {**stamp(path), "decoder": "stream"}
    told = facts(bare)
    if path.suffix.lower() == ".coco":
        layout["member"] = only_member(path)
        told = replace(told, datatype="cf32_le", writer="Universal Radio Hacker")
    packed = Recording(bare.stem, path, "raw", told.datatype or "cu8", 1, backend="memory", layout=layout)
    data = memory.decoded(packed)
    head = data[: sniff.PROBE_BYTES].tobytes()
    _refuse_other(path, head)
    made = _describe(path, head, data.size, layout, options, told)
    return [replace(made, name=bare.stem, format="raw, compressed")]


def _bare(path: Path) -> Path | None:
    """The name without its suffix of compression, if it is one of raw samples."""
    if path.suffix.lower() == ".coco":
        return path
    bare = path.with_suffix("")
    return bare if path.suffix.lower() in _PACKED and bare.suffix.lower() in SUFFIXES else None


def _refuse_other(path: Path, head: bytes) -> None:
    if where := pointer(head):
        raise InputError(f"{path}: {where}")
    if what := foreign(head):
        raise InputError(f"{path}: is a {what}, not raw samples", "rename it to its own suffix, or leave it out")
    if is_text(head):
        raise InputError(f"{path}: is text, not binary samples", "convert it to binary I/Q, for example SigMF")


def _describe(
    path: Path, head: bytes, total: int, layout: dict[str, JSON], options: ReadOptions, named: NameFacts
) -> Recording:
    """The recording in a run of `total` headerless bytes, of which `head` is the start."""
    header = _header(head, options)
    body = head[header.bytes :]
    datatype, how = _datatype(path, body, options, named)
    kind = sample_type(datatype)
    samples, dropped = fitting(max(0, total - header.bytes), kind)
    if samples == 0:
        raise InputError(f"{path}: {total} bytes hold no sample of {datatype}", _REMEDY)
    place, origin = _place(layout, header, datatype, options, named)
    notes = (
        f"{header.bytes} bytes before the samples: {header.name}" if header.bytes else None,
        None if how.startswith("guess") else sniff.disagreement(body, datatype),
        f"{dropped} bytes at the end make no whole sample" if dropped else None,
    )
    recording = Recording(
        name=path.stem,
        path=path,
        format="raw",
        datatype=datatype,
        samples=samples,
        sample_rate=header.sample_rate or named.sample_rate,
        center_frequency=header.center_frequency or named.center_frequency,
        origin={"datatype": how, **origin},
        notes=tuple(note for note in notes if note),
        dropped_bytes=dropped,
        backend="memory" if "decoder" in layout else "flat",
        layout=place,
    )
    return sniff.examine(recording, certain=False, read_as=f" (read as {datatype}: {how})")


def _place(
    layout: dict[str, JSON], header: Header, datatype: str, options: ReadOptions, named: NameFacts
) -> tuple[dict[str, JSON], dict[str, str]]:
    """Keys of the backend, and where they, rate and frequency come from."""
    made, origin = dict(layout), {}
    if header.bytes:
        made["offset"] = header.bytes
    if options.order == "qi" or (options.order == "auto" and named.q_first):
        made["order"] = "qi"
        origin["order"] = "--order" if options.order == "qi" else f"file name ({named.writer})"
    if datatype == "cu8":
        made["zero"] = RTL_ZERO
        origin["zero"] = f"{RTL_ZERO}, as RTL-SDR receivers write"
    for field, value in (("sample_rate", header.sample_rate), ("center_frequency", header.center_frequency)):
        if value is not None:
            origin[field] = header.name
        elif getattr(named, field) is not None:
            origin[field] = "file name"
    return made, origin


def _datatype(path: Path, body: bytes, options: ReadOptions, named: NameFacts) -> tuple[str, str]:
    """Type of the samples and where it comes from."""
    if options.dtype is not None:
        return canonical(options.dtype), "--dtype"
    if named.datatype is not None:
        return named.datatype, named.writer or "file name"
    made = sniff.guess(body)
    if made is None:
        raise InputError(f"{path}: too short to guess the sample type ({len(body)} bytes)", _REMEDY)
    if made.margin < sniff.MIN_MARGIN:
        raise InputError(
            f"{path}: sample type not certain: {made.datatype} or {made.second} (margin {made.margin:.2f})", _REMEDY
        )
    return made.datatype, f"guess, margin {made.margin:.2f} over {made.second}"


def _header(head: bytes, options: ReadOptions) -> Header:
    if options.skip_bytes is not None:
        return Header(options.skip_bytes, "--skip-bytes")
    if head[:8] == _SCANNER[0] and head[16:24] == _SCANNER[1]:
        frequency, rate = struct.unpack_from("<Q", head, 8)[0], struct.unpack_from("<Q", head, 40)[0]
        return Header(128, "header of LTE-Cell-Scanner", float(rate) or None, float(frequency) or None)
    return Header(0, "")
