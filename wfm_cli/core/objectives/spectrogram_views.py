"""Two views of a spectrogram that differ in what says nothing about the signal: channel, noise, and when it starts.

All draws are pure functions of (seed, step, view, sample id), and everything happens on the batch at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wfm_cli.core.masking import rng
from wfm_cli.core.recipe.objectives import SpectrogramViewsBlock

NUMBERS, NOISE = 40, 42
"""Streams of `rng`: the numbers that describe a view, and its noise; each view has its own."""
_NEPER = math.log(10.0) / 10.0
"""Natural logarithm of a power per decibel."""


def view(images: Tensor, ids: Tensor, seed: int, step: int, number: int, block: SpectrogramViewsBlock) -> Tensor:
    """One view of every sample.

    Args:
        images: (B, F, T) power in dB.
        ids: (B,) int64 sample ids.
        seed: seed of the run.
        step: optimiser step.
        number: which of the two views, 0 or 1.
        block: what may change.

    Returns:
        (B, F, T), a new tensor where anything changes.
    """
    tilt, size, cycles, phase, snr, late, offset = (
        rng.uniform(seed, step, ids, 7, NUMBERS + number).unsqueeze(-1).unbind(1)
    )
    bins, frames = images.shape[1:]
    if block.tilt_db or block.echo:
        place = torch.linspace(-0.5, 0.5, bins, device=images.device)
        gain = block.tilt_db * (2 * tilt - 1) * 2 * place + echo_db(
            block.echo * size, block.echo_cycles * cycles, 2 * math.pi * phase, place
        )
        images = images + gain.unsqueeze(2)
    if block.noise_db is not None:
        low, high = block.noise_db
        draws = rng.uniform(seed, step, ids, bins * frames, NOISE + number).view_as(images)
        images = noisy(images, (low + (high - low) * snr).unsqueeze(2), draws)
    if block.time_shift:
        reach = block.time_shift * frames
        shift = late * (reach + 1) if block.edges == "wrap" else (2 * late - 1) * (reach + 0.5)
        images = shifted(images, shift.squeeze(1), 2, block.edges)
    if block.frequency_shift:
        reach = block.frequency_shift * bins
        images = shifted(images, ((2 * offset - 1) * (reach + 0.5)).squeeze(1), 1, "wrap")
    return images


def echo_db(amplitude: Tensor, cycles: Tensor, phase: Tensor, place: Tensor) -> Tensor:
    """Gain in dB of a path and a later, weaker one, |1 + a exp(j (2 pi c f + phase))|^2, over frequency f.

    Args:
        amplitude: (B, 1), below one.
        cycles: (B, 1), delay of the second path in periods over the band.
        phase: (B, 1) rad.
        place: (F,) frequency in bands.

    Returns:
        (B, F).
    """
    wave = torch.cos(2 * math.pi * cycles * place + phase)
    return 10 * torch.log10(1 + amplitude.square() + 2 * amplitude * wave)


def noisy(images: Tensor, snr_db: Tensor, draws: Tensor) -> Tensor:
    """Add the power of complex white noise, which is exponentially distributed in every bin.

    Powers are added, that is, the phase between signal and noise is taken as unknown.

    Args:
        images: (B, F, T) power in dB.
        snr_db: (B, 1, 1), mean power of the sample over that of the noise.
        draws: (B, F, T) uniform numbers in [0, 1).
    """
    scaled = images * _NEPER
    level = scaled.flatten(1).logsumexp(1).view(-1, 1, 1) - math.log(images[0].numel())
    noise = level - snr_db * _NEPER + torch.log(-torch.log1p(-draws).clamp_max(-1e-12))
    return torch.logaddexp(scaled, noise) / _NEPER


def shifted(images: Tensor, shift: Tensor, axis: int, edges: str) -> Tensor:
    """Move every sample along an axis by its own whole number of steps: result[i] = images[i + floor(shift)].

    Args:
        images: (B, F, T).
        shift: (B,).
        axis: 1 or 2.
        edges: `wrap` or `reflect`.
    """
    size = images.shape[axis]
    place = torch.arange(size, device=images.device) + shift.floor().long().unsqueeze(1)
    if edges == "wrap":
        place = place.remainder(size)
    else:
        folded = place.remainder(max(2 * size - 2, 1))
        place = torch.where(folded < size, folded, 2 * size - 2 - folded)
    return images.gather(axis, place.unsqueeze(3 - axis).expand_as(images))
