"""What an encoder looks at: the elements of a channel, or its angles and delays; both parts, or their level.

The array lies on one axis and the subcarriers are equidistant, so a DFT over the antennas sorts the paths by angle and
an inverse DFT over the subcarriers by delay. Power is kept and nothing is lost.
"""

from __future__ import annotations

import torch
from torch import Tensor

OVERSAMPLED = 2
"""Angles per antenna: from the magnitudes at twice as many angles as antennas the covariance of the array follows; from
those at as many it does not."""
FLOOR_DB = -40.0
"""Lowest level told apart, relative to the mean power of a sample."""
SPREAD_DB = 20.0
"""Decibels that become one unit."""


def angle_delay(batch: Tensor) -> Tensor:
    """Angles and delays of channels: (B, ..., M, K, 2) antennas, subcarriers -> (B, ..., 2 M, K, 2) float32.

    Broadside is the row in the middle, delay zero the first column. Power is kept: it is an isometry.
    """
    channels = torch.view_as_complex(batch.contiguous())
    angles = torch.fft.fft(channels, n=bins(batch.shape[-3]), dim=-2, norm="ortho")
    return torch.view_as_real(torch.fft.fftshift(torch.fft.ifft(angles, dim=-1, norm="ortho"), dim=-2))


def elements(grid: Tensor) -> Tensor:
    """Inverse of `angle_delay`; of what is no image of a channel, the nearest channel."""
    angles = torch.fft.fft(torch.fft.ifftshift(torch.view_as_complex(grid.contiguous()), dim=-2), dim=-1, norm="ortho")
    channels = torch.fft.ifft(angles, dim=-2, norm="ortho")
    return torch.view_as_real(channels[..., : grid.shape[-3] // OVERSAMPLED, :].contiguous())


def bins(antennas: int) -> int:
    """Angles of so many antennas."""
    return OVERSAMPLED * antennas


def log_magnitude(images: Tensor) -> Tensor:
    """Level of complex numbers: (B, 2 C, rows, columns), parts alternating -> (B, C, rows, columns).

    10 log10 |h|^2 over the sample's mean power, not below `FLOOR_DB`, shifted and scaled: the floor is -1, the mean 1.
    """
    power = images.reshape(len(images), -1, 2, *images.shape[2:]).square().sum(2)
    mean = power.mean((1, 2, 3), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)
    level = 10 * (power / mean).clamp_min(10 ** (FLOOR_DB / 10)).log10()
    scaled: Tensor = (level + SPREAD_DB) / SPREAD_DB
    return scaled
