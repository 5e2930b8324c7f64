"""Multi-head self-attention with one fused projection and a choice of exact kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks import native

BACKENDS = ("auto", "sdpa", "math", "native")
"""`auto` takes `native` where it applies, else `sdpa`."""

_CUDA_ALIGNMENT = 8


def attend(qkv: Tensor, backend: str = "auto") -> Tensor:
    """softmax(Q K^T / sqrt(d)) V for all heads, without a mask.

    On CPU everything that needs a gradient runs in float32: the bfloat16 backward of torch's CPU kernel is 2 to 5 times
    slower than float32. Without gradients the dtype of the input is kept.

    Args:
        qkv: (B, N, 3, H, d), queries, keys and values as the fused projection leaves them.
        backend: one of `BACKENDS`.

    Returns:
        (B, N, H * d).
    """
    on_cpu = qkv.device.type == "cpu"
    if on_cpu and qkv.dtype != torch.float32 and torch.is_grad_enabled() and qkv.requires_grad:
        qkv = qkv.float()
    with torch.autocast(qkv.device.type, enabled=False):
        if backend in ("auto", "native") and native.applies(qkv):
            return native.attention(qkv)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed: Tensor = _math(query, key, value) if backend == "math" else _sdpa(query, key, value)
    return torch.flatten(mixed.transpose(1, 2), 2)


def _math(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return torch.matmul(scores.softmax(-1), value)


def _sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    depth = query.shape[-1]
    if query.device.type != "cuda" or depth % _CUDA_ALIGNMENT == 0:
        return F.scaled_dot_product_attention(query, key, value)
    return padded_sdpa(query, key, value)


def padded_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of (B, H, N, d) heads whose d misses the alignment of the fused CUDA kernels.

    Zeros appended to queries and keys leave the scores alone, zeros appended to values are cut off again.
    """
    depth = query.shape[-1]
    query, key, value = (F.pad(part, (0, -depth % _CUDA_ALIGNMENT)) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=depth**-0.5)[..., :depth]


class SelfAttention(nn.Module):
    """Self-attention over (B, N, D): fused projection, heads of any size, output projection.

    `heads * head_dim` need not equal the width (LWM v1.0: 12 heads of 5 in a width of 64).
    """

    def __init__(self, width: int, heads: int, head_dim: int, backend: str = "auto") -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.backend = backend
        self.qkv = nn.Linear(width, 3 * heads * head_dim)
        self.out = nn.Linear(heads * head_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens: (B, N, D) -> (B, N, D)."""
        qkv = self.qkv(x).view(*x.shape[:2], 3, self.heads, self.head_dim)
        mixed: Tensor = self.out(attend(qkv, self.backend))
        return mixed
