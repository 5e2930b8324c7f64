"""Exponential moving averages of weights, for objectives with a target encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def momentum(step: int, total: int, start: float, end: float = 1.0, shape: str = "linear") -> float:
    """Momentum of the 0-based `step`, rising from `start` to `end` over `total` steps, `linear` or along a `cosine`."""
    progress = min(1.0, step / max(1, total))
    if shape == "cosine":
        progress = 0.5 * (1 - math.cos(math.pi * progress))
    return start + (end - start) * progress


@torch.no_grad()
def follow(target: nn.Module, source: nn.Module, rate: float) -> None:
    """target <- rate * target + (1 - rate) * source, all parameters in a few kernels; buffers are copied.

    Both modules have the same structure; the order of `parameters()` pairs them.
    """
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), 1.0 - rate)
    for kept, new in zip(target.buffers(), source.buffers(), strict=True):
        kept.copy_(new)


@torch.no_grad()
def gap(target: nn.Module, source: nn.Module) -> float:
    """Distance of the parameters of two modules over the length of those of `target`; weights may be sharded."""
    pairs = zip(target.parameters(), source.parameters(), strict=True)
    whole = [(_whole(kept), _whole(new)) for kept, new in pairs]
    distance = sum(float((kept - new).square().sum()) for kept, new in whole)
    return math.sqrt(distance / max(sum(float(kept.square().sum()) for kept, _ in whole), 1e-30))


def _whole(weight: Tensor) -> Tensor:
    """The full tensor behind a sharded one."""
    full: Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return full
