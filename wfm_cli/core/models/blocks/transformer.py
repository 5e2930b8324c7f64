"""The pre-norm transformer block of ViT, and how its weights start."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.attention import SelfAttention
from wfm_cli.errors import InputError

EPSILON = 1e-6


class PreNormBlock(nn.Module):
    """x + attention(norm x), then x + mlp(norm x) with the exact GELU.

    Width 256 with an inner width of 1024 has 789,760 parameters.
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attention = SelfAttention(width, heads, width // heads)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = x + self.attention(self.norm1(x))
        mixed: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return mixed


def blocks(
    layers: int, width: int, heads: int, inner: int, where: str = "model", deviation: float | None = 0.02
) -> nn.ModuleList:
    """So many blocks with starting weights.

    They are truncated normal numbers, biases zero, and the two projections back into the residual stream of block l
    (from 1) are divided by sqrt(2 l), as in I-JEPA.

    Args:
        layers: number of blocks.
        width: D.
        heads: attention heads.
        inner: inner width of the perceptrons.
        where: recipe block named in errors.
        deviation: of the weights. 0.02, as in I-JEPA, makes a fresh encoder that hardly mixes its tokens, so that the
            first targets of a JEPA are simple ones. None takes Glorot's, which a narrow predictor needs: with 0.02
            hardly anything would pass from what it sees to what it predicts.

    Raises:
        InputError: the heads do not divide the width.
    """
    if width % heads:
        raise InputError(f"{where}.heads: {heads} heads do not divide width {width}", "choose a divisor of the width")
    made = [PreNormBlock(width, heads, inner) for _ in range(layers)]
    for depth, block in enumerate(made, 1):
        for linear in (block.attention.qkv, block.attention.out, block.fc1, block.fc2):
            start(linear, deviation)
        for linear in (block.attention.out, block.fc2):
            linear.weight.data.div_((2 * depth) ** 0.5)
    return nn.ModuleList(made)


def start(linear: nn.Linear, deviation: float | None = None) -> nn.Linear:
    """Truncated normal weights, by default of Glorot's deviation sqrt(2 / (in + out)), and a zero bias."""
    size = linear.in_features + linear.out_features
    nn.init.trunc_normal_(linear.weight, std=deviation or (2 / size) ** 0.5)
    nn.init.zeros_(linear.bias)
    return linear
