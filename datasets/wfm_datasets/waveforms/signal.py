"""What every generator hands on: samples of unit mean power, and the mean spectrum they were drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Complex = NDArray[np.complex64]
Spectrum = NDArray[np.float32]


@dataclass(frozen=True)
class Signal:
    """A stretch of a random signal."""

    samples: Complex
    """(N,) of unit expected power."""
    shape: Spectrum
    """Expected power spectrum in the order of the DFT of `samples`, (N,), in any unit."""
    width_hz: tuple[float, float]
    """Lower and upper edge of the occupied band, Hz."""


@dataclass(frozen=True)
class Grid:
    """An OFDM numerology."""

    spacing_hz: float
    """Distance of the carriers."""
    nfft: int
    """Carriers with the unused ones: samples of a symbol without its prefix."""
    used: NDArray[np.int64]
    """Carriers that carry something, counted from zero frequency, ascending."""

    @property
    def rate_hz(self) -> float:
        """Samples per second."""
        return self.spacing_hz * self.nfft

    @property
    def width_hz(self) -> tuple[float, float]:
        """Edges half a carrier beyond the outermost ones."""
        return (float(self.used[0]) - 0.5) * self.spacing_hz, (float(self.used[-1]) + 0.5) * self.spacing_hz


def modulate(values: Complex, grid: Grid, prefix: NDArray[np.int64]) -> Complex:
    """OFDM symbols one behind the other, each with its cyclic prefix.

    Args:
        values: What the used carriers carry, (symbols, used); of unit mean power for a signal of unit power.
        grid: Numerology.
        prefix: Samples before each symbol, (symbols,); longer than a symbol repeats it.

    Returns:
        (sum of prefixes + symbols x nfft,) complex64.
    """
    bins = np.zeros((len(values), grid.nfft), np.complex64)
    bins[:, grid.used % grid.nfft] = values
    symbols: Complex = fft.ifft(bins, axis=1, overwrite_x=True)
    symbols *= np.float32(grid.nfft / np.sqrt(len(grid.used)))
    length = prefix + grid.nfft
    first = np.cumsum(length) - length + prefix  # where a symbol itself begins
    position = np.arange(int(length.sum())) - np.repeat(first, length)
    position %= grid.nfft
    position += np.repeat(np.arange(len(values)) * grid.nfft, length)
    stream: Complex = symbols.ravel()[position]
    return stream


def ofdm_spectrum(grid: Grid, prefix: float, samples: int) -> Spectrum:
    """Expected power spectrum of independent symbols, (samples,): the transform of their autocorrelation.

    The products of values `m` samples apart are non-zero within a symbol alone, which leaves
    (1 - |m| / L) sum_k exp(2 pi i k m / nfft) with the symbol length L.
    """
    length = grid.nfft + prefix
    lag = np.arange(-int(length), int(length) + 1)
    comb = np.zeros(grid.nfft)
    comb[grid.used % grid.nfft] = 1.0
    correlation = np.zeros(samples, np.complex128)
    np.add.at(correlation, lag % samples, (1 - np.abs(lag) / length) * fft.ifft(comb)[lag % grid.nfft])
    shape: Spectrum = np.maximum(fft.fft(correlation).real, 0.0).astype(np.float32)
    return shape
