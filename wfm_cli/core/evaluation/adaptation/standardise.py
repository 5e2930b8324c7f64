"""What networks of probes begin and end with: standardisation without parameters, a head that starts at zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FLAT = 1e-4
"""Deviations below this share of a feature's mean are not blown up to one."""


class Standardise(nn.Module):
    """Features of zero mean and unit deviation: over the batch while training, else over what `settle` was shown.

    Running averages would lag behind an encoder that moves; the statistics of the training draw itself do not.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        mean, scale = _statistics(x.flatten(0, -2)) if self.training else (self.mean, self.scale)
        return (x - mean) * scale

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Take the statistics of features (..., D)."""
        mean, scale = _statistics(x.flatten(0, -2))
        self.mean.copy_(mean)
        self.scale.copy_(scale)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(x, 0, correction=0)
    return mean, (deviation.square() + (_FLAT * mean).square() + 1e-12).rsqrt()


def zero_head(dim: int, columns: int) -> nn.Linear:
    """A linear layer whose weights and biases are zero."""
    head = nn.Linear(dim, columns)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
