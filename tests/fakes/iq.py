"""Tiny files of I/Q in the true layouts of raw samples, SigMF, WAV and Universal Radio Hacker, written byte by byte."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Iq = NDArray[np.complex128]

DATATYPES = tuple(
    f"{part}{kind}{order}"
    for part in "cr"
    for kind in ("f32", "f64", "i32", "i16", "u32", "u16", "i8", "u8")
    for order in (("",) if kind in ("i8", "u8") else ("_le", "_be"))
)
"""Every type of the SigMF specification."""


def steps(count: int, channels: int = 1, seed: int = 0, datatype: str = "cf32_le") -> Iq:
    """Samples (count, channels) that the type holds exactly: multiples of its smallest step."""
    rng = np.random.default_rng(seed)
    kind, bits = datatype[1], int(datatype[2:].split("_")[0])
    size = (2 if datatype[0] == "c" else 1, count, channels)
    if kind == "f":
        numbers = rng.normal(scale=0.2, size=size).astype(np.float32).astype(np.float64)
    else:
        scale = 2 ** (bits - 1)
        numbers = rng.integers(-scale, scale, size) / scale
    return numbers[0] + 1j * numbers[1] if datatype[0] == "c" else numbers[0] + 0j


def encode(iq: Iq, datatype: str, order: str = "iq") -> bytes:
    """(T, n) samples as SigMF stores them: per time step, channel by channel, I before Q."""
    kind, rest = datatype[1], datatype[2:].split("_")
    bits, big = int(rest[0]), rest[-1] == "be"
    parts = [iq.real, iq.imag] if order == "iq" else [iq.imag, iq.real]
    numbers = np.stack(parts[: 2 if datatype[0] == "c" else 1], axis=-1).reshape(-1)
    if kind == "f":
        return numbers.astype(f"{'>' if big else '<'}f{bits // 8}").tobytes()
    scale = 2 ** (bits - 1)
    counts = np.rint(numbers * scale).astype(np.int64) + (scale if kind == "u" else 0)
    whole = counts.astype(">i8" if big else "<i8").tobytes()
    wide = np.frombuffer(whole, np.uint8).reshape(-1, 8)
    return (wide[:, 8 - bits // 8 :] if big else wide[:, : bits // 8]).tobytes()


def meta(datatype: str, *, rate: float = 1e6, **more: Any) -> dict[str, Any]:
    """SigMF metadata; `captures` and `annotations` by name, the rest goes into `global` with `_` for `:`."""
    head = {"core:datatype": datatype, "core:version": "1.2.0", "core:sample_rate": rate}
    head |= {key.replace("_", ":", 1): value for key, value in more.items() if key not in ("captures", "annotations")}
    return {
        "global": head,
        "captures": more.get("captures", [{"core:sample_start": 0, "core:frequency": 2.4e9}]),
        "annotations": more.get("annotations", []),
    }


def sigmf(folder: Path, name: str, data: bytes, described: Mapping[str, Any]) -> Path:
    """A pair of data and metadata; the metadata's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sigmf-data").write_bytes(data)
    path = folder / f"{name}.sigmf-meta"
    path.write_text(json.dumps(described))
    return path


def tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar archive, compressed for modes such as `w:gz`."""
    with tarfile.open(path, mode, format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def wav(
    path: Path,
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 2,
    bits: int = 16,
    rate: int = 96000,
    pieces: Sequence[int] | None = None,
    before: Sequence[tuple[bytes, bytes]] = (),
    stamps: bool = False,
    extensible: bool = False,
    rf64: bool = False,
) -> Path:
    """A RIFF or RF64 file.

    Args:
        path: File.
        data: Interleaved samples.
        tag: 1 PCM, 3 floating point.
        channels: Tracks.
        bits: Of one number.
        rate: Of the header.
        pieces: Sizes of the data chunks; one chunk by default.
        before: Chunks (name, content) in front of the data.
        stamps: A `kiwi` chunk with a GPS time before each data chunk.
        extensible: WAVE_FORMAT_EXTENSIBLE.
        rf64: Sizes in a ds64 chunk.
    """
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * frame, frame, bits)
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE"
    if rf64:
        body += _chunk(b"ds64", struct.pack("<QQQI", 0, len(data), len(data) // frame, 0))
    body += _chunk(b"fmt ", fmt)
    for name, content in before:
        body += _chunk(name, content)
    at = 0
    for number, size in enumerate(pieces or [len(data)]):
        if stamps:
            body += _chunk(b"kiwi", struct.pack("<BBII", 0, 0, 1600000000 + number, 0))
        piece = _chunk(b"data", data[at : at + size])
        body += b"data\xff\xff\xff\xff" + piece[8:] if rf64 else piece
        at += size
    path.write_bytes((b"RF64\xff\xff\xff\xff" if rf64 else b"RIFF" + struct.pack("<I", len(body))) + body)
    return path


def auxi(center_hz: int, rate_hz: int) -> tuple[bytes, bytes]:
    """The chunk of SpectraVue, HDSDR and SDR#: two times of 16 bytes, centre frequency, rate, five more numbers."""
    return b"auxi", bytes(32) + struct.pack("<IIIIIIIII", center_hz, rate_hz, 0, 0, 0, 0, 0, 0, 0)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def tone(count: int, cycles: float = 0.1, amplitude: float = 0.5, noise: float = 0.02, seed: int = 0) -> Iq:
    """A complex tone in noise, (count, 1): I/Q for everyone who looks at it."""
    rng = np.random.default_rng(seed)
    n = np.arange(count)
    grain = noise * (rng.normal(size=count) + 1j * rng.normal(size=count))
    return (amplitude * np.exp(2j * np.pi * cycles * n) + grain)[:, None]
