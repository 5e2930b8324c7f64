"""What an adaptive mixture remembers: the mean loss of each geometry, the same on all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


class LossMemory(nn.Module):
    """Moving average of the loss of each geometry.

    Its state are two buffers, so it is part of every checkpoint of the objective that holds it. `add` during a step,
    on every rank and micro-batch; `fold` once after it, on all ranks at the same time.

    Attributes:
        geometries: names, in the order of the figures.
        loss: (G,) float32 decayed sum of losses.
        weight: (G,) float32 decayed number of losses.
    """

    loss: Tensor
    weight: Tensor

    def __init__(self, geometries: Sequence[str], memory: float) -> None:
        super().__init__()
        self.geometries = tuple(geometries)
        self.memory = memory
        self.register_buffer("loss", torch.zeros(len(self.geometries)))
        self.register_buffer("weight", torch.zeros(len(self.geometries)))
        self._pending: Tensor | None = None
        self._known: tuple[int, list[float | None]] = (-1, [])

    @torch.no_grad()
    def add(self, geometry: str, total: Tensor, count: Tensor) -> None:
        """Take in the loss of a micro-batch as a sum and its denominator."""
        if self._pending is None:
            self._pending = torch.zeros(2, len(self.geometries), dtype=torch.float64, device=self.loss.device)
        pair = torch.stack([total.detach().double(), count.detach().double()])
        self._pending[:, self.geometries.index(geometry)] += pair.to(self._pending.device)

    @torch.no_grad()
    def fold(self) -> None:
        """Add up what all ranks took in and move the averages of the geometries that were drawn."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(pending)
        total, count = pending
        drawn = count > 0
        fresh = (total / count.clamp_min(torch.finfo(count.dtype).tiny)).to(self.loss.dtype)
        decayed = self.memory * self.loss + (1.0 - self.memory) * fresh
        self.loss.copy_(torch.where(drawn, decayed, self.loss))
        self.weight.copy_(torch.where(drawn, self.memory * self.weight + (1.0 - self.memory), self.weight))

    def values(self) -> list[float | None]:
        """Mean loss of every geometry; None for those never drawn. Waits for the device when they have moved."""
        if self._known[0] != self.weight._version:
            pairs = zip(self.loss.tolist(), self.weight.tolist(), strict=True)
            self._known = (self.weight._version, [loss / weight if weight > 0 else None for loss, weight in pairs])
        return self._known[1]
