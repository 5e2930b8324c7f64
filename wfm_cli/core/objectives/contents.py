"""What the tokens of multimodal frames stand for: the raw content of their cells, in units of the training data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.jepa_msac import JEPAMSACEncoder
from wfm_cli.core.recipe.msac import Modality, SensorReconstructionBlock


class Contents(nn.Module):
    """Numbers behind every token of windows, sensor by sensor, (B, T, tokens, P) float32 each.

    Frames are taken in the range in which the tokenizers see them. An image is averaged to 3 x 3 cells of `image_cell`
    pixels each way, a map to 4 x 4 cells of `map_cell` bins; cells stand in the order of the tokens, rows first, and a
    cell is (colour, row, column). A position and a power vector are one cell each.

    The content of a token is that of its cell less the mean over the training frames at this place, over the deviation
    that the sensor's contents have about these means: one number per sensor, so that places keep their proportions.
    Buffers, so that a resumed run and a reader of the weights have them.
    """

    def __init__(self, block: SensorReconstructionBlock, encoder: JEPAMSACEncoder) -> None:
        super().__init__()
        self.counts = dict(encoder.counts)
        self.sizes = {name: _size(name, block, encoder.block.beams) for name in self.counts}
        self._cells = {name: block.image_cell if name == "image" else block.map_cell for name in self.counts}
        for name, size in self.sizes.items():
            self.register_buffer(f"mean_{name}", torch.zeros(self.counts[name], size))
            self.register_buffer(f"deviation_{name}", torch.ones(()))

    @torch.no_grad()
    def forward(self, encoder: JEPAMSACEncoder, batch: Any) -> dict[str, Tensor]:
        """Contents of windows (a mapping of (B, T, ...) tensors); never in half precision, without gradient."""
        device = self.get_buffer(f"deviation_{next(iter(self.counts))}").device.type
        with torch.autocast(device, enabled=False):
            raw = self.raw(encoder, batch)
        return {
            name: (cells - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"deviation_{name}")
            for name, cells in raw.items()
        }

    def raw(self, encoder: JEPAMSACEncoder, batch: Any) -> dict[str, Tensor]:
        """Contents as the tokenizers see them, before means and deviations."""
        return {name: self._cut(name, encoder._scaled(name, batch[name])) for name in encoder.block.modalities}

    def _cut(self, name: Modality, frames: Tensor) -> Tensor:
        """(B, T, ...) frames of one sensor into cells (B, T, tokens, P)."""
        if name in ("gps", "power"):
            return frames.unsqueeze(2)
        side, edge = 3 if name == "image" else 4, self._cells[name]
        small = F.adaptive_avg_pool2d(frames.flatten(0, 1), side * edge)
        cells = small.view(*small.shape[:2], side, edge, side, edge).permute(0, 2, 4, 1, 3, 5)
        return cells.reshape(*frames.shape[:2], side * side, -1)

    @torch.no_grad()
    def fit(self, encoder: JEPAMSACEncoder, batches: Iterable[Any]) -> None:
        """Take means and deviations from batches of training windows.

        Sums are numpy's in double precision: they do not depend on the number of threads.
        """
        frames = 0
        sums: dict[str, Any] = dict.fromkeys(self.sizes, 0.0)
        squares: dict[str, Any] = dict.fromkeys(self.sizes, 0.0)
        for batch in batches:
            made = {
                name: cells.flatten(0, 1).double().cpu().numpy() for name, cells in self.raw(encoder, batch).items()
            }
            frames += len(next(iter(made.values())))
            for name, values in made.items():
                sums[name] = sums[name] + values.sum(0)
                squares[name] = squares[name] + np.square(values).sum(0)
        for name in self.sizes:
            mean = sums[name] / frames
            variance = float(np.maximum(squares[name] / frames - np.square(mean), 0).mean())
            self.get_buffer(f"mean_{name}").copy_(torch.from_numpy(mean))
            self.get_buffer(f"deviation_{name}").fill_(variance**0.5 if variance > 0 else 1.0)


def _size(name: str, block: SensorReconstructionBlock, beams: int) -> int:
    """Numbers P of a cell."""
    if name == "image":
        return 3 * block.image_cell**2
    if name == "power":
        return beams
    return 2 if name == "gps" else block.map_cell**2
