"""Hidden patches of a spectrogram filled in without any training: what a model has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ("visible", "frequency", "nearest")


def fillings(values: Tensor, hidden: Tensor, sizes: tuple[int, int], patch: tuple[int, int]) -> dict[str, Tensor]:
    """Three guesses for hidden patches.

    `visible`: the mean of all visible numbers of the sample; `frequency`: at each frequency the mean over its visible
    frames; `nearest`: at each frequency the nearest visible frame, the earlier of two. Where a frequency has no visible
    frame, the last two take the first.

    Args:
        values: (B, N, P) patches of a complete grid in row-major order.
        hidden: (B, K) int64.
        sizes: patches along frequency and time, N = R C.
        patch: bins and frames of a patch, P = h w.

    Returns:
        Name to (B, K, P).
    """
    (rows, columns), (high, wide) = sizes, patch
    seen = values.new_ones(values.shape[:2]).scatter(1, hidden, 0.0).view(-1, rows, columns)
    bins = values.reshape(-1, rows, columns, high, wide).transpose(2, 3)  # (B, R, h, C, w)
    shown = bins * seen[:, :, None, :, None]
    count = seen.sum(2)  # (B, R)
    mean = shown.flatten(1).sum(1) / (seen.flatten(1).sum(1) * high * wide).clamp_min(1)
    mean = mean.view(-1, 1, 1, 1, 1)
    known = (count > 0)[:, :, None, None, None]
    by_frequency = shown.sum((3, 4)) / (count * wide).clamp_min(1).unsqueeze(2)
    near = _nearest(bins.flatten(3), seen, wide)
    guesses = {
        "visible": mean,
        "frequency": torch.where(known, by_frequency[:, :, :, None, None], mean),
        "nearest": torch.where(known, near.unsqueeze(-1), mean),
    }
    index = hidden.unsqueeze(-1).expand(-1, -1, values.shape[2])
    return {
        name: guess.expand_as(bins).transpose(2, 3).reshape(values.shape).gather(1, index)
        for name, guess in guesses.items()
    }


def _nearest(frames: Tensor, seen: Tensor, wide: int) -> Tensor:
    """The visible frame nearest to each patch: (B, R, h, C w) frames and (B, R, C) visible patches -> (B, R, h, C)."""
    columns = seen.shape[2]
    place, far = torch.arange(columns, device=seen.device), 4 * columns
    visible = seen > 0
    before = torch.where(visible, place, -far).cummax(2).values
    after = torch.where(visible, place, far).flip(2).cummin(2).values.flip(2)
    earlier = place - before <= after - place
    frame = torch.where(earlier, before * wide + wide - 1, after * wide).clamp(0, columns * wide - 1)
    return frames.gather(3, frame.unsqueeze(2).expand(-1, -1, frames.shape[2], -1))
