"""A signal through moving paths:

    y(t) = sum_p a_p exp(2 pi i f_p t) x(t - tau_p)

Delays are applied to the spectrum, so they are exact for a band-limited signal; phases advance with every sample.
Exponentials along a regular grid are products of a coarse and a fine power, about 2 sqrt(n) evaluations in place of n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wfm_datasets.waveforms.signal import Complex

BLOCK_BYTES = 2 << 20
"""Paths are taken in groups of about this size, which stay in the processor's cache."""
_FINE = 256


def rotate(
    source: Complex, turns: NDArray[np.float64], start: int, out: Complex, gain: Complex | None = None
) -> Complex:
    """out[p, n] = gain[p] source[(p,) n] exp(2 pi i turns[p] (start + n)), phases reduced in double precision.

    Args:
        source: (N,), or (P, N), which may be `out` itself.
        turns: Turns from one value to the next, (P,).
        start: Number of the first value.
        out: (P, N) complex64.
        gain: (P,), 1 if left out.
    """
    size = out.shape[1]
    coarse = _turn(turns[:, None] * (start + _FINE * np.arange(-(-size // _FINE))))
    fine = _turn(turns[:, None] * np.arange(_FINE))
    if gain is not None:
        coarse *= gain[:, None]
    whole = size // _FINE * _FINE
    blocks = out[:, :whole].reshape(len(out), -1, _FINE)
    np.multiply(source[..., :whole].reshape(*source.shape[:-1], -1, _FINE), coarse[:, : whole // _FINE, None], blocks)
    blocks *= fine[:, None, :]
    np.multiply(source[..., whole:], coarse[:, -1:] * fine[:, : size - whole], out[:, whole:])
    return out


def _turn(turns: NDArray[np.float64]) -> Complex:
    made: Complex = np.exp(2j * np.pi * (turns % 1.0)).astype(np.complex64)
    return made


def delay(spectrum: Complex, turns: NDArray[np.float64], out: Complex, gain: Complex | None = None) -> Complex:
    """out[p, k] = gain[p] spectrum[k] exp(-2 pi i turns[p] k) over the frequencies k of a DFT in its order, (P, N)."""
    half = (len(spectrum) + 1) // 2
    rotate(spectrum[:half], -turns, 0, out[:, :half], gain)
    rotate(spectrum[half:], -turns, half - len(spectrum), out[:, half:], gain)
    return out


def propagate(
    spectrum: Complex,
    rate_hz: float,
    gain: Complex,
    delay_s: NDArray[np.float64],
    doppler_hz: NDArray[np.float64],
) -> Complex:
    """The spectrum of the received signal.

    Args:
        spectrum: DFT of the transmitted signal, (N,), in the order of the DFT. It is periodic: what a delay pushes
            out at the end comes in at the beginning.
        rate_hz: Samples per second.
        gain: Complex gains of the paths at the first sample, (P,).
        delay_s: Their delays, (P,).
        doppler_hz: Their frequency shifts, (P,).

    Returns:
        (N,) complex64.
    """
    paths = np.flatnonzero(gain)
    turns, shift = delay_s * (rate_hz / len(spectrum)), doppler_hz / rate_hz
    moving = bool(doppler_hz[paths].any())
    step = max(4, BLOCK_BYTES // spectrum.nbytes)  # the transforms of several paths are vectorised together
    scratch = np.empty((min(step, len(paths)), len(spectrum)), np.complex64)
    total = np.zeros_like(spectrum)
    # Sums over paths are plain additions: a matrix product may add in another order with another number of threads.
    for low in range(0, len(paths), step):
        group = paths[low : low + step]
        part = scratch[: len(group)]
        if moving:
            delay(spectrum, turns[group], part)
            part = fft.ifft(part, axis=1, overwrite_x=True)
            rotate(part, shift[group], 0, part, gain[group])
        else:
            delay(spectrum, turns[group], part, gain[group])
        total += part.sum(axis=0)
    made: Complex = fft.fft(total, overwrite_x=True) if moving else total
    return made
