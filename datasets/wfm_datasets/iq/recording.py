"""What every reader of I/Q hands on: recordings whose windows are read in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.schema import JSON

Value = str | float
Windows = NDArray[np.complex64]
Opener = Callable[["Recording"], "WindowReader"]
WindowReader = Callable[[NDArray[np.int64], NDArray[np.int64], int], Windows]
"""(examples (B,), starts (B,), length) -> (B, channels, length) complex64, full scale of integers 1."""

BACKENDS: Mapping[str, str] = {
    "flat": "wfm_datasets.iq.flat:open_windows",
    "blocks": "wfm_datasets.iq.blocks:open_windows",
    "hdf5": "wfm_datasets.iq.hdf5:open_windows",
    "memory": "wfm_datasets.iq.memory:open_windows",
}
"""How the numbers of a recording are reached: `flat` maps interleaved samples at an offset of a file, `blocks`
examples that lie in several places of one, `hdf5` reads datasets, `memory` decodes a whole file once (compressed
containers) and keeps it."""


@dataclass(frozen=True)
class Annotation:
    """A stretch of a recording that somebody described."""

    start: int
    """First sample, counted from the first sample of the recording."""
    count: int
    """Samples."""
    label: str | None = None
    """Class of the stretch."""
    low_hz: float | None = None
    """Lower frequency edge in Hz (absolute)."""
    high_hz: float | None = None
    """Upper frequency edge in Hz (absolute)."""
    fields: Mapping[str, Value] = field(default_factory=dict)
    """What else is said of it, by plain names: {"modulation": "qpsk", "snr_db": 10.0}."""


@dataclass(frozen=True)
class Recording:
    """One recording, or one set of equally long examples, as a reader found it. Holds no samples."""

    name: str
    """Unique name in a scan: path below the input without suffix, `#member` behind it where a file holds several."""
    path: Path
    """File with the samples."""
    format: str
    """Container, for people: `SigMF`, `raw`, `WAV`, `MATLAB v7.3` ..."""
    datatype: str
    """SigMF name of the stored numbers, such as `ci16_le`."""
    samples: int
    """Samples of each example and channel."""
    channels: int = 1
    """Channels recorded at the same time."""
    examples: int = 1
    """Examples of equal length; 1 for a continuous recording."""
    sample_rate: float | None = None
    """Samples per second, Hz."""
    center_frequency: float | None = None
    """Hz."""
    label: str | None = None
    """Class of the whole recording."""
    annotations: tuple[Annotation, ...] = ()
    """Stretches with a description of their own (of continuous recordings)."""
    fields: Mapping[str, Value] = field(default_factory=dict)
    """What is known of the whole recording, by plain names."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What is known of every example, (examples,) strings or numbers; `label` is the class."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where a value came from: {"sample_rate": "file name", "datatype": "guess, margin 1.8"}."""
    notes: tuple[str, ...] = ()
    """Things worth telling the user, one sentence each."""
    dropped_bytes: int = 0
    """Bytes at the end that make no whole sample."""
    backend: Literal["flat", "blocks", "hdf5", "memory"] = "flat"
    """Key of `BACKENDS`."""
    layout: Mapping[str, JSON] = field(default_factory=dict)
    """What the backend needs beside path, datatype and shape: offset, order of I and Q, dataset names ..."""

    @property
    def key(self) -> dict[str, JSON]:
        """All that reopens the recording in another process; columns stay behind."""
        return {
            "name": self.name,
            "path": str(self.path),
            "format": self.format,
            "datatype": self.datatype,
            "samples": self.samples,
            "channels": self.channels,
            "examples": self.examples,
            "backend": self.backend,
            "layout": dict(self.layout),
        }


def from_key(key: Mapping[str, Any]) -> Recording:
    """The recording that `Recording.key` describes, good for reading windows."""
    return Recording(**{**key, "path": Path(key["path"])})


def open_windows(recording: Recording) -> WindowReader:
    """A function that reads windows of a recording: (examples (B,), starts (B,), length) -> (B, channels, length).

    Integers are divided by their full scale (2^15 for 16 bits), unsigned ones after subtracting their zero.

    Raises:
        InputError: the file has changed or gone since it was scanned, or its numbers are not finite.
    """
    module, _, name = BACKENDS[recording.backend].partition(":")
    return cast("Opener", getattr(import_module(module), name))(recording)
