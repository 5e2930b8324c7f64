"""Inference shortcut for attention heads that have collapsed to the plain mean over tokens.

Weight decay can drive the query or key projection of a head to zero (in the published LWM v1.0 weights 120 of 144
heads). Its logits are then equal for all keys and the head returns the mean of the values, so that

    out(head) = W_O (mean_j (W_V x_j + b_V)) = (W_O W_V) mean_j x_j + W_O b_V

costs one small product per sample instead of an attention matrix. Which heads these are is proven from the weights and
a bound on the input, never guessed from data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wfm_cli.core.models.blocks.attention import SelfAttention, attend

TOLERANCE = 2.0**-24
"""Largest spread of a head's logits over the keys that counts as none: half a unit in the last place of float32, so
that every attention weight is 1/N to float32 rounding."""


@dataclass(frozen=True)
class HeadPlan:
    """Weights of one attention layer rearranged into L live heads and the sum of all collapsed ones."""

    qkv_weight: Tensor
    """(3 * L * d, D)."""
    qkv_bias: Tensor
    """(3 * L * d,)."""
    out_weight: Tensor
    """(D, L * d)."""
    mean_weight: Tensor
    """(D, D), what the collapsed heads make of the mean token."""
    bias: Tensor
    """(D,), output bias included."""
    live: int
    """Number of live heads L."""

    def apply(self, x: Tensor, backend: str) -> Tensor:
        """The layer's output, (B, N, D) -> (B, N, D)."""
        shared = F.linear(x.mean(dim=1, keepdim=True), self.mean_weight, self.bias)
        if not self.live:
            return shared.expand_as(x)
        depth = self.out_weight.shape[1] // self.live
        qkv = F.linear(x, self.qkv_weight, self.qkv_bias).view(*x.shape[:2], 3, self.live, depth)
        return F.linear(attend(qkv, backend), self.out_weight) + shared


def logit_spread(layer: SelfAttention, radius: float) -> Tensor:
    """Bound of |logit(i, j) - logit(i, k)| for every head, over all inputs with token norms up to `radius`.

    With q_i = W_Q x_i + b_Q the difference is q_i . W_K (x_j - x_k) / sqrt(d); the key bias drops out.

    Returns:
        (H,) float64.
    """
    query, key, _ = _per_head(layer.qkv.weight.detach().double(), layer)
    bias = layer.qkv.bias.detach().double().view(3, layer.heads, layer.head_dim)[0]
    query_norm = torch.linalg.vector_norm(query, dim=(1, 2)) * radius + torch.linalg.vector_norm(bias, dim=1)
    factor = 2 * radius / math.sqrt(layer.head_dim)
    return torch.mul(query_norm, torch.linalg.vector_norm(key, dim=(1, 2))) * factor


def plan_heads(layer: SelfAttention, radius: float) -> HeadPlan | None:
    """The plan of a layer whose input tokens have norms up to `radius`; None when no head has collapsed."""
    collapsed = logit_spread(layer, radius) <= TOLERANCE
    if not bool(collapsed.any()):
        return None
    dtype = layer.qkv.weight.dtype
    weight = torch.stack(_per_head(layer.qkv.weight.detach().double(), layer))
    bias = layer.qkv.bias.detach().double().view(3, layer.heads, layer.head_dim)
    out = layer.out.weight.detach().double().view(-1, layer.heads, layer.head_dim)
    live = ~collapsed
    flat = out[:, collapsed].flatten(1)
    return HeadPlan(
        qkv_weight=weight[:, live].flatten(0, 2).to(dtype),
        qkv_bias=bias[:, live].flatten().to(dtype),
        out_weight=out[:, live].flatten(1).to(dtype),
        mean_weight=(flat @ weight[2, collapsed].flatten(0, 1)).to(dtype),
        bias=(flat @ bias[2, collapsed].flatten() + layer.out.bias.detach().double()).to(dtype),
        live=int(live.sum()),
    )


def _per_head(weight: Tensor, layer: SelfAttention) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = weight.view(3, layer.heads, layer.head_dim, -1).unbind(0)
    return query, key, value
