"""Samples as images of several channels, their scale, and rectangular patches; nothing is learned here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wfm_cli.errors import InputError

Kind = Literal["complex", "image"]
DEFAULT_AXES = {"complex": ("antenna", "subcarrier"), "image": ("frequency", "time")}


@dataclass(frozen=True)
class Layout:
    """How a sample lies in memory.

    `complex`: ([more,] rows, columns, [re, im]), the two parts of every leading place become channels.
    `image`: ([channel,] rows, columns) real numbers.
    """

    kind: Kind
    axes: tuple[str, str]
    """Names of rows and columns."""

    @classmethod
    def of(
        cls, shape: tuple[int, ...], dims: tuple[str, ...] | None, kind: Kind | None, axes: tuple[str, str] | None
    ) -> Layout:
        """What the recipe says, else what the store says (`dims` of the array, "sample" first), else a guess.

        Raises:
            InputError: a sample of this shape is no image.
        """
        named = tuple(name for name in dims or () if name != "sample")
        if kind is None:
            parts = shape[-1] == 2 and (len(named) == len(shape) - 1 if named else len(shape) > 2)
            kind = "complex" if parts else "image"
        if len(shape) < (3 if kind == "complex" else 2):
            raise InputError(
                f"model.input: samples of shape {shape} have no rows and columns", "choose an array with two axes"
            )
        if axes is None:
            axes = (named[-2], named[-1]) if len(named) > 1 else DEFAULT_AXES[kind]
        return cls(kind, axes)

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Channels, rows and columns of samples of this shape."""
        inner = (*shape[:-3], 2, *shape[-3:-1]) if self.kind == "complex" else shape
        channels = 1
        for size in inner[:-2]:
            channels *= size
        return channels, inner[-2], inner[-1]

    def images(self, batch: Tensor) -> Tensor:
        """(B, *sample_shape) -> (B, channel, rows, columns)."""
        if self.kind == "complex":
            batch = batch.movedim(-1, -3)
        return batch.reshape(len(batch), -1, *batch.shape[-2:])

    def samples(self, images: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Inverse of `images`."""
        if self.kind == "image":
            return images.reshape(len(images), *shape)
        return images.reshape(len(images), *shape[:-3], 2, *shape[-3:-1]).movedim(-3, -1)


def scale(images: Tensor, how: str) -> tuple[Tensor, Tensor | None]:
    """Bring every sample to a scale of its own.

    Args:
        images: (B, C, rows, columns).
        how: `power` (mean power one), `standard` (mean zero, deviation one), or `none`.

    Returns:
        The images, and for `power` the power that was divided out, (B,) in dB.
    """
    if how == "none":
        return images, None
    flat = images.flatten(1)
    if how == "standard":
        deviation, mean = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
        return ((flat - mean) / deviation.clamp_min(1e-6)).view_as(images), None
    power = flat.square().mean(1).clamp_min(torch.finfo(images.dtype).tiny)
    return images * power.rsqrt().view(-1, 1, 1, 1), 10 * power.log10()


def cut(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """Patches in row-major order, zero padded at the far ends: (B, C, rows, columns) -> (B, C, cells, h * w)."""
    high, wide = patch
    rows, columns = images.shape[-2:]
    if rows % high or columns % wide:
        images = F.pad(images, (0, -columns % wide, 0, -rows % high))
    batch, channels, rows, columns = images.shape
    blocks = images.reshape(batch, channels, rows // high, high, columns // wide, wide).transpose(3, 4)
    return blocks.reshape(batch, channels, -1, high * wide)


def join(values: Tensor, rows: int, columns: int, patch: tuple[int, int]) -> Tensor:
    """Inverse of `cut` without the padding: (B, C, cells, h * w) -> (B, C, rows, columns)."""
    high, wide = patch
    down, across = -(-rows // high), -(-columns // wide)
    blocks = values.reshape(*values.shape[:2], down, across, high, wide).transpose(3, 4)
    return blocks.reshape(*values.shape[:2], down * high, across * wide)[..., :rows, :columns]
