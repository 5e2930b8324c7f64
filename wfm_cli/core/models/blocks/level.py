"""The power of a sample as a vector, for encoders that see every sample at unit power."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wfm_cli.core.models.blocks.transformer import start

PERIODS_DB = (400.0, 200.0, 100.0, 50.0, 25.0)
"""Periods of the waves of a level; the longest tells levels of 400 dB apart, the shortest tells single decibels."""


class Level(nn.Module):
    """(B,) levels in dB -> (B, D): a linear map of their waves, so that no unit or offset is better than another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = start(nn.Linear(2 * len(PERIODS_DB), width))

    def forward(self, level_db: Tensor) -> Tensor:
        """See the class."""
        periods = torch.tensor(PERIODS_DB, device=level_db.device)
        angle = level_db.float().unsqueeze(1) * (2 * math.pi / periods)
        result: Tensor = self.project(torch.cat([angle.sin(), angle.cos()], 1))
        return result
