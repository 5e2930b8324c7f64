"""Recordings in compressed containers: decoded once, kept in memory up to a stated limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.iq.flat import Bytes, Cutter, refuse_beyond, refuse_changed
from wfm_datasets.iq.recording import Recording, WindowReader, Windows

Decoder = Callable[[Recording], NDArray[Any]]
"""The bytes of the samples, uint8 (n,), read as a flat file with the recording's layout; or the samples themselves,
complex64 (examples, channels, samples)."""

DECODERS: dict[str, str] = {
    "stream": "wfm_datasets.iq.containers:decode",
    "matlab": "wfm_datasets.iq.formats.matlab:decode",
    "numpy": "wfm_datasets.iq.formats.numpy_files:decode",
}
"""What `layout["decoder"]` may say."""

LIMIT_BYTES = 1 << 30
"""Most bytes that one file may decode to, and most that are kept over all files."""

_kept: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()
_lock = threading.Lock()


def read_limited(stream: BinaryIO, what: str, limit: int | None = None) -> Bytes:
    """All bytes of a decompressing stream.

    Raises:
        InputError: more than `limit` (default `LIMIT_BYTES`).
    """
    most = LIMIT_BYTES if limit is None else limit
    pieces, total = [], 0
    while piece := stream.read(min(1 << 22, most + 1 - total)):
        total += len(piece)
        if total > most:
            raise InputError(
                f"{what}: decodes to more than {most / 2**20:.0f} MiB", "decompress it and name the file inside"
            )
        pieces.append(piece)
    return np.frombuffer(b"".join(pieces), np.uint8)


def decoded(recording: Recording) -> NDArray[Any]:
    """What the recording's decoder makes of it, from memory if it was made before."""
    layout: Mapping[str, Any] = recording.layout
    key = (
        str(recording.path),
        *(layout.get(name) for name in ("bytes", "mtime_ns", "decoder", "member", "variable", "read_as")),
    )
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
        module, _, name = DECODERS[layout["decoder"]].partition(":")
        made = cast("Decoder", getattr(import_module(module), name))(recording)
        _kept[key] = made
        while len(_kept) > 1 and sum(value.nbytes for value in _kept.values()) > LIMIT_BYTES:
            _kept.popitem(last=False)
        return made


def open_windows(recording: Recording) -> WindowReader:
    """Windows of a decoded recording.

    Raises:
        InputError: (the reader, too) the file has changed or gone, cannot be decoded, is too large, or not finite.
    """
    refuse_changed(recording)
    cutter = Cutter.of(recording)

    def read(examples: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Windows:
        data = decoded(recording)
        if data.dtype == np.uint8:
            return cutter.windows(data, examples, starts, length)
        refuse_beyond(recording, examples, starts, length)
        sliding = np.lib.stride_tricks.sliding_window_view(data, length, axis=2)
        made = cast("Windows", sliding[examples, :, starts].astype(np.complex64))
        if not np.all(np.isfinite(made)):
            row, _, sample = np.argwhere(~np.isfinite(made))[0]
            where = f"sample {int(starts[row] + sample)} of example {int(examples[row])}"
            raise InputError(
                f"{recording.path}: {where} is NaN or infinite",
                "cut it out or record again",
            )
        return made

    return read
