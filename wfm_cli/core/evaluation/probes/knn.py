"""Nearest neighbours on standardised features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from wfm_cli.core.evaluation.probes.base import Best, Shown
from wfm_cli.core.evaluation.probes.standardise import statistics_of

Distance = Literal["cosine", "euclid"]
_CHUNK_ELEMENTS = 1 << 24  # similarities or votes held at once, 64 MiB


@dataclass(frozen=True)
class Neighbours:
    """Votes, or mean values, of the k nearest training samples of each draw."""

    x: Tensor
    """Standardised training samples, of unit length for cosine, (S, n, d)."""
    targets: Tensor
    """One-hot classes or values, (S, n, C)."""
    mean: Tensor
    """(S, d)."""
    scale: Tensor
    """(S, d)."""
    distance: Distance
    """How near is measured."""
    vote: bool
    """Classes (True) or values."""
    k: Tensor
    """Neighbours of each draw, (S,) int64."""
    chosen: list[float]
    """The same as plain numbers."""

    def scores(self, x: Tensor) -> Tensor:
        """(S, m, C): shares of votes, equal shares decided for the class with the nearer neighbours; or mean values."""
        columns = max(self.x.shape[1], int(self.k.max()) * self.targets.shape[2])
        chunk = max(1, _CHUNK_ELEMENTS // columns)
        parts = [torch.stack([self._draw(s, rows) for s in range(len(self.x))]) for rows in torch.split(x, chunk)]
        return torch.cat(parts, 1)

    def _draw(self, s: int, x: Tensor) -> Tensor:
        k = int(self.k[s])
        query = _prepare((x - self.mean[s]) * self.scale[s], self.distance)
        near = _similarity(query, self.x[s], self.distance).topk(k, dim=1).indices
        picked = self.targets[s][near]
        if not self.vote:
            return picked.mean(1)
        # Less than one vote in all, so that it decides between equals alone.
        tie = 2.0 ** -torch.arange(1, k + 1, dtype=picked.dtype).clamp_max(40) / (2 * k)
        return picked.mean(1) + (picked * tie[:, None]).sum(1)


def fit_knn(shown: Shown, counts: Sequence[int], distance: Distance) -> Neighbours:
    """Keep the standardised training samples; validation chooses the number of neighbours.

    Args:
        shown: Training samples.
        counts: Numbers of neighbours to try; capped at the number of training samples.
        distance: `cosine` or `euclid`.
    """
    draws, n, _ = shown.x.shape
    mean, scale = (part.to(shown.x.dtype) for part in statistics_of(shown.x))
    fit = Neighbours(
        x=_prepare((shown.x - mean[:, None]) * scale[:, None], distance),
        targets=shown.targets.to(shown.x.dtype),
        mean=mean,
        scale=scale,
        distance=distance,
        vote=shown.classes > 0,
        k=torch.ones(draws, dtype=torch.int64),
        chosen=[],
    )
    best = Best()
    for count in sorted({min(count, n) for count in counts}):
        k = torch.full((draws,), count)
        best.offer(shown.choose(replace(fit, k=k)), count, k)
    return replace(fit, k=best.parts[0], chosen=best.chosen)


def _prepare(x: Tensor, distance: Distance) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1) if distance == "cosine" else x


def _similarity(query: Tensor, x: Tensor, distance: Distance) -> Tensor:
    """(m, n), more is nearer; for euclid half the negative squared distance up to a term of the query alone."""
    product = query @ x.T
    return product if distance == "cosine" else product - 0.5 * x.square().sum(1)
