"""Contrast of two views: NT-Xent (SimCLR, arXiv 2002.05709) and InfoNCE (arXiv 1807.03748)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.transformer import start


@dataclass(frozen=True)
class Contrast:
    """What a contrast found."""

    loss: Tensor
    """(B,) loss of every sample, the mean over its two views as anchors."""
    hits: Tensor
    """(B,) share of the two anchors whose most similar candidate is their partner; without gradient."""
    chance: float
    """Share of hits of a guess."""


class Projection(nn.Module):
    """Embeddings to points on a sphere: linear, ReLU, linear, unit length. Thrown away after pretraining."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.first, self.second = start(nn.Linear(size, size)), start(nn.Linear(size, width))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, size) -> (B, width) float32."""
        return F.normalize(self.second(F.relu(self.first(embeddings))).float(), dim=1)


def contrast(one: Tensor, two: Tensor, temperature: float, loss: str = "ntxent") -> Contrast:
    """Tell the partner of every view from the views of other samples.

    Args:
        one: (B, W) unit vectors, first views.
        two: (B, W) unit vectors, second views.
        temperature: divides the cosines.
        loss: `ntxent`, with all other 2 B - 1 views as candidates, or `infonce`, with the B views of the other kind.
    """
    count = len(one)
    if loss == "infonce":
        cosines = one @ two.T
        scores = torch.cat([cosines, cosines.T]) / temperature
        partner = torch.arange(count, device=one.device).repeat(2)
    else:
        both = torch.cat([one, two])
        scores = both @ both.T / temperature
        scores = scores.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=one.device), -torch.inf)
        partner = torch.arange(2 * count, device=one.device).roll(count)
    losses = F.cross_entropy(scores, partner, reduction="none")
    hits = (scores.detach().argmax(1) == partner).float()
    candidates = count if loss == "infonce" else 2 * count - 1
    return Contrast(losses.view(2, count).mean(0), hits.view(2, count).mean(0), 1.0 / candidates)
