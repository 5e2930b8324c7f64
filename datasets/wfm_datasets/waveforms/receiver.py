"""From an arriving signal to a recording: channel filter, noise, gain control, converter.

No part of the spectrum may tell the signal-to-noise ratio by itself. In a recording of white noise, the guard bands
hold the noise alone and the occupied band the sum; their ratio is a thermometer that every linear classifier reads,
and it survives any choice of gain. Here

- the noise is drawn with the mean spectrum of the transmitted waveform (rectangular for OFDM with its empty carrier in
  the middle, root raised cosine for pulses), so signal and noise keep one ratio at every frequency;
- the channel filter ends where the occupied band ends, half a carrier beyond the outermost one. It takes the skirts of
  OFDM with it, which come in bursts at the edges of symbols, as those of noise do not;
- the gain control brings the *sum* to a level drawn without regard to the ratio, so no absolute level tells it;
- what is left between the bands is converter noise at a fixed distance below the sum.

What remains is what a receiver may use: known symbols and empty carriers inside the band (training fields, pilots,
control regions), the cyclic prefix, the finite alphabet of the symbols, and how deep fades are filled with noise. The
gain written beside a recording, undone, gives the power of the sum back, which grows with the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wfm_cli.core.recipe.waveforms import Receiver
from wfm_datasets.waveforms.signal import Complex, Spectrum

Number = TypeVar("Number", np.float32, np.complex64)

PASSBAND = 0.9
"""Share of the sample rate that the channel filter lets through."""
PEAK = 0.99
"""Largest magnitude of a part of a sample, of full scale."""


@dataclass(frozen=True)
class Received:
    """A recording before it is written."""

    samples: Complex
    """(L,) full scale 1."""
    gain_db: float
    """From the signal with unit mean power, before noise, to the recording."""
    signal: Complex
    """The part of `samples` that is signal, (L,)."""
    limited: bool
    """Whether the gain was lowered because a peak would have been clipped."""


def resampled(spectrum: Complex, size: int) -> Complex:
    """The DFT of the same stretch of signal at `size` samples: frequencies cut off beyond the channel filter, or added.

    Args:
        spectrum: (N,) in the order of the DFT.
        size: Samples of the recording over the same time.

    Returns:
        (size,) complex64, the mean power of what is left unchanged.
    """
    made = place(spectrum, size)
    made *= np.float32(size / len(spectrum))
    return made


def place(values: NDArray[Number], size: int) -> NDArray[Number]:
    """Values by frequency (N,) on a grid of `size` frequencies, nothing outside the channel filter."""
    made: NDArray[Number] = np.zeros(size, values.dtype)
    half = min((len(values) - 1) // 2, int(PASSBAND * size / 2))
    made[: half + 1] = values[: half + 1]
    made[size - half :] = values[len(values) - half :]
    return made


def passband(size: int, rate_hz: float, width_hz: tuple[float, float]) -> Spectrum:
    """The channel filter of a signal in this band, (size,): 1 within, 0 beyond."""
    frequency = fft.fftfreq(size, 1 / rate_hz)
    inside = (frequency >= width_hz[0]) & (frequency <= width_hz[1]) & (np.abs(frequency) <= PASSBAND / 2 * rate_hz)
    made: Spectrum = inside.astype(np.float32)
    return made


def receive(
    rng: np.random.Generator,
    spectrum: Complex,
    shape: Spectrum,
    band: Spectrum,
    snr_db: float,
    block: Receiver,
    keep: slice,
) -> Received:
    """Add noise and level.

    Args:
        rng: Source of randomness.
        spectrum: DFT of the signal at the antenna, (N,), of any power.
        shape: Expected spectrum of the transmitted signal on the same frequencies, (N,).
        band: Channel filter on the same frequencies, (N,).
        snr_db: Ratio of the mean powers of signal and noise within `keep`.
        block: Receiver of the recipe.
        keep: The samples that are recorded.

    Returns:
        The recording; `snr_db` holds exactly for its signal and in expectation for its noise.
    """
    size = len(spectrum)
    signal = fft.ifft(spectrum * band)[keep]
    signal /= np.sqrt(_power(signal))
    weight = np.sqrt(shape * band) if block.noise == "matched" else np.ones(size, np.float32)
    noise = fft.ifft(white(rng, size) * weight)[keep]
    noise *= np.float32(np.sqrt(10 ** (-snr_db / 10) / np.mean(weight**2) * size))
    total = signal + noise
    floor = 10 ** (block.floor_db / 10) * (1 + 10 ** (-snr_db / 10))
    total += np.float32(np.sqrt(floor)) * white(rng, len(total))
    gain = 10 ** (rng.uniform(*block.level_dbfs) / 20) / np.sqrt(1 + 10 ** (-snr_db / 10))
    peak = float(np.abs(total.view(np.float32)).max())
    limited = bool(gain * peak > PEAK)
    gain = min(gain, PEAK / peak)
    total *= np.float32(gain)
    return Received(total, float(20 * np.log10(gain)), signal * np.float32(gain), limited)


def white(rng: np.random.Generator, size: int) -> Complex:
    """Circular Gaussian noise of unit power, (size,) complex64."""
    parts = rng.standard_normal(2 * size, np.float32)
    parts *= np.float32(0.5**0.5)
    return parts.view(np.complex64)


def _power(samples: Complex) -> np.float32:
    return np.float32(np.vdot(samples, samples).real / len(samples))
