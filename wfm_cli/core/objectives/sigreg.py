"""SIGReg: how far embeddings are from a standard normal distribution (LeJEPA, arXiv 2511.08544, section 4).

On a random direction the empirical characteristic function of N projections is compared with exp(-t^2 / 2); the squared
modulus of the difference is integrated with weight exp(-t^2 / 2) over t in [-3, 3] and multiplied by N (the test of
Epps and Pulley). It costs O(N K M) for N embeddings of K numbers and M directions; no matrix has N^2 or K^2 entries.
Expected values: 1.0526 for standard normal data whatever N is, and 0.4088 N when all embeddings are zero.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

KNOTS = 17
REACH = 3.0


def sigreg(embeddings: Tensor, directions: Tensor) -> Tensor:
    """Mean statistic over directions; the embeddings of all ranks count together.

    Args:
        embeddings: (N, K).
        directions: (K, M) unit vectors, the same on every rank.

    Returns:
        Scalar, differentiable, the same on every rank.
    """
    knots = torch.linspace(0.0, REACH, KNOTS, device=embeddings.device)
    normal = torch.exp(-knots.square() / 2)
    step = REACH / (KNOTS - 1)
    weights = torch.full_like(knots, 2 * step)  # the integrand is even: twice the trapezoid rule over [0, 3]
    weights[0] = weights[-1] = step
    angle = (embeddings.float() @ directions).unsqueeze(-1) * knots
    sums = torch.stack([angle.cos().sum(0), angle.sin().sum(0)])  # (2, M, knots)
    count = sums.new_tensor([float(len(embeddings))])
    if dist.is_available() and dist.is_initialized():
        sums = cast(Tensor, cast(Any, _AllSum).apply(sums))
        count = all_sum(count)
    real, imaginary = (sums / count).unbind(0)
    error = (real - normal).square() + imaginary.square()
    return count.squeeze(0) * (error * (weights * normal)).sum(-1).mean()


def directions(seed: int, step: int, width: int, count: int, device: torch.device) -> Tensor:
    """(width, count) random unit vectors, a pure function of seed and step and the same on every rank."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % (1 << 63))
    drawn = torch.randn(width, count, generator=generator)
    lengths: Tensor = torch.linalg.vector_norm(drawn, dim=0, keepdim=True)
    return (drawn / lengths).to(device)


class _AllSum(torch.autograd.Function):
    """Sum over ranks, whose gradient is summed over ranks as well."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return all_sum(value)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return all_sum(gradient)


def all_sum(value: Tensor, together: bool = True) -> Tensor:
    """A new tensor with the sum over ranks, without gradient; `value` itself unless `together`, or where there is one
    process."""
    if not (together and dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total
