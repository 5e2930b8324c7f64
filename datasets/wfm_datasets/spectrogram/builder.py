"""The builder: recordings in, spectrograms with labels, metadata and splits out."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_cli.core.signal.stft import spectrogram_db
from wfm_cli.core.store import splits
from wfm_cli.core.store.build import BuildPlan
from wfm_cli.core.store.schema import DTYPES
from wfm_datasets.iq.datatypes import sample_type
from wfm_datasets.iq.recording import Recording, WindowReader, from_key, open_windows
from wfm_datasets.spectrogram import describe, fields, quality, splitting
from wfm_datasets.spectrogram.survey import Survey, source_records, survey

READERS = 8
"""Open recordings that a process keeps."""
BATCH_SAMPLES = 1 << 20
"""Samples of all channels that are read at a time (8 MiB)."""


class SpectrogramBuilder:
    """Builds `spectrogram`, `labels/*`, `meta/*`, `split/*` and, when asked to, `iq`."""

    def __init__(self, source: Strict, seed: int) -> None:
        if not isinstance(source, SpectrogramSource):
            raise TypeError(f"SpectrogramBuilder needs a SpectrogramSource, got {type(source).__name__}")
        self.source = source
        self.seed = seed
        self.stft = describe.stft_of(source)
        self._readers: OrderedDict[int, WindowReader] = OrderedDict()

    def plan(self) -> BuildPlan:
        """Scan the inputs, cut windows, gather labels, make splits.

        Raises:
            InputError: see `survey`, `fields.columns` and `splitting.make`.
        """
        found = survey(self.source, self.stft)
        return self._plan(found, source_records(found.recordings))

    def preview(self) -> BuildPlan:
        """The plan without the checksums of the files."""
        found = survey(self.source, self.stft)
        return self._plan(found, ())

    def _plan(self, found: Survey, sources: tuple[Mapping[str, Any], ...]) -> BuildPlan:
        cuts, recordings = found.cuts, found.recordings
        by_name = fields.gather(recordings, cuts)
        columns, notes = fields.columns(by_name, self.source)
        label = by_name[fields.LABEL].codes if fields.LABEL in by_name else np.zeros(len(cuts), np.int64)
        examples = np.array([recording.examples for recording in recordings], np.int64)
        group = splitting.groups(examples, cuts, label)
        made = splitting.make(self.source, group, by_name, self.seed)
        channels = recordings[0].channels if self.source.channels == "joint" else 1
        split_columns = [(splits.column(name), values) for name, values in made.made.items()]
        return BuildPlan(
            kind="spectrogram",
            samples=len(cuts),
            arrays=describe.arrays(self.source, self.stft, channels),
            columns=(*columns, *describe.columns(self.source, recordings, cuts, by_name), *split_columns),
            sources=sources,
            attrs={
                "input": "spectrogram",
                "conventions": describe.conventions(self.source, self.stft),
                "counts": found.counts,
                "classes": describe.classes(by_name.get(fields.LABEL), cuts),
                "notes": [*found.notes, *_unread(sources), *notes, *made.notes],
                "files": found.report,
                "splits": {"default": made.default, "available": made.described},
            },
            state={
                "key": np.array([json.dumps(recording.key).encode() for recording in recordings]),
                "recording": cuts.recording,
                "example": cuts.example,
                "start": cuts.start,
                "channel": cuts.channel,
            },
        )

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Spectrograms of rows [start, stop), the level and the faults of their samples, and the samples if kept."""
        channels = from_key(json.loads(state["key"][0])).channels if self.source.channels == "joint" else 1
        specs = describe.arrays(self.source, self.stft, channels)
        made = {spec.name: np.empty((stop - start, *spec.shape), DTYPES[spec.dtype]) for spec in specs}
        for low, high, recording, windows in self._batches(start, stop, state):
            place = slice(low - start, high - start)
            bits = sample_type(recording.datatype)
            for name, values in quality.measure(windows, bits).items():
                made[name][place] = values
            if self.source.gain_db:
                windows = windows * np.float32(10 ** (self.source.gain_db / 20))
            if self.source.keep_iq:
                made["iq"][place] = windows
            self._transform(windows, made["spectrogram"][place])
        return made

    def _transform(self, windows: NDArray[np.complex64], out: NDArray[Any]) -> None:
        flat = windows.reshape(-1, self.stft.samples)
        spectrogram_db(flat, self.stft, out.reshape(len(flat), *out.shape[2:]), threads=_threads())

    def _batches(
        self, start: int, stop: int, state: Mapping[str, NDArray[Any]]
    ) -> Iterator[tuple[int, int, Recording, NDArray[np.complex64]]]:
        """Rows [low, high) of one recording, with their windows (high - low, channels, samples), a batch at a time."""
        numbers = state["recording"][start:stop]
        edges = np.flatnonzero(np.diff(numbers)) + 1 + start
        for first, last in zip([start, *edges], [*edges, stop], strict=True):
            number = int(state["recording"][first])
            recording = from_key(json.loads(state["key"][number]))
            step = max(1, BATCH_SAMPLES // (self.stft.samples * recording.channels))
            step *= recording.channels if self.source.channels == "separate" else 1
            for low in range(int(first), int(last), step):
                rows = slice(low, min(low + step, int(last)))
                yield low, rows.stop, recording, self._read(number, recording, rows, state)

    def _read(
        self, number: int, recording: Recording, rows: slice, state: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.complex64]:
        """Windows of some rows of one recording; channels of their own are read together and then told apart."""
        example, start = state["example"][rows], state["start"][rows]
        reader = self._reader(number, recording)
        if self.source.channels == "joint" or recording.channels == 1:
            return reader(example, start, self.stft.samples)
        change = (np.diff(example) != 0) | (np.diff(start) != 0)
        window = np.concatenate([[0], np.cumsum(change)])
        first = np.flatnonzero(np.concatenate([[True], change]))
        together = reader(example[first], start[first], self.stft.samples)
        windows: NDArray[np.complex64] = together[window, state["channel"][rows]][:, None]
        return windows

    def _reader(self, number: int, recording: Recording) -> WindowReader:
        if number not in self._readers:
            while len(self._readers) >= READERS:
                self._readers.popitem(last=False)
            self._readers[number] = open_windows(recording)
        self._readers.move_to_end(number)
        return self._readers[number]


def _unread(sources: tuple[Mapping[str, Any], ...]) -> list[str]:
    """A sentence about files that are too large to be read while planning."""
    large = [str(source["path"]) for source in sources if source["sha256"] is None]
    if not large:
        return []
    return [f"known by size and time of change, not by a checksum, being larger than 1 GiB: {', '.join(large)}"]


def _threads() -> int:
    """Threads for the transform: all processors in the process that a person started, one in each of a pool."""
    if multiprocessing.parent_process() is not None:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() and int(limit) else min(8, len(os.sched_getaffinity(0)))
