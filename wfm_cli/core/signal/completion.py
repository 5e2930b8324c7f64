"""Low-rank completion of channels: the training-free reference of masked modelling.

A channel with few paths is nearly a sum of few outer products of an antenna and a subcarrier response, so its hidden
entries follow from the visible ones without any learning.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 1e-12
"""Penalty on the factors, relative to the energy of each column: enough to keep directions bounded that the visible
entries do not fix, and to fill rows that are hidden altogether with zeros."""
_POWER_ROUNDS = 3
_TINY = torch.finfo(torch.float64).tiny


def rank_completion(h: Tensor, hidden: Tensor, rank: int, iterations: int = 10) -> Tensor:
    """Fill hidden entries from the best low-rank fit of the visible ones, by alternating least squares.

    Every matrix is fitted as U V^T, minimising the squared error on visible entries alone: all rows of U at once for
    fixed V, then all rows of V. The rank grows by one at a time, each new column starting at the leading direction of
    what the fit so far leaves on visible entries; starting with all columns at once would spend the later ones on the
    pattern of the holes. Computed in double precision; deterministic; no loop over samples.

    Args:
        h: (B, M, K) complex or real; the values of hidden entries are never looked at (they may be anything finite).
        hidden: (B, M, K) bool.
        rank: rank of the fit, at least 1.
        iterations: alternations at every rank.

    Returns:
        (B, M, K) in the dtype of `h`: the fit everywhere, visible entries included. Rows and columns that are hidden
        altogether are zero, as no low-rank model says anything about them.
    """
    return rank_completions(h, hidden, rank, iterations)[-1]


def rank_completions(h: Tensor, hidden: Tensor, rank: int, iterations: int = 10) -> list[Tensor]:
    """The completions of rank 1, 2, ... `rank`, for little more than the price of the last; see `rank_completion`."""
    double = torch.complex128 if h.is_complex() else torch.float64
    data = h.to(double).masked_fill(hidden, 0.0)
    visible = (~hidden).to(double)
    scale = data.abs().amax((1, 2), keepdim=True).clamp_min(_TINY)
    data = data / scale
    data_t, visible_t = data.mT.contiguous(), visible.mT.contiguous()
    fit, fits = torch.zeros_like(data), []
    right = data.new_empty(data.shape[0], data.shape[2], 0)
    for _ in range(rank):
        right = torch.cat([right, _leading(data - visible * fit)], dim=2)
        for _ in range(max(1, iterations)):
            left = _fit(data, visible, torch.linalg.qr(right).Q)
            right = _fit(data_t, visible_t, left)
        fit = left @ right.mT
        fits.append((fit * scale).to(h.dtype))
    return fits


def _leading(residual: Tensor) -> Tensor:
    """A unit vector (B, K, 1) near the leading right singular vector of every matrix, by power iteration."""
    energy = residual.abs().square().sum(2, keepdim=True)
    strongest = energy.argmax(1, keepdim=True).expand(-1, -1, residual.shape[2])
    vector = residual.gather(1, strongest).mT
    for _ in range(_POWER_ROUNDS):
        vector = residual.mT @ (residual.conj() @ vector)
        vector = vector / vector.abs().amax(1, keepdim=True).clamp_min(_TINY)
    return torch.div(vector, torch.linalg.vector_norm(vector, dim=1, keepdim=True).clamp_min(_TINY))


def _fit(data: Tensor, visible: Tensor, right: Tensor) -> Tensor:
    """Rows u_i that minimise sum_j visible_ij |data_ij - u_i . v_j|^2: (B, M, R)."""
    rank = right.shape[-1]
    products = (right.conj().unsqueeze(-1) * right.unsqueeze(-2)).flatten(2)
    gram = (visible @ products).view(*data.shape[:2], rank, rank)
    energy = gram.diagonal(dim1=-2, dim2=-1).real.mean(1, keepdim=True)
    ridge = torch.diag_embed((_RIDGE * energy).clamp_min(_TINY)).to(gram.dtype)
    return _solve(gram + ridge, data @ right.conj())


def _solve(gram: Tensor, target: Tensor) -> Tensor:
    """Solve Hermitian positive definite systems (..., R, R) x = (..., R); loops over R alone, not over systems."""
    rank = target.shape[-1]
    rows = [list(gram[..., i, :].unbind(-1)) for i in range(rank)]
    values = list(target.unbind(-1))
    for i in range(rank):
        for j in range(i + 1, rank):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [below - factor * above for below, above in zip(rows[j], rows[i], strict=True)]
            values[j] = values[j] - factor * values[i]
    for i in reversed(range(rank)):
        for j in range(i + 1, rank):
            values[i] = values[i] - rows[i][j] * values[j]
        values[i] = values[i] / rows[i][i]
    return torch.stack(values, dim=-1)
