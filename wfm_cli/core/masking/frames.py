"""Hidden frames of multimodal sequences: every modality with a draw of its own (JEPA-MSAC, arXiv 2603.29796, III-B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wfm_cli.core.masking import rng
from wfm_cli.core.masking.sampler import MaskSet

KIND, START, ORDER, PARITY = 41, 42, 43, 44
"""Streams of `rng`."""
Pattern = Literal["block", "random", "checkerboard"]


@dataclass(frozen=True)
class FrameMasks:
    """Draws the hidden frames of windows and the tokens that belong to them; whole batches, no loop over samples.

    All samples of a step hide equally many tokens: which kind of mask a step takes, and the parity of a checkerboard,
    are draws of the step; the frames are draws of (seed, step, sample id).
    """

    coords: Tensor
    """(N, A) int64 coordinates of all tokens."""
    axes: tuple[str, ...]
    """Names of the axes, `time` and `modality` among them."""
    pattern: Pattern
    ratio: float
    """Share of the frames that a block or random draw hides: floor(ratio T) of T."""
    horizon: int
    """Frames that make up the future."""
    future: float = 0.0
    """Share of the steps that hide the future of all modalities, and nothing else."""

    @property
    def hidden_frames(self) -> int:
        """Frames that a block or random draw hides in every modality, at least one and not all."""
        steps = int(self.coords[:, self.axes.index("time")].max()) + 1
        # The small number keeps 0.3 x 10 at 3, which is 2.9999... in binary.
        return min(steps - 1, max(1, int(self.ratio * steps + 1e-9)))

    def __call__(self, ids: Tensor, seed: int, step: int, kind: str | None = None) -> MaskSet:
        """Masks of the samples `ids` (B,) at a step; `kind` asks for the pattern's name or `future` without a draw."""
        time, modality = (self.coords[:, self.axes.index(name)].to(ids.device) for name in ("time", "modality"))
        steps, modalities = int(time.max()) + 1, int(modality.max()) + 1
        if kind is None:
            kind = "future" if rng.common(seed, step, 1, KIND)[0] < self.future else self.pattern
        if kind == "future":
            frames = torch.arange(steps, device=ids.device).ge(steps - self.horizon).expand(len(ids), modalities, steps)
        else:
            frames = self._frames(ids, seed, step, modalities, steps)
        hidden = frames[:, modality, time]
        order = hidden.to(torch.uint8).sort(dim=1, stable=True).indices
        visible = len(time) - int(hidden[0].sum())
        return MaskSet(order[:, :visible], order[:, visible:], kind)

    def _frames(self, ids: Tensor, seed: int, step: int, modalities: int, steps: int) -> Tensor:
        """(B, modalities, steps) bool, whether a frame is hidden."""
        frame, count = torch.arange(steps, device=ids.device), self.hidden_frames
        if self.pattern == "checkerboard":
            parity = int(rng.common(seed, step, 1, PARITY)[0] * 2)
            other = torch.arange(modalities, device=ids.device)[:, None]
            return ((frame + other + parity) % 2 == 0).expand(len(ids), modalities, steps)
        if self.pattern == "block":
            start = rng.integers(seed, step, ids, modalities, steps - count + 1, START)[..., None]
            return (frame >= start) & (frame < start + count)
        keys = rng.bits(seed, step, ids, modalities * steps, ORDER).view(len(ids), modalities, steps)
        chosen = keys.sort(dim=2).indices[..., :count]
        return torch.zeros_like(keys, dtype=torch.bool).scatter_(2, chosen, True)


def hidden_tokens(target: Tensor, steps: int, frame_tokens: int) -> Tensor:
    """Which tokens of windows are hidden, from their numbers (B, Kt): (B, steps, frame_tokens) bool."""
    marks = torch.zeros(len(target), steps * frame_tokens, dtype=torch.bool, device=target.device)
    return marks.scatter_(1, target, True).view(-1, steps, frame_tokens)


def nearest_visible(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """For every time the nearest one at which the same token of a frame is visible, the earlier of two equally near.

    Args:
        hidden: (B, steps, F) bool.

    Returns:
        Times (B, steps, F) int64, and whether there is any, (B, steps, F) bool.
    """
    steps = hidden.shape[1]
    time = torch.arange(steps, device=hidden.device)
    distance = (time[:, None] - time[None]).abs() * 2 + (time[:, None] < time[None])
    cost = distance[None, :, :, None] + torch.where(hidden, 4 * steps, 0)[:, None]
    return cost.argmin(2), cost.amin(2).lt(4 * steps)
