"""Normalisation layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StdNorm(nn.Module):
    """The LWM family's layer norm: alpha * (x - mean) / (std + 1e-6) + bias over the last axis.

    Two things set it apart from `nn.LayerNorm`: the standard deviation is the unbiased one, and epsilon is added to the
    deviation instead of the variance. Both are reproduced with the fused kernel: it normalises with the biased
    deviation, and a factor per token, s_biased / (s_unbiased + 1e-6), makes up for the rest. The factor takes no part
    in the gradient, which is off by at most epsilon / std in relative terms.
    """

    epsilon = 1e-6

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., D); the result is float32 even for bfloat16 input."""
        width = x.shape[-1]
        floor = self.epsilon**2  # keeps the fused kernel finite; undone below
        scaled, _, inverse = torch.native_layer_norm(x.float(), (width,), self.alpha, None, floor)
        inverse = inverse.detach()
        unbiased = ((inverse**-2 - floor).clamp_min(0.0) * (width / (width - 1))).sqrt()
        return torch.addcmul(self.bias, scaled, 1.0 / (inverse * (unbiased + self.epsilon)))

    def radius(self) -> float:
        """Upper bound of the norm of an output token for any input; the normalised vector has at most sqrt(D - 1)."""
        alpha, bias = self.alpha.detach().double(), self.bias.detach().double()
        return float(alpha.abs().max()) * math.sqrt(alpha.numel() - 1) + float(bias.norm())
