"""What a spectrogram store says about itself: arrays, columns and conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_cli.core.signal.stft import PRESETS, STEP_DB, STFT
from wfm_cli.core.store.schema import ArraySpec
from wfm_datasets.iq.recording import Recording
from wfm_datasets.spectrogram.fields import Column, Field
from wfm_datasets.spectrogram.windows import Cuts


def stft_of(source: SpectrogramSource) -> STFT:
    """The preset of a recipe with what the recipe changes in it; the hop scales with the number of frequencies."""
    preset = PRESETS[source.preset]
    nfft = source.nfft or preset.nfft
    return replace(
        preset,
        nfft=nfft,
        hop=source.hop or max(1, preset.hop * nfft // preset.nfft),
        frames=source.frames or preset.frames,
        window=source.window or preset.window,
        floor_db=source.floor_db,
    )


def arrays(source: SpectrogramSource, stft: STFT, channels: int) -> tuple[ArraySpec, ...]:
    """Arrays that are made part by part."""
    axes = ("sample", "channel", "frequency", "time")
    attrs: dict[str, Any] = {"normalise": "raw"}
    if source.dtype_out == "uint8":
        attrs |= {"scale_factor": STEP_DB, "add_offset": stft.floor_db}
    made = [
        ArraySpec(
            "spectrogram", source.dtype_out, (channels, stft.nfft, stft.frames), axes, "dBFS",
            "power of a frequency in a frame", attrs,
        ),
        column("level_db", "float32", "dBFS", "mean power of the samples as read"),
        column("clipped", "float32", "1", "share of samples at the last code of their integer type"),
        column("constant", "bool", "1", "all samples of a channel are equal"),
    ]  # fmt: skip
    if source.keep_iq:
        shape = (channels, stft.samples)
        made.append(ArraySpec("iq", "complex64", shape, ("sample", "channel", "time"), "1", "samples of the window"))
    return tuple(made)


def columns(
    source: SpectrogramSource, recordings: Sequence[Recording], cuts: Cuts, fields: Mapping[str, Field]
) -> list[Column]:
    """Where every window comes from, and the gain that its level includes."""
    number = cuts.recording
    rate = np.array([recording.sample_rate or 0.0 for recording in recordings])[number]
    centre = np.array([recording.center_frequency or 0.0 for recording in recordings])[number]
    names = [recording.name for recording in recordings]
    return [
        (column("recording", "int32", "1", "recording that the window is cut from", names), number),
        (column("example", "int64", "1", "example of a set of equally long ones"), cuts.example),
        (column("start", "int64", "1", "first sample of the window in its recording"), cuts.start),
        (column("channel", "int16", "1", "channel of the recording"), cuts.channel),
        (column("sample_rate_hz", "float64", "Hz", "sampling rate, 0 where it is not known"), rate),
        (column("center_frequency_hz", "float64", "Hz", "centre frequency, 0 where it is not known"), centre),
        (
            column(
                "gain_db",
                "float32",
                "dB",
                "gain in the level: the recording's and the recipe's",
            ),
            _recorded_gain(fields.get("gain_db"), len(cuts)) + np.float32(source.gain_db),
        ),
    ]


def _recorded_gain(field: Field | None, rows: int) -> NDArray[np.float32]:
    """Gain that the makers of the recordings name, 0 where they name none."""
    if field is None or not field.numeric:
        return np.zeros(rows, np.float32)
    return np.where(field.codes >= 0, np.array(field.values, np.float32)[field.codes], 0).astype(np.float32)


def column(name: str, dtype: str, units: str, description: str, classes: list[str] | None = None) -> ArraySpec:
    """A column of scalars below `meta/`."""
    attrs = {"classes": classes} if classes else {}
    return ArraySpec(f"meta/{name}", dtype, (), ("sample",), units, description, attrs)


def conventions(source: SpectrogramSource, stft: STFT) -> dict[str, Any]:
    """How the numbers came about, in words and numbers."""
    return {
        "nfft": stft.nfft,
        "hop": stft.hop,
        "frames": stft.frames,
        "window": f"{stft.window}, periodic",
        "window_samples": stft.samples,
        "sides": "two, zero frequency at index nfft // 2, frequencies ascending",
        "padding": "none",
        "reference": "a tone of amplitude 1 at a bin centre reads 0 dBFS; integers are divided by their full scale",
        "floor_db": stft.floor_db,
        "normalise": "none: decibels as they are, with meta/gain_db in them",
        "windows": source.windows,
        "stride_windows": source.stride,
    }


def classes(label: Field | None, cuts: Cuts) -> dict[str, dict[str, int]]:
    """Windows and recordings of every class."""
    if label is None:
        return {}

    def recordings(mine: NDArray[np.bool_]) -> int:
        return len(np.unique(cuts.recording[mine]))

    counted = {
        name: {"windows": int((label.codes == code).sum()), "recordings": recordings(label.codes == code)}
        for code, name in enumerate(label.names)
    }
    rest = label.codes < 0
    return counted | ({"(none)": {"windows": int(rest.sum()), "recordings": recordings(rest)}} if rest.any() else {})
