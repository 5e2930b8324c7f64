"""Guesses the type of headerless samples from the statistics of their bytes, and checks what was guessed or named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import sample_type
from wfm_datasets.iq.recording import Recording, open_windows

PROBE_BYTES = 1 << 20
"""Bytes from the start of the file that are looked at."""
MIN_MARGIN = 0.25
"""Least lead of the best type over the next one."""
LARGEST = 1e6
"""No receiver writes larger numbers; bytes of another type read as floating point do."""
SYMMETRIC = 0.9999
"""Correlation of the two halves of the spectrum above which samples are real numbers; I/Q stays below 0.9994."""


@dataclass(frozen=True)
class Guess:
    """A sample type and how sure it is."""

    datatype: str
    """SigMF name."""
    margin: float
    """Lead over the next type, both between 0 and 1."""
    second: str
    """The next type."""


def guess(head: bytes) -> Guess | None:
    """The type of the samples that start with these bytes; None for fewer than 64 bytes.

    Floating point is known by finite numbers of sensible size, 16 bits by a high byte that varies less than the low
    one, 8 bits by bytes around 0 or 128 that are alike at even and odd places.
    """
    data = np.frombuffer(head[: len(head) // 16 * 16], np.uint8)
    if data.size < 64:
        return None
    scores = sorted(_scores(data).items(), key=lambda item: -item[1])
    (best, first), (second, next_best) = scores[:2]
    return Guess(best, float(first - next_best), second)


def _scores(data: NDArray[np.uint8]) -> dict[str, float]:
    even, odd = _entropy(data[0::2]), _entropy(data[1::2])
    share = np.bincount(data, minlength=256) / data.size
    middle, ends = float(share[96:160].sum()), float(share[:32].sum() + share[224:].sum())
    alike = 1 - min(1.0, abs(even - odd))
    return {
        "cf32_le": _floating(data.view("<f4")),
        "cf32_be": _floating(data.view(">f4")),
        "cf64_le": _floating(data.view("<f8")),
        "ci16_le": _integer(even, odd, data[1::2]),
        "ci16_be": _integer(odd, even, data[0::2]),
        "cu8": alike * middle / (middle + ends + 1e-9) * max(0.0, 1 - abs(float(data.mean()) - 127.5) / 24),
        "ci8": alike * ends / (middle + ends + 1e-9) * max(0.0, 1 - abs(float(data.view(np.int8).mean())) / 24),
    }


def _entropy(values: NDArray[np.uint8]) -> float:
    share = np.bincount(values, minlength=256) / values.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _floating(values: NDArray[Any]) -> float:
    zero = values == 0
    with np.errstate(all="ignore"):
        size = np.abs(values)
        sensible = np.isfinite(values) & (zero | ((size > 1e-9) & (size < 1e7)))
        large = size[sensible & ~zero]
        spread = float(np.log2(large).std()) if large.size else 99.0
    share = float(sensible.mean())
    if share <= 0.98:
        return 0.2 * share
    return share * (1.0 if spread < 6 else 0.4) * (0.5 if zero.mean() > 0.95 else 1.0)


def _integer(low: float, high: float, bytes_: NDArray[np.uint8]) -> float:
    """High bytes of small numbers gather at 0x00 and 0xff, low bytes are nearly uniform."""
    if low < high:
        return 0.0
    near = float(((bytes_ < 8) | (bytes_ >= 0xF8)).mean())
    return min(1.0, (low - high) / 3 + 0.35) * (0.6 + 0.4 * near)


def problem(samples: NDArray[np.complex64]) -> str | None:
    """Why samples cannot be I/Q: real numbers in disguise, sizes that no receiver writes. (channels, T), scale 1."""
    largest = float(np.abs(samples).max(initial=0.0))
    if largest > LARGEST:
        return f"holds numbers up to {largest:.1e}, which no receiver writes"
    for channel in samples:
        if channel.size >= 64 and np.ptp(channel.real) > 0:
            if np.array_equal(channel.real, channel.imag):
                return "both parts are equal: audio or a real signal in two tracks, not I/Q"
            symmetry = spectral_symmetry(channel)
            if symmetry > SYMMETRIC and np.any(channel.imag):
                return f"its spectrum is symmetric (correlation {symmetry:.6f}): audio or a real signal, not I/Q"
    return None


def spectral_symmetry(samples: NDArray[np.complex64], nfft: int = 256) -> float:
    """Correlation between the log mean spectrum at +f and -f: 1 for real signals."""
    count = samples.size // nfft
    if count < 8:
        return 0.0
    frames = samples[: count * nfft].reshape(count, nfft) * np.hanning(nfft).astype(np.float32)
    power = np.mean(np.abs(np.fft.fft(frames, axis=1)) ** 2, axis=0)
    level = np.log(power + 1e-20)
    up, down = level[1 : nfft // 2], level[:0:-1][: nfft // 2 - 1]
    if np.std(up) < 1e-9 or np.std(down) < 1e-9:
        return 0.0
    return float(np.corrcoef(up, down)[0, 1])


def remarks(samples: NDArray[np.complex64]) -> list[str]:
    """What is worth saying of the first samples: nothing in them, always the same value, counts of a converter."""
    told = []
    if samples.size and not np.any(samples):
        told.append("the first samples are all zero")
    elif samples.size and np.all(samples == samples.flat[0]):
        told.append("the first samples are constant")
    if float(np.abs(samples).max(initial=0.0)) > 16:
        told.append("amplitudes are counts, not parts of full scale: levels in dBFS are relative")
    return told


def examine(recording: Recording, *, certain: bool, read_as: str = "") -> Recording:
    """The recording with remarks on its first samples.

    Args:
        recording: As a reader described it.
        certain: The file says that it holds I/Q, so that a symmetric spectrum is no reason to refuse it.
        read_as: Type and where it comes from, for the error.

    Raises:
        InputError: the first samples cannot be I/Q, or are not finite.
    """
    count = min(recording.samples, max(1, PROBE_BYTES // (8 * recording.channels)))
    examples = np.arange(min(recording.examples, max(1, PROBE_BYTES // (8 * recording.channels * count))))
    read = open_windows(recording)
    try:
        first = read(examples, np.zeros(len(examples), np.int64), count)
    except InputError as error:
        raise InputError(f"{error.message}{read_as}", error.hint) from None
    wrong = None if certain else problem(first[0])
    if wrong:
        raise InputError(f"{recording.path}: {wrong}{read_as}", "name the sample type with --dtype, or leave it out")
    notes = (*recording.notes, *remarks(first))
    return replace(recording, notes=notes) if len(notes) > len(recording.notes) else recording


def disagreement(head: bytes, datatype: str) -> str | None:
    """A note where the bytes clearly look like another type than the one that was named."""
    made = guess(head)
    if made is None or made.margin < MIN_MARGIN or made.datatype == datatype:
        return None
    named, seen = sample_type(datatype), sample_type(made.datatype)
    if (named.kind, named.bits) == (seen.kind, seen.bits):
        return None
    return f"the bytes look like {made.datatype} (margin {made.margin:.2f}), not {datatype}"
