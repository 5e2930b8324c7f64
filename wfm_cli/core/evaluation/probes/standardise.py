"""Standardisation with the statistics of the training draw alone."""

from __future__ import annotations

import torch
from torch import Tensor

CONSTANT = 1e-6
"""A feature whose deviation is below this share of its size is constant up to float32 rounding, and left out."""


def statistics_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and one over the standard deviation (0 for constant features) of each draw.

    Args:
        x: Training features (S, n, d).

    Returns:
        Two tensors (S, d) float64.
    """
    mean = x.mean(1, dtype=torch.float64)
    deviation = torch.stack([(draw.double() - m).square_().mean(0).sqrt() for draw, m in zip(x, mean, strict=True)])
    size = x.abs().amax(1).double()
    scale = torch.where(deviation > CONSTANT * size, 1 / deviation.clamp_min(1e-300), torch.zeros_like(deviation))
    return mean, scale
