"""Pulse-shaped symbols: x[n] = sum_i s[i] g[n - i N_os] with root-raised-cosine pulses g.

The pulse is applied as its exact spectrum over the whole stretch, whose ends the receiver cuts off, so that it is not
truncated: a matched second one leaves no interference between symbols.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wfm_datasets.waveforms.constellations import Family, payload
from wfm_datasets.waveforms.signal import Complex, Signal


def root_raised_cosine(frequency: NDArray[np.float64], symbol_rate: float, rolloff: float) -> NDArray[np.float64]:
    """Amplitude spectrum of the pulse, 1 in the middle, 0 beyond (1 + rolloff) / 2 symbol rates."""
    beyond = (np.abs(frequency) / symbol_rate - (1 - rolloff) / 2) / rolloff
    amplitude: NDArray[np.float64] = np.cos(np.pi / 2 * np.clip(beyond, 0, 1))
    return amplitude


def shape_pulses(symbols: Complex, oversampling: int, rolloff: float) -> Complex:
    """Symbols through the pulse at so many samples each, circular, of the mean power of the symbols."""
    total = len(symbols) * oversampling
    spectrum = np.tile(fft.fft(symbols), oversampling)
    pulse = root_raised_cosine(fft.fftfreq(total, 1 / oversampling), 1.0, rolloff)
    spectrum *= (oversampling * pulse).astype(np.float32)
    made: Complex = fft.ifft(spectrum, overwrite_x=True)
    return made


def single_carrier(
    rng: np.random.Generator,
    width_hz: float,
    rolloff: float,
    oversampling: int,
    modulation: str,
    family: Family,
    milliseconds: int,
) -> Signal:
    """So many ms of random symbols in a band `width_hz` wide."""
    symbols = int(width_hz / (1 + rolloff) * milliseconds * 1e-3)
    samples = shape_pulses(payload(rng, modulation, family, (symbols,)), oversampling, rolloff)
    frequency = fft.fftfreq(len(samples), milliseconds * 1e-3 / len(samples))
    pulse = root_raised_cosine(frequency, symbols / (milliseconds * 1e-3), rolloff)
    return Signal(samples, (pulse**2).astype(np.float32), (-width_hz / 2, width_hz / 2))
