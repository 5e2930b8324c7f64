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

_FINE = 256


def rotations(turns: NDArray[np.float64], start: int, count: int, gain: Complex | None = None) -> Complex:
    """gain exp(2 pi i turns k), k = start ... start + count - 1: (P, count) complex64, phases reduced in double."""
    coarse = start + _FINE * np.arange(-(-count // _FINE))
    outer, inner = _turn(turns[:, None] * coarse), _turn(turns[:, None] * np.arange(_FINE))
    if gain is not None:
        outer *= gain[:, None]
    made: Complex = (outer[:, :, None] * inner[:, None, :]).reshape(len(turns), -1)[:, :count]
    return made


def _turn(turns: NDArray[np.float64]) -> Complex:
    made: Complex = np.exp(2j * np.pi * (turns % 1.0)).astype(np.complex64)
    return made


def delays(turns: NDArray[np.float64], size: int, gain: Complex | None = None) -> Complex:
    """gain exp(-2 pi i turns k) over the frequencies k of a DFT of `size` points in its order, (P, size)."""
    upper = rotations(-turns, 0, (size + 1) // 2, gain)
    return np.concatenate([upper, rotations(-turns, -(size // 2), size // 2, gain)], axis=1)


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
    there = gain != 0
    gain, delay_s, doppler_hz = gain[there], delay_s[there], doppler_hz[there]
    size = len(spectrum)
    turns = delay_s * (rate_hz / size)
    # Sums over paths are plain additions: a matrix product may add in another order with another number of threads.
    if not doppler_hz.any():
        still: Complex = spectrum * delays(turns, size, gain).sum(axis=0)
        return still
    paths = delays(turns, size)
    paths *= spectrum
    paths = fft.ifft(paths, axis=1, overwrite_x=True)
    paths *= rotations(doppler_hz / rate_hz, 0, size, gain)
    moved: Complex = fft.fft(paths.sum(axis=0), overwrite_x=True)
    return moved
