"""Headerless files of interleaved samples: type from the option, the name, or a guess that is told."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq import sniff
from wfm_datasets.iq.containers import compression, foreign, is_text, pointer
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
    """Suffixes of raw samples, unless the first bytes are those of another kind of file."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    return foreign(head) is None or compression(head) is not None


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The one recording of a headerless file.

    Raises:
        InputError: a pointer, text, a type that cannot be guessed, no whole sample, or no I/Q at all.
    """
    with path.open("rb") as stream:
        head = stream.read(sniff.PROBE_BYTES)
    _refuse_other(path, head)
    return [describe(path, head, stamp(path), options, facts(path))]


def _refuse_other(path: Path, head: bytes) -> None:
    if where := pointer(head):
        raise InputError(f"{path}: {where}")
    if what := foreign(head):
        raise InputError(f"{path}: is a {what}, not raw samples", "rename it to its own suffix, or leave it out")
    if is_text(head):
        raise InputError(f"{path}: is text, not binary samples", "convert it to binary I/Q, for example SigMF")


def describe(
    path: Path,
    head: bytes,
    layout: dict[str, JSON],
    options: ReadOptions,
    named: NameFacts,
    *,
    size: int | None = None,
    name: str | None = None,
) -> Recording:
    """The recording in a run of headerless samples, of which `head` is the start.

    Args:
        path: File, for messages and the recording.
        head: First bytes of the samples, at most `sniff.PROBE_BYTES`.
        layout: Keys of the backend; offset, order and zero are added.
        options: What the user says; wins.
        named: What the name says.
        size: Bytes in all, if not those of the file.
        name: Name of the recording, if not the file's.

    Raises:
        InputError: see `recordings`.
    """
    total = path.stat().st_size if size is None else size
    header = _header(head, options)
    body = head[header.bytes :]
    datatype, how = _datatype(path, body, options, named)
    kind = sample_type(datatype)
    samples, dropped = fitting(max(0, total - header.bytes), kind)
    if samples == 0:
        raise InputError(f"{path}: {total} bytes hold no sample of {datatype}", _REMEDY)
    q_first = options.order == "qi" or (options.order == "auto" and named.q_first)
    if header.bytes:
        layout = {**layout, "offset": header.bytes}
    if q_first:
        layout = {**layout, "order": "qi"}
    if datatype == "cu8":
        layout = {**layout, "zero": RTL_ZERO}
    origin = {"datatype": how}
    if q_first:
        origin["order"] = "--order" if options.order == "qi" else f"file name ({named.writer})"
    for field, value in (("sample_rate", header.sample_rate), ("center_frequency", header.center_frequency)):
        if value is not None:
            origin[field] = header.name
        elif getattr(named, field) is not None:
            origin[field] = "file name"
    recording = Recording(
        name=name or path.stem,
        path=path,
        format="raw",
        datatype=datatype,
        samples=samples,
        sample_rate=header.sample_rate or named.sample_rate,
        center_frequency=header.center_frequency or named.center_frequency,
        origin=origin,
        dropped_bytes=dropped,
        layout=layout,
    )
    notes = []
    if header.bytes:
        notes.append(f"{header.bytes} bytes before the samples: {header.name}")
    if not how.startswith("guess") and (other := sniff.disagreement(body, datatype)):
        notes.append(other)
    if dropped:
        notes.append(f"{dropped} bytes at the end make no whole sample")
    return sniff.examine(replace(recording, notes=tuple(notes)), certain=False, read_as=f" (read as {datatype}: {how})")


def _datatype(path: Path, body: bytes, options: ReadOptions, named: NameFacts) -> tuple[str, str]:
    """Type of the samples and where it comes from."""
    if options.dtype is not None:
        return canonical(options.dtype), "--dtype"
    if named.datatype is not None:
        return named.datatype, "file name"
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
