"""WAV, RF64 and BW64 with I in the left and Q in the right track, as SDR programs write them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq import names
from wfm_datasets.iq.datatypes import sample_type
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.sniff import examine

_TYPES = {
    (1, 8): "cu8",
    (1, 16): "ci16_le",
    (1, 24): "ci24_le",
    (1, 32): "ci32_le",
    (3, 32): "cf32_le",
    (3, 64): "cf64_le",
}
_EXTENSIBLE = 0xFFFE
_UNKNOWN = 0xFFFFFFFF
_AUDIO_RATES = frozenset((8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000))
"""What sound programs put into the header whatever the samples are."""
_MOST_CHUNKS = 1_000_000


@dataclass
class _Wave:
    """What the chunks say."""

    tag: int = 0
    channels: int = 0
    rate: int = 0
    bits: int = 0
    long_data: int | None = None
    """Size of the data in RF64's table."""
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Place and size of every data chunk."""
    center: float | None = None
    receiver_rate: float | None = None
    kiwi: bool = False
    cut: bool = False
    """The last chunk says that it is longer than the file."""


def recognise(path: Path, head: bytes) -> bool:
    """By the first bytes."""
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The one recording of a WAV file; its data chunks, of which KiwiSDR writes hundreds, are joined.

    Raises:
        InputError: damaged, not two tracks, audio, or an encoding other than plain numbers.
    """
    wave = _walk(path)
    if wave.channels == 0:
        raise InputError(f"{path}: has no fmt chunk", "copy or record this file again")
    if wave.channels != 2:
        raise InputError(f"{path}: {wave.channels} tracks, not the two of I/Q", "convert several receivers to SigMF")
    datatype = _TYPES.get((wave.tag, wave.bits))
    if datatype is None:
        raise InputError(f"{path}: encoding {wave.tag} with {wave.bits} bits", "save it as plain PCM or floating point")
    frame = sample_type(datatype).sample_bytes
    segments: list[JSON] = []
    samples = dropped = 0
    for place, size in wave.pieces:
        if size >= frame:
            segments.append([samples, place])
            samples += size // frame
        dropped += size % frame
    if samples == 0:
        raise InputError(f"{path}: holds no samples", "record it again")
    rate, frequency, origin, notes = _tuning(path, wave)
    if dropped:
        notes.append(f"{dropped} bytes at the end of chunks make no whole sample")
    if wave.cut:
        notes.append("shorter than its header says: cut off, or never closed by the program that wrote it")
    recording = Recording(
        name=path.stem,
        path=path,
        format="WAV",
        datatype=datatype,
        samples=samples,
        sample_rate=rate,
        center_frequency=frequency,
        origin={"datatype": "header", **origin, **({"order": "--order"} if options.order == "qi" else {})},
        notes=tuple(notes),
        dropped_bytes=dropped,
        layout={**stamp(path), "segments": segments, **({"order": "qi"} if options.order == "qi" else {})},
    )
    return [examine(recording, certain=False)]


def _tuning(path: Path, wave: _Wave) -> tuple[float | None, float | None, dict[str, str], list[str]]:
    """Sample rate, centre frequency, where they come from, and what is odd about them."""
    told, notes = names.facts(path), []
    rate, origin = float(wave.rate) or None, {"sample_rate": "header"}
    named = told.sample_rate or (names.lone_hertz(path.name) if wave.rate in _AUDIO_RATES and not told.writer else None)
    other, where = (wave.receiver_rate, "auxi chunk") if wave.receiver_rate else (named, "file name")
    if other and other != rate:
        notes.append(f"the header says {wave.rate} samples per second, the {where} {other:.0f}: the latter is taken")
        rate, origin = other, {"sample_rate": where}
    if rate is None:
        origin = {}
    frequency = wave.center or told.center_frequency
    if frequency is not None:
        origin["center_frequency"] = "auxi chunk" if wave.center else "file name"
    if wave.kiwi:
        notes.append(
            f"KiwiSDR: {len(wave.pieces)} data chunks are joined, gaps in the GPS times between them are not seen"
        )
    return rate, frequency, origin, notes


def _walk(path: Path) -> _Wave:
    """All chunks of a file."""
    wave, size = _Wave(), path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(12)
        for count, (name, place, length) in enumerate(_chunks(stream, wave, size)):
            if count > _MOST_CHUNKS:
                raise InputError(f"{path}: more than {_MOST_CHUNKS} chunks", "copy or record this file again")
            _take(stream, wave, name, place, length)
    return wave


def _chunks(stream: BinaryIO, wave: _Wave, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of every chunk; a length beyond the end of the file is cut."""
    while len(head := stream.read(8)) == 8:
        name, length = head[:4], struct.unpack_from("<I", head, 4)[0]
        place = stream.tell()
        if name == b"data" and length == _UNKNOWN:
            length = wave.long_data if wave.long_data is not None else size - place
        if name == b"data" and place + length > size:
            wave.cut = True
        length = min(length, size - place)
        yield name, place, length
        stream.seek(place + length + length % 2)


def _take(stream: BinaryIO, wave: _Wave, name: bytes, place: int, length: int) -> None:
    if name == b"data":
        wave.pieces.append((place, length))
    elif name == b"fmt " and length >= 16:
        content = stream.read(min(length, 40))
        wave.tag, wave.channels, wave.rate, _, _, wave.bits = struct.unpack_from("<HHIIHH", content)
        if wave.tag == _EXTENSIBLE and len(content) >= 26:
            wave.tag = struct.unpack_from("<H", content, 24)[0]
    elif name == b"ds64" and length >= 24:
        wave.long_data = struct.unpack_from("<8xQ", stream.read(24))[0]
    elif name == b"auxi":
        _take_auxi(wave, stream.read(min(length, 1 << 16)))
    elif name == b"kiwi":
        wave.kiwi = True


def _take_auxi(wave: _Wave, content: bytes) -> None:
    """Tuning as SpectraVue, SDR# and HDSDR write it: two times, then frequency and rate in Hz; or XML (Studio 1)."""
    if content.lstrip()[:1] == b"<":
        wide = content.replace(b"\0", b"")  # it may be UTF-16
        center, rate = (re.search(rb'%s="(\d{1,15})"' % key, wide) for key in (b"RadioCenterFreq", b"SampleRate"))
        wave.center = float(center[1]) or None if center else None
        wave.receiver_rate = float(rate[1]) or None if rate else None
    elif len(content) >= 40:
        center_hz, rate_hz = struct.unpack_from("<II", content, 32)
        wave.center, wave.receiver_rate = float(center_hz) or None, float(rate_hz) or None
