"""The parts of a recording that its picture shows, read in blocks of bounded size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.signal import waterfall
from wfm_cli.core.signal.waterfall import Excerpt
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, WindowReader, open_windows

_TRACE = 256
"""Samples of the trace."""
_CLOUD = 40_000
"""Samples of the histogram and the constellation."""
_BLOCK = 1 << 19
"""Samples, all channels together, that are read at once."""


def excerpt(recording: Recording, channel: int = 0, example: int = 0, columns: int = 480) -> Excerpt:
    """The arrays behind the pictures of one channel; reads at most about two million samples.

    Sets of examples are shown with the examples, in their order, from left to right.

    Raises:
        InputError: The samples cannot be read, or there is no such example.
    """
    if not 0 <= example < recording.examples:
        raise InputError(
            f"{recording.path}: {recording.name} has no example {example}",
            f"examples run from 0 to {recording.examples - 1}",
        )
    read = open_windows(recording)
    if recording.examples > 1:
        return _excerpt_of_set(recording, read, channel, example, columns)
    columns, frames, bins = waterfall.frames_for(recording.samples, columns)
    bins = min(bins, recording.samples)
    starts = waterfall.frame_starts(recording.samples, columns, frames, bins)
    data = read_blocks(read, recording, np.zeros(starts.size, np.int64), starts.ravel(), bins, channel)
    data = data.reshape(columns, frames, bins)
    powers = waterfall.column_powers(data)
    length = min(_TRACE, recording.samples)
    loudest = int(starts[int(powers.sum(1).argmax()), 0])
    start = min(loudest, recording.samples - length)
    trace = read_blocks(read, recording, np.zeros(1, np.int64), np.array([start], np.int64), length, channel)[0]
    return _excerpt(powers, trace, start, data, recording.samples, channel=channel)


def _excerpt_of_set(recording: Recording, read: WindowReader, channel: int, example: int, columns: int) -> Excerpt:
    chosen = spread(recording.examples, columns)
    bins = int(min(256, max(1 << max(recording.samples // 2, 1).bit_length() - 1, 8), recording.samples))
    frames = int(np.clip(2 * recording.samples // bins - 1, 1, 8))
    starts = waterfall.frame_starts(recording.samples, 1, frames, bins)[0]
    data = read_blocks(read, recording, np.repeat(chosen, frames), np.tile(starts, chosen.size), bins, channel)
    data = data.reshape(chosen.size, frames, bins)
    length = min(_TRACE, recording.samples)
    trace = read_blocks(read, recording, np.array([example], np.int64), np.zeros(1, np.int64), length, channel)[0]
    powers = waterfall.column_powers(data)
    return _excerpt(powers, trace, 0, data, recording.examples, channel=channel, example=example)


def _excerpt(
    powers: NDArray[np.float64], trace: NDArray[np.complex64], start: int, data: NDArray[np.complex64], extent: int,
    channel: int = 0, example: int | None = None,
) -> Excerpt:  # fmt: skip
    flat = data.ravel()
    cloud = flat[:: max(1, flat.size // _CLOUD)]
    return Excerpt(
        waterfall.dbfs(powers.T), waterfall.dbfs(powers.mean(0)), trace, start, cloud[np.isfinite(cloud)], extent,
        "time" if example is None else "example", channel, example or 0,
    )  # fmt: skip


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` numbers spread over 0 ... count - 1."""
    return np.unique(np.round(np.linspace(0, count - 1, min(count, most))).astype(np.int64))


def read_blocks(
    read: WindowReader,
    recording: Recording,
    examples: NDArray[np.int64],
    starts: NDArray[np.int64],
    length: int,
    channel: int,
) -> NDArray[np.complex64]:
    """Windows of one channel, (B, length)."""
    out = np.empty((examples.size, length), np.complex64)
    block = max(_BLOCK // max(length * recording.channels, 1), 1)
    for at in range(0, examples.size, block):
        rows = slice(at, at + block)
        out[rows] = read(examples[rows], starts[rows], length)[:, channel]
    return out
