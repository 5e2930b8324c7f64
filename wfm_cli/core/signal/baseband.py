"""Hand-made features of complex baseband samples and of pulses: what one computes without learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
BINS = 64
"""Frequency bins of the averaged spectrum."""
_FLOOR = 1e-12
"""Powers below this share of the largest one count as this share (-120 dB)."""


def iq_features(samples: NDArray[Any]) -> Features:
    """Shape of the spectrum and statistics of the envelope and the phase.

    Args:
        samples: (B, antenna, time) complex.

    Returns:
        (B, 72) float32: power spectrum of consecutive segments of 64 samples, averaged over segments and antennas, in
        dB of the strongest bin, frequencies ascending; then, averaged over antennas: log power (dB), E|z|^4/P^2,
        |E z^2|/P, |E z^4|/P^2, |E z|^2/P, deviation over mean of the envelope, and real and imaginary part of
        E z[t+1] z*[t] / P.
    """
    z = np.asarray(samples, np.complex64)
    length = z.shape[2]
    segments = z[..., : length - length % BINS] if length >= BINS else np.pad(z, ((0, 0), (0, 0), (0, BINS - length)))
    blocks = segments.reshape(*z.shape[:2], -1, BINS)
    spectrum = np.fft.fftshift(np.square(np.abs(np.fft.fft(blocks, axis=3))).mean((1, 2)), axes=1)
    power = np.square(np.abs(z)).mean(2)  # (B, A)
    scale = np.maximum(power, np.finfo(np.float32).tiny)
    unit = z / np.sqrt(scale)[..., None]
    envelope = np.abs(unit)
    step = (unit[..., 1:] * unit[..., :-1].conj()).mean(2)
    statistics = [
        10 * np.log10(scale),
        (envelope**4).mean(2),
        np.abs((unit**2).mean(2)),
        np.abs((unit**4).mean(2)),
        np.square(np.abs(unit.mean(2))),
        envelope.std(2) / np.maximum(envelope.mean(2), np.finfo(np.float32).tiny),
        step.real,
        step.imag,
    ]
    made: Features = np.concatenate([_decibels(spectrum), np.stack(statistics, 2).mean(1)], axis=1).astype(np.float32)
    return made


def pulse_features(responses: NDArray[Any]) -> Features:
    """Energy and delay of the pulse at every anchor.

    Args:
        responses: (B, anchor, delay) complex impulse responses.

    Returns:
        (B, 4 anchors) float32: power in dB (at least -120 dB of the strongest anchor), tap of the largest magnitude,
        mean tap and its deviation, weighted by power; taps of an anchor without power are 0.
    """
    power = np.square(np.abs(np.asarray(responses, np.complex64)))
    energy = power.sum(2)  # (B, A)
    share = power / np.maximum(energy, np.finfo(np.float32).tiny)[..., None]
    tap = np.arange(power.shape[2], dtype=np.float32)
    mean = share @ tap
    spread = np.sqrt(np.maximum(share @ tap**2 - mean**2, 0))
    level = 10 * np.log10(np.maximum(energy.max(1), np.finfo(np.float32).tiny))[:, None]
    features = [_decibels(energy) + level, power.argmax(2).astype(np.float32), mean, spread]
    return np.stack(features, 2).reshape(len(power), -1).astype(np.float32)


def _decibels(power: NDArray[Any]) -> NDArray[Any]:
    """(B, n) powers in dB of the largest one, floored."""
    largest = np.maximum(power.max(1, keepdims=True), np.finfo(np.float32).tiny)
    decibels: NDArray[Any] = 10 * np.log10(np.maximum(power / largest, _FLOOR))
    return decibels
