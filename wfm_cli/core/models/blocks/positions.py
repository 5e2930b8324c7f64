"""Where a token is: fixed waves over the physical axes of a grid, a learned row for every channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfm_cli.core.models.blocks.patches import grid_sincos

BASE = 10_000.0
"""Ratio of the highest to the lowest angular frequency, as in ViT, MAE and I-JEPA."""
NAMELESS = ("channel", "part")
"""Axes without a geometry: their places are told apart by learned rows."""


class Positions(nn.Module):
    """Position vectors of the tokens of a grid.

    Args:
        axes: names of the grid's axes.
        width: D.
        slots: rows of the learned table of the axis `channel` or `part`; 0 leaves that axis untold.
    """

    def __init__(self, axes: tuple[str, ...], width: int, slots: int = 0) -> None:
        super().__init__()
        self.width = width
        self.physical = [i for i, name in enumerate(axes) if name not in NAMELESS]
        nameless = [i for i, name in enumerate(axes) if name in NAMELESS]
        self.channel = nn.Embedding(slots, width) if slots and nameless else None
        self._column = nameless[0] if nameless else 0
        self._last: tuple[Tensor, Tensor] | None = None
        if self.channel is not None:
            nn.init.trunc_normal_(self.channel.weight, std=0.02)

    def forward(self, coords: Tensor) -> Tensor:
        """(N, A) int64 coordinates -> (N, D) float32."""
        waves = self._waves(coords)
        return waves if self.channel is None else waves + self.channel(coords[:, self._column])

    def _waves(self, coords: Tensor) -> Tensor:
        """The fixed part; the last grid is remembered, as a model hands out the same coordinates."""
        if self._last is not None and self._last[0] is coords:
            return self._last[1]
        with torch.no_grad():
            waves = grid_sincos(coords[:, self.physical].cpu(), self.width, BASE).to(coords.device)
        if not torch.is_inference_mode_enabled():
            self._last = (coords, waves)
        return waves
