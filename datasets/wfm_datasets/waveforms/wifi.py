"""Wi-Fi packets of IEEE 802.11-2020 clause 17 (OFDM PHY), one behind the other.

64 carriers 312.5 kHz apart at 20 MS/s (Table 17-5), of which -26 to 26 without 0 are used; pilots on -21, -7, 7, 21
(17.3.5.9) with the polarity sequence of 17.3.5.10; guard interval of 16 samples; a packet is the short training field
(160 samples, 17.3.3, equation 17-8), the long one (160 samples, equation 17-11), SIGNAL (BPSK, 17.3.4) and data.
Payload is random: neither scrambled, coded nor interleaved.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.waveforms import WifiGrid
from wfm_datasets.waveforms.constellations import payload
from wfm_datasets.waveforms.signal import Complex, Grid, Signal, modulate, ofdm_spectrum

NFFT, PREFIX, TRAINING = 64, 16, 96
"""A training field is one symbol behind 96 samples of its own repetition: 10 x 16, and 32 + 2 x 64 samples."""
CARRIERS = np.concatenate([np.arange(-26, 0), np.arange(1, 27)])
PILOTS = np.flatnonzero(np.isin(CARRIERS, (-21, -7, 7, 21)))
DATA = np.flatnonzero(~np.isin(CARRIERS, (-21, -7, 7, 21)))
PILOT_SIGNS = np.array([1, 1, 1, -1], np.float32)
_SHORT = {-24: 1, -20: -1, -16: 1, -12: -1, -8: -1, -4: 1, 4: -1, 8: -1, 12: 1, 16: 1, 20: 1, 24: 1}
"""Signs of (1 + j) in equation 17-8."""
_LONG = "++--++-+-++++++--++-+-+++++--++-+-+-----++--+-+-++++"
"""Equation 17-11 without carrier 0."""


def grid(block: WifiGrid) -> Grid:
    """The numerology at the given clock."""
    return Grid(312.5e3 / block.clock, NFFT, CARRIERS)


@lru_cache
def training() -> Complex:
    """Short and long training symbol, (2, 52)."""
    made = np.zeros((2, len(CARRIERS)), np.complex64)
    for carrier, sign in _SHORT.items():
        made[0, np.searchsorted(CARRIERS, carrier)] = np.sqrt(13 / 6) * sign * (1 + 1j)
    made[1] = [1 if sign == "+" else -1 for sign in _LONG]
    return made


@lru_cache
def polarity() -> NDArray[np.float32]:
    """The 127 pilot polarities: the scrambler x^7 + x^4 + 1 started with ones, 1 as -1."""
    state, made = [1] * 7, []
    for _ in range(127):
        bit = state[6] ^ state[3]
        state = [bit, *state[:-1]]
        made.append(1 - 2 * bit)
    return np.array(made, np.float32)


def packets(
    rng: np.random.Generator, modulation: str, lengths: NDArray[np.int64], pause: int = 0
) -> tuple[Complex, NDArray[np.int64]]:
    """What the carriers of packets with so many data symbols carry, (rows, 52), and the prefix of every row.

    A packet is followed by `pause` empty rows; the others make up for their power.
    """
    rows = lengths + 3 + pause
    first = np.cumsum(rows) - rows
    total = int(rows.sum())
    values = np.zeros((total, len(CARRIERS)), np.complex64)
    values[:, DATA] = payload(rng, modulation, "ieee", (total, len(DATA)))
    values[np.ix_(first + 2, DATA)] = payload(rng, "bpsk", "ieee", (len(first), len(DATA)))
    number = np.arange(total) - np.repeat(first, rows) - 2  # SIGNAL is symbol 0 of the polarity sequence
    values[:, PILOTS] = polarity()[number % 127, None] * PILOT_SIGNS
    values[first], values[first + 1] = training()
    values[number > np.repeat(lengths, rows)] = 0
    values *= np.float32(np.sqrt((size(lengths, pause) / size(lengths, 0)).mean()))
    prefix = np.full(total, PREFIX)
    prefix[first] = prefix[first + 1] = TRAINING
    return values, prefix


def size(lengths: NDArray[np.int64], pause: int) -> NDArray[np.int64]:
    """Samples of packets with so many data symbols, and of the pause behind."""
    return 2 * (NFFT + TRAINING) + (lengths + 1 + pause) * (NFFT + PREFIX)


def wifi(rng: np.random.Generator, block: WifiGrid, modulation: str, milliseconds: int) -> Signal:
    """So many ms of packets of random length, begun at a random place of the first one."""
    numerology = grid(block)
    samples = round(numerology.rate_hz * milliseconds * 1e-3)
    low, high = block.symbols
    lengths = rng.integers(low, high + 1, 2 + samples // int(size(np.array([low]), block.pause)[0]))
    sizes = size(lengths, block.pause)
    start = int(rng.integers(sizes[0]))
    lengths = lengths[: 1 + int(np.searchsorted(np.cumsum(sizes), start + samples))]
    values, prefix = packets(rng, modulation, lengths, block.pause)
    stream = modulate(values, numerology, prefix)
    shape = ofdm_spectrum(numerology, PREFIX, samples)
    return Signal(stream[start : start + samples], shape, numerology.width_hz)
