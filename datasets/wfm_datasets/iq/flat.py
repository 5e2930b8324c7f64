"""Windows of samples that lie as plain numbers in a file, at any offset and in pieces: mapped, never read whole.

Layout keys of a flat recording, all in bytes of the file:

    offset         first sample (default 0)
    example_bytes  from one example to the next (default: examples lie back to back)
    plane_bytes    from the I numbers of an example to its Q numbers, where they lie in two blocks (default 0: I Q I Q)
    channel_bytes  from one channel to the next, where each lies in its own block (default 0: step by step)
    order          "qi" where Q comes first
    zero, full_scale   instead of the type's own
    segments       [[first sample, byte], ...] where a continuous recording lies in several pieces
    bytes, mtime_ns    size and time of change of the file when it was scanned
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import SampleType, sample_type
from wfm_datasets.iq.recording import Recording, WindowReader, Windows

Bytes = NDArray[np.uint8]
_BLOCK = 1 << 18
"""Samples converted at a time: source and result stay in the second-level cache."""


def stamp(path: Path) -> dict[str, JSON]:
    """Size and time of change of a file, for `layout`; `refuse_changed` compares them.

    Raises:
        InputError: there is no such file any more.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from None
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def refuse_changed(recording: Recording) -> None:
    """Refuse a file that is no longer the one that was scanned; recordings without a stamp pass.

    Raises:
        InputError: the file has gone, has another size or has been written to.
    """
    was = {key: recording.layout[key] for key in ("bytes", "mtime_ns") if key in recording.layout}
    now = stamp(recording.path)
    if any(now[key] != value for key, value in was.items()):
        change = f"{was.get('bytes')} -> {now['bytes']} bytes" if now["bytes"] != was.get("bytes") else "written to"
        raise InputError(f"{recording.path}: has changed since it was scanned ({change})", "prepare the store again")


