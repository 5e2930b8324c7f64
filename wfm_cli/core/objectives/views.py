"""What a step shows of its samples: one draw of channels, one geometry, places of every sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wfm_cli.core.masking import rng
from wfm_cli.core.masking.memory import LossMemory
from wfm_cli.core.masking.sampler import Sampler
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.objectives.masks import build_sampler
from wfm_cli.core.recipe.masks import AnyMask, CurriculumMask

CHANNELS = 31
"""Stream of `rng`: which channels a step shows."""


@dataclass(frozen=True)
class View:
    """Tokens of some samples of a batch, as indices into the whole grid."""

    rows: Tensor | None
    """(b,) int64 samples of the batch that this view is of; None means all."""
    shown: Tensor | None
    """(S,) int64 tokens of the channels that the step shows; None means all. Encoders see no others."""
    context: Tensor
    """(b, Kc) int64 visible tokens."""
    target: Tensor
    """(b, Kt) int64 tokens to predict."""
    geometry: str

    def of(self, batch: Tensor) -> Tensor:
        """The view's samples of a batch."""
        return batch if self.rows is None else batch[self.rows]


class Views(nn.Module):
    """Draws the views of a recipe's masks for one encoder.

    The channels of a step are one draw for the whole batch, C' uniform over 1 ... C and then a subset of that size
    (ChannelViT's hierarchical sampling), the same for context and target. The mask lies on the two-dimensional grid and
    is shared by all channels, so that the same place of another channel cannot give a target away.

    Outside of training all channels are shown, and the geometries of a mixture take turns by sample id.
    """

    def __init__(self, block: AnyMask, encoder: Encoder) -> None:
        super().__init__()
        grid = encoder.tokenize(torch.zeros(1, *encoder.sample_shape))
        self.axes, self.coords = grid.axes, grid.coords
        self.block = block
        self.sampler = build_sampler(block, grid.axes, grid.coords)
        adaptive = block.adaptive if isinstance(block, CurriculumMask) else None
        self.memory = LossMemory(self.sampler.geometries, adaptive.memory) if adaptive else None
        self._channel = grid.coords[:, grid.axes.index("channel")] if encoder.samples_channels else None
        self._samplers: dict[int, Sampler] = {}

    def __call__(self, ids: Tensor, key: StepKey) -> Iterator[View]:
        """Views that together hold every sample once; a single one while training."""
        if self.training:
            losses = self.memory.values() if self.memory is not None else None
            shown = self._channels(key)
            sampler = self.sampler if shown is None else self._sampler_of(shown)
            masks = sampler(ids, key.seed, key.step, key.progress, losses=losses)
            if shown is not None:
                shown = shown.to(ids.device)
                yield View(None, shown, shown[masks.context], shown[masks.target], masks.geometry)
            else:
                yield View(None, None, masks.context, masks.target, masks.geometry)
            return
        names = [n for n, w in zip(self.sampler.geometries, self.sampler.weights(key.progress), strict=True) if w > 0]
        for turn, name in enumerate(names):
            rows = None if len(names) == 1 else (ids % len(names) == turn).nonzero().squeeze(1)
            if rows is None or len(rows):
                own = ids if rows is None else ids[rows]
                masks = self.sampler(own, key.seed, key.step, key.progress, geometry=name)
                yield View(rows, None, masks.context, masks.target, name)

    def _channels(self, key: StepKey) -> Tensor | None:
        """Tokens of the channels that a step shows."""
        if self._channel is None or (count := int(self._channel.max()) + 1) == 1:
            return None
        draw = rng.uniform(key.seed, key.step, torch.zeros(1, dtype=torch.int64), count + 1, CHANNELS)[0]
        chosen = draw[1:].argsort()[: 1 + int(draw[0] * count)]
        if len(chosen) == count:
            return None
        return torch.isin(self._channel, chosen).nonzero().squeeze(1)

    def _sampler_of(self, shown: Tensor) -> Sampler:
        """The sampler of so many channels; which ones they are makes no difference to it."""
        if len(shown) not in self._samplers:
            self._samplers[len(shown)] = build_sampler(self.block, self.axes, self.coords[shown])
        return self._samplers[len(shown)]


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, P) of (B, N, P)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[2]))
