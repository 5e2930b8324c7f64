"""Standardised training features in their principal axes: the form in which linear probes are solved.

A ridge penalty does not notice a rotation, so the axes may be chosen freely. The principal ones make the second
moments diagonal (ridge is then closed form for every strength, and the curvature of a logistic loss nearly diagonal),
and with fewer samples than features they number at most n: the problem shrinks without losing anything.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wfm_cli.core.evaluation.probes.base import Linear
from wfm_cli.core.evaluation.probes.standardise import statistics_of

NEGLIGIBLE = 1e-12
"""Axes below this share of the largest second moment are rounding noise of float32 features, and left out."""


@dataclass(frozen=True)
class Principal:
    """S draws of n standardised samples on r = min(n, d) axes."""

    rows: Tensor
    """Samples, (S, n, r); columns of left-out axes are zero."""
    power: Tensor
    """Second moment of every axis, (S, r) float64."""
    basis: Tensor
    """From standardised features to axes, (S, d, r)."""
    mean: Tensor
    """Mean of the training samples of each draw, (S, d) float64."""
    scale: Tensor
    """One over their standard deviation, 0 for constant features, (S, d) float64."""

    @classmethod
    def of(cls, x: Tensor) -> Principal:
        """Standardise each draw of `x` (S, n, d) with its own statistics and rotate it."""
        mean, scale = statistics_of(x)
        axes = [_axes((draw.double() - m) * s) for draw, m, s in zip(x, mean, scale, strict=True)]
        rows, power, basis = (torch.stack(part) for part in zip(*axes, strict=True))
        return cls(rows.to(x.dtype), power, basis.to(x.dtype), mean, scale)

    def unfold(self, weight: Tensor, bias: Tensor) -> Linear:
        """Weights (S, r, C) on the axes and bias (S, C) as weights on the features themselves."""
        full = self.scale[..., None] * (self.basis @ weight).double()
        offset = bias.double() - torch.einsum("sd,sdc->sc", self.mean, full)
        return Linear(full.to(weight.dtype), offset.to(weight.dtype), [])

    def draws(self, index: Tensor) -> Principal:
        """Some of the draws."""
        return Principal(*(getattr(self, field.name)[index] for field in fields(self)))


def _axes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, r), second moments (r,) and basis (d, r) of standardised float64 samples (n, d)."""
    n, d = x.shape
    moments, vectors = torch.linalg.eigh((x @ x.T if n < d else x.T @ x) / n)
    kept = moments > NEGLIGIBLE * moments[-1].clamp_min(1e-300)
    if n >= d:
        basis = vectors * kept
        return x @ basis, moments * kept, basis
    length = (n * moments.clamp_min(1e-300)).sqrt()
    rows = vectors * (length * kept)
    return rows, moments * kept, x.T @ (vectors * (kept / length))