def refuse_beyond(recording: Recording, examples: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> None:
    """Refuse windows that are not inside the recording: a mistake of the caller, who knows its size.

    Raises:
        ValueError: a window or an example is not there.
    """
    if len(starts) and (
        length < 1
        or int(starts.min()) < 0
        or int(starts.max()) + length > recording.samples
        or int(examples.min()) < 0
        or int(examples.max()) >= recording.examples
    ):
        raise ValueError(f"{recording.name}: windows reach beyond {recording.examples} x {recording.samples} samples")


def open_windows(recording: Recording) -> WindowReader:
    """Windows of a mapped file. The map lives as long as one call, so many recordings can be open at a time.

    Raises:
        InputError: (the reader, too) the file has changed or gone, or a sample is not finite.
    """
    refuse_changed(recording)
    cutter = Cutter.of(recording)

    def read(examples: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Windows:
        refuse_changed(recording)
        return cutter.windows(mapped(recording.path), examples, starts, length)

    return read


def mapped(path: Path) -> Bytes:
    """The bytes of a file, mapped as long as they are used.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    try:
        with path.open("rb") as stream:
            return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})", "check the file") from None


def _sliding(data: Bytes, size: int) -> Bytes:
    """Every run of `size` bytes, (len - size + 1, size), as a view."""
    return np.ndarray((len(data) - size + 1, size), np.uint8, data.data, 0, (1, 1))


def _numbers(windows: Windows) -> NDArray[np.float32]:
    """The parts of complex numbers along a last axis, as a view."""
    return windows.view(np.float32).reshape(*windows.shape, 2)


def fitting(size: int, kind: SampleType, channels: int = 1) -> tuple[int, int]:
    """Whole time steps in so many bytes, and the bytes left over."""
    return divmod(size, kind.sample_bytes * channels)


@dataclass(frozen=True)
class Cutter:
    """Cuts windows out of the bytes of a recording and turns them into complex numbers of full scale 1."""

    recording: Recording
    kind: SampleType
    pitch: int
    """Bytes from one time step to the next."""
    starts: NDArray[np.int64]
    """First sample of every segment."""
    offsets: NDArray[np.int64]
    """Byte of every segment."""
    example_bytes: int
    plane_bytes: int
    channel_bytes: int
    flip: bool
    zero: float
    scale: float

    @classmethod
    def of(cls, recording: Recording) -> Cutter:
        """From datatype, shape and layout of a recording."""
        kind, layout = sample_type(recording.datatype), cast("dict[str, Any]", recording.layout)
        plane, block = int(layout.get("plane_bytes", 0)), int(layout.get("channel_bytes", 0))
        pitch = kind.part_bytes * (1 if block else recording.channels) * (1 if plane else kind.parts)
        segments = np.array(layout.get("segments") or [[0, layout.get("offset", 0)]], np.int64)
        return cls(
            recording,
            kind,
            pitch,
            segments[:, 0].copy(),
            segments[:, 1].copy(),
            int(layout.get("example_bytes", kind.sample_bytes * recording.channels * recording.samples)),
            plane,
            block,
            layout.get("order", "iq") == "qi",
            float(layout.get("zero", kind.zero)),
            float(layout.get("full_scale", kind.full_scale)),
        )

    def windows(self, data: Bytes, examples: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Windows:
        """Windows (B, channels, length) out of all bytes of the file."""
        whole = self.recording
        refuse_beyond(whole, examples, starts, length)
        data = data.view()
        data.flags.writeable = False
        step = max(1, _BLOCK // (whole.channels * length))
        blocks = [slice(low, low + step) for low in range(0, len(starts), step)]
        if self._as_stored and blocks:
            raw = self._raw(data, examples, starts, length, 0)
            # Evenly spaced windows are a view of the file, which nobody may keep; gathered ones are our own already.
            own = raw if raw.flags.writeable else raw.copy()
            out: Windows = own.view(np.complex64)[:, None]
            for block in blocks:
                self._refuse_unfinite(_numbers(out[block]), examples[block], starts[block])
            return out
        out = np.empty((len(starts), whole.channels, length), np.complex64)
        for block in blocks:
            self._convert(data, examples[block], starts[block], length, out[block])
        return out

    @property
    def _as_stored(self) -> bool:
        """Whether the bytes of a window are the result: single precision of one channel, I before Q."""
        native = self.kind.dtype == np.dtype(np.float32) and self.kind.complex
        return native and self.recording.channels == 1 and not self.plane_bytes and not self.flip

    def _convert(
        self, data: Bytes, examples: NDArray[np.int64], starts: NDArray[np.int64], length: int, out: Windows
    ) -> None:
        numbers = _numbers(out)
        targets = numbers[..., ::-1] if self.flip else numbers
        if not self.kind.complex:
            numbers[..., 1] = 0
        blocks = self.recording.channels if self.channel_bytes else 1
        planes = 2 if self.plane_bytes else 1
        wide = 1 if self.plane_bytes or not self.kind.complex else 2
        for block in range(blocks):
            for plane in range(planes):
                shift = block * self.channel_bytes + plane * self.plane_bytes
                raw = self._raw(data, examples, starts, length, shift)
                stored = raw.reshape(len(starts), length, -1, wide).swapaxes(1, 2)
                channels = slice(block, block + 1) if self.channel_bytes else slice(None)
                self._scale(stored, targets[:, channels, :, plane : plane + wide])
        if self.kind.kind == "f":
            self._refuse_unfinite(numbers, examples, starts)

    def _raw(
        self, data: Bytes, examples: NDArray[np.int64], starts: NDArray[np.int64], length: int, shift: int
    ) -> NDArray[Any]:
        """Stored numbers (B, length * numbers of a time step), without a copy where the windows are evenly spaced."""
        size = length * self.pitch
        segment = np.searchsorted(self.starts, starts, "right") - 1
        at = (
            self.offsets[segment] + (starts - self.starts[segment]) * self.pitch + examples * self.example_bytes + shift
        )
        if len(self.starts) > 1:
            ends = np.append(self.starts[1:], self.recording.samples)[segment]
            if np.any(starts + length > ends):
                return self._numbers(self._across(data, starts, length, shift))
        self._refuse_short(data, at, size)
        sliding = _sliding(data, size)
        steps = np.diff(at)
        if len(steps) == 0 or (steps[0] > 0 and np.all(steps == steps[0])):
            step = int(steps[0]) if len(steps) else 1
            return self._numbers(sliding[int(at[0]) : int(at[-1]) + 1 : step])
        return self._numbers(sliding[at])

    def _across(self, data: Bytes, starts: NDArray[np.int64], length: int, shift: int) -> Bytes:
        """Windows that run over the seams of segments, gathered time step by time step."""
        index = starts[:, None] + np.arange(length)
        segment = np.searchsorted(self.starts, index, "right") - 1
        at = self.offsets[segment] + (index - self.starts[segment]) * self.pitch + shift
        self._refuse_short(data, at, self.pitch)
        steps: Bytes = _sliding(data, self.pitch)[at]
        return steps.reshape(len(starts), length * self.pitch)

    def _refuse_short(self, data: Bytes, at: NDArray[np.int64], size: int) -> None:
        if int(at.min()) < 0 or int(at.max()) + size > len(data):
            raise InputError(f"{self.recording.path}: is shorter than it says", "copy or record this file again")

    def _numbers(self, raw: Bytes) -> NDArray[Any]:
        if self.kind.bits != 24:
            return raw.view(self.kind.dtype)
        triples = raw.reshape(len(raw), -1, 3)
        wide = np.zeros((*triples.shape[:2], 4), np.uint8)
        wide[..., 1:] = triples[..., ::-1] if self.kind.big else triples  # the top three bytes of a 32-bit number
        return wide.view("<i4" if self.kind.kind == "i" else "<u4")[..., 0] >> 8

    def _scale(self, stored: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Numbers as stored (B, channels, length[, 2]) -> full scale 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind.kind == "f":
                np.copyto(out, stored, casting="same_kind")
                return
            if self.zero and self.kind.bits == 32:  # float32 cannot hold the difference
                np.copyto(out, (stored - self.zero) / self.scale, casting="same_kind")
                return
            np.copyto(out, stored, casting="same_kind" if self.kind.bits != 64 else "unsafe")
        if self.zero:
            out -= np.float32(self.zero)
        out *= np.float32(1 / self.scale)

    def _refuse_unfinite(
        self, numbers: NDArray[np.float32], examples: NDArray[np.int64], starts: NDArray[np.int64]
    ) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.add.reduce(numbers, axis=None)):
                return
        bad = np.argwhere(~np.isfinite(numbers))
        if len(bad) == 0:
            return
        row, _, sample, _ = bad[0]
        where = f"sample {int(starts[row] + sample)}"
        if self.recording.examples > 1:
            where += f" of example {int(examples[row])}"
        raise InputError(
            f"{self.recording.path}: {where} is NaN or infinite",
            "cut it out or record again; if the sample type is wrong, name it with --dtype",
        )
