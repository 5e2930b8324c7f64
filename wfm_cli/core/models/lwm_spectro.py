"""LWM-Spectro (arXiv 2601.08780): the LWM family's encoder on spectrograms in dB."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from wfm_cli.core.models.blocks.images import cut, join
from wfm_cli.core.models.blocks.lwm import WIRINGS, Sizes
from wfm_cli.core.models.blocks.patches import grid_coords, grid_sincos
from wfm_cli.core.models.lwm_family import FamilyEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import LWMSpectroModel
from wfm_cli.errors import InputError

AXES = ("frequency", "time")
_LEAST_DB = 1e-6
"""Smallest deviation that is divided by, as published."""
_TINY = 1e-12
"""Added to variances over time, so that a sample without any has a gradient."""


def build(
    block: LWMSpectroModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None
) -> LWMSpectroEncoder:
    """Called by `build_encoder`."""
    return LWMSpectroEncoder(block, sample_shape)


class LWMSpectroEncoder(FamilyEncoder):
    """One encoder of LWM-Spectro, an expert of its mixture.

    Takes (frequency, time) spectrograms in dB, with or without one channel axis of length one in front or behind, of
    any size whose patches the position table covers; odd sizes are padded with zeros after scaling.

    Poolings: `mean` over patches (published), `cls`, `all`, `concat`, and `mean_std`: the mean over patches, then the
    deviation over time (population) of the mean over frequency, (B, 2 D).
    """

    kind: ClassVar[str] = "lwm_spectro"
    poolings = ("mean", "cls", "all", "concat", "mean_std")
    wiring = "spectro"

    def __init__(self, block: LWMSpectroModel, sample_shape: tuple[int, ...]) -> None:
        patch = (block.patch, block.patch) if isinstance(block.patch, int) else block.patch
        here = _places(sample_shape, patch)
        grid = block.grid or here
        sizes = Sizes(block.layers, block.width, block.heads, block.ffn or 4 * block.width, grid[0] * grid[1] + 1)
        super().__init__(WIRINGS["spectro"], sizes, patch[0] * patch[1], block.dropout, block.attention)
        self.block = block.model_copy(update={"ffn": sizes.ffn, "grid": grid})
        self.patch, self.grid, self.sample_shape = patch, grid, sample_shape
        self.default_pooling = block.pooling
        if block.normalise == "corpus" and block.corpus_db is None:
            raise InputError(
                "model.corpus_db: normalise=corpus needs the mean and deviation of the data",
                "train on a store, which has them, or name both in dB",
            )
        self.corpus_db = block.corpus_db if block.normalise == "corpus" else None
        self._coords: Tensor
        self.register_buffer("_coords", self._grid_of(sample_shape), persistent=False)
        if block.positions == "sincos":
            with torch.no_grad():
                self.embedding.position[1:] = grid_sincos(grid_coords(*grid), sizes.width)

    def tokenize(self, batch: Tensor) -> TokenGrid:
        """Patches of (B, *sample_shape) spectrograms in dB, or of another size.

        Returns:
            (B, ceil(F / h) ceil(T / w), h w) in row-major order, on axes frequency, time.
        """
        shape = tuple(batch.shape[1:])
        coords = self._coords if shape == self.sample_shape else self._grid_of(shape).to(batch.device)
        images = self.scaled(batch.reshape(len(batch), 1, *image_size(shape)))
        return TokenGrid(cut(images, self.patch)[:, 0], coords, AXES)

    def scaled(self, images: Tensor) -> Tensor:
        """Spectrograms (B, 1, F, T) in dB on the scale of the tokens."""
        if self.corpus_db is not None:
            mean, deviation = self.corpus_db
            return (images - mean) / max(deviation, _LEAST_DB)
        flat = images.flatten(1)
        spread, level = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
        return ((flat - level) / spread.clamp_min(_LEAST_DB)).view_as(images)

    def untokenize(self, values: Tensor) -> Tensor:
        """Inverse of `tokenize` for `sample_shape`, up to padding and scale: (B, N, P) -> (B, *sample_shape)."""
        rows, columns = image_size(self.sample_shape)
        return join(values.unsqueeze(1), rows, columns, self.patch).reshape(len(values), *self.sample_shape)

    def table_rows(self, tokens: TokenGrid) -> Tensor | None:
        """Places of smaller samples lie within the table's grid."""
        whole = self.grid[0] * self.grid[1]
        if tokens.count == whole or (tokens.coords is self._coords and self._in_order):
            return None
        return tokens.coords[:, 0] * self.grid[1] + tokens.coords[:, 1]

    @property
    def _in_order(self) -> bool:
        return _places(self.sample_shape, self.patch)[1] == self.grid[1]

    def pool(self, hidden: Tensor, pooling: str | None = None, coords: Tensor | None = None) -> Tensor:
        """See `Encoder.pool`."""
        if (pooling or self.default_pooling) != "mean_std":
            return super().pool(hidden, pooling, coords)
        return mean_and_deviation(hidden[:, self.prefix :], self._coords if coords is None else coords)

    def embedding_dim(self, pooling: str | None = None) -> int:
        """Length of what `embed` returns for a sample."""
        return 2 * self.dim if (pooling or self.default_pooling) == "mean_std" else super().embedding_dim(pooling)

    def _grid_of(self, shape: tuple[int, ...]) -> Tensor:
        """Coordinates of the patches of a sample of this shape."""
        rows, columns = _places(shape, self.patch)
        if rows > self.grid[0] or columns > self.grid[1]:
            raise InputError(
                f"encoder 'lwm_spectro': samples of shape {shape} have {rows} x {columns} patches, its position table "
                f"has {self.grid[0]} x {self.grid[1]}",
                "prepare smaller spectrograms, or train with a larger model.grid",
            )
        return grid_coords(rows, columns)


def mean_and_deviation(tokens: Tensor, coords: Tensor) -> Tensor:
    """Mean over all tokens beside the deviation over time of their mean over frequency.

    What changes from frame to frame, such as fading, leaves no trace in a mean over time.

    Args:
        tokens: (B, N, D) hidden vectors of a complete grid in row-major order.
        coords: (N, 2) int64, frequency and time.

    Returns:
        (B, 2 D).
    """
    frames = int(coords[-1, 1]) + 1
    columns = tokens.reshape(len(tokens), -1, frames, tokens.shape[2]).mean(1)
    deviation = (columns.var(dim=1, correction=0) + _TINY).sqrt()
    return torch.cat([columns.mean(1), deviation], 1)


def _places(shape: tuple[int, ...], patch: tuple[int, int]) -> tuple[int, int]:
    """Patches along frequency and time of one sample."""
    rows, columns = image_size(shape)
    return -(-rows // patch[0]), -(-columns // patch[1])


def image_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Frequency and time length of a spectrogram shape with at most one channel axis of length one."""
    sizes = shape
    if len(sizes) == 3:
        sizes = sizes[1:] if sizes[0] == 1 else sizes[:2] if sizes[2] == 1 else sizes
    if len(sizes) != 2:
        raise InputError(
            f"encoder 'lwm_spectro' needs spectrograms of shape (frequency, time), got samples of shape {shape}",
            "choose an array of real spectrograms with one channel (data.array: spectrogram)",
        )
    return sizes[0], sizes[1]
