"""Gray-mapped constellations of unit mean power.

The bits of a symbol are read most significant first. Two standards, two orders of the bits:

- 3GPP (TS 36.211 clause 7.1, TS 38.211 clause 5.1): bits in turn to I and Q, BPSK on the diagonal;
- IEEE 802.11-2020 clause 17.3.5.8 (and Table 21-16 for 256-QAM): the first half to I, the second to Q, BPSK on I.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["3gpp", "ieee"]
BITS = {"bpsk": 1, "qpsk": 2, "16qam": 4, "64qam": 6, "256qam": 8}
"""Bits of a symbol."""


@lru_cache
def constellation(modulation: str, family: Family) -> NDArray[np.complex64]:
    """The points, (2^bits,) complex64 of mean power 1: entry i is the point of the bits of i."""
    bits = BITS[modulation]
    word = np.arange(1 << bits)[:, None] >> np.arange(bits)[::-1] & 1  # (points, bits), most significant first
    if bits == 1:
        sign = 1 - 2 * word[:, 0] if family == "3gpp" else 2 * word[:, 0] - 1
        return np.asarray(sign * ((1 + 1j) / np.sqrt(2) if family == "3gpp" else 1), np.complex64)
    if family == "3gpp":
        point = _amplitude_3gpp(word[:, 0::2]) + 1j * _amplitude_3gpp(word[:, 1::2])
    else:
        point = _amplitude_ieee(word[:, : bits // 2]) + 1j * _amplitude_ieee(word[:, bits // 2 :])
    return np.asarray(point / np.sqrt(np.mean(np.abs(point) ** 2)), np.complex64)


def _amplitude_3gpp(word: NDArray[np.int64]) -> NDArray[np.int64]:
    """(1 - 2 b0)(4 - (1 - 2 b2)(2 - (1 - 2 b4))) and its like for other lengths: odd integers."""
    amplitude: NDArray[np.int64] = np.zeros(len(word), np.int64)
    for column in range(word.shape[1] - 1, -1, -1):
        amplitude = (1 - 2 * word[:, column]) * ((1 << (word.shape[1] - 1 - column)) - amplitude)
    return amplitude


def _amplitude_ieee(word: NDArray[np.int64]) -> NDArray[np.int64]:
    """Odd integers in the order of the reflected binary code: 00, 01, 11, 10 are -3, -1, 1, 3."""
    binary = np.bitwise_xor.accumulate(word, axis=1)
    weight = 1 << np.arange(word.shape[1])[::-1]
    amplitude: NDArray[np.int64] = 2 * (binary @ weight) - (1 << word.shape[1]) + 1
    return amplitude


def payload(rng: np.random.Generator, modulation: str, family: Family, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Random symbols, independent and equally likely."""
    points = constellation(modulation, family)
    drawn: NDArray[np.complex64] = points[rng.integers(0, len(points), shape, dtype=np.uint16)]
    return drawn
