"""What the vision transformers for channels and spectrograms share: patches, fixed positions, pre-norm blocks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.blocks.domain import angle_delay, bins, elements, log_magnitude
from wfm_cli.core.models.blocks.images import Layout, cut, join, scale
from wfm_cli.core.models.blocks.level import Level
from wfm_cli.core.models.blocks.patches import grid_coords
from wfm_cli.core.models.blocks.transformer import EPSILON, blocks
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import ViTModel
from wfm_cli.errors import InputError


class PatchEncoder(Encoder):
    """A pre-norm vision transformer over rectangular patches of samples that it brings to one scale itself.

    Takes samples of other sizes and channel counts than it was built for, as far as its learned rows reach.

    Attributes:
        block: the recipe's block with everything resolved, so that an encoder is rebuilt without the store.
        layout: how samples lie in memory.
        patch: rows and columns of a patch.
        together: channels whose numbers share a token (1: every channel has tokens of its own).
    """

    poolings: tuple[str, ...] = ("mean", "concat_std")

    def __init__(
        self, block: ViTModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None, *, together: int | None = 1
    ) -> None:
        """`together` None puts all channels of a sample into one token."""
        super().__init__()
        if block.power_token and block.normalise != "power":
            raise InputError("model.power_token: needs model.normalise=power", "leave one of the two out")
        self.layout = Layout.of(sample_shape, dims, block.input, block.axes)
        if self.layout.kind != "complex" and (block.domain, block.values) != ("element", "parts"):
            raise InputError(
                "model: domain=angle_delay and values=log_magnitude are for complex samples", "leave both out"
            )
        self.domain, self.values = block.domain, block.values
        self.channels = self.grid(sample_shape)[0]
        self.together = self.channels if together is None else together
        self.patch = (block.patch, block.patch) if isinstance(block.patch, int) else block.patch
        self.sample_shape = sample_shape
        self.dim = block.width
        self.normalise = block.normalise
        self.prefix = 0
        self.block: Any = block.model_copy(update={"input": self.layout.kind, "axes": self.layout.axes})
        self.axes = (*self.layout.axes, "channel")
        self.level = Level(block.width) if block.power_token else None
        deviation = None if block.start == "glorot" else 0.02
        self.blocks = blocks(block.layers, block.width, block.heads, block.mlp * block.width, deviation=deviation)
        self.norm = nn.LayerNorm(block.width, eps=EPSILON)
        self._coords: Tensor
        self.register_buffer("_coords", self._grid(sample_shape), persistent=False)

    def tokenize(self, batch: Tensor) -> TokenGrid:
        """Tokens of (B, *sample_shape) float32 samples.

        Returns:
            (B, N, P) on the axes of the layout and `channel`, channel by channel, each in row-major order.
        """
        shape = tuple(batch.shape[1:])
        coords = self._coords
        if shape != self.sample_shape:
            coords = self._grid(shape).to(batch.device)
            self.admit(shape)
        images, level_db = scale(self._images(batch), self.normalise)
        return TokenGrid(self._cut(self._valued(images)), coords, self.axes, level_db)

    def patches(self, batch: Tensor) -> Tensor:
        """The numbers of all tokens as they are, without `tokenize`'s scale: (B, *sample_shape) -> (B, N, P)."""
        return self._cut(self._valued(self._images(batch)))

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Channels, rows and columns that samples of this shape are cut from."""
        channels, rows, columns = self.layout.grid(shape)
        return (
            channels // 2 if self.values == "log_magnitude" else channels,
            bins(rows) if self.domain == "angle_delay" else rows,
            columns,
        )

    def _images(self, batch: Tensor) -> Tensor:
        """(B, *sample_shape) -> (B, C, rows, columns) in the domain of the recipe."""
        return self.layout.images(angle_delay(batch) if self.domain == "angle_delay" else batch)

    def _valued(self, images: Tensor) -> Tensor:
        """What the recipe takes of the numbers of an image."""
        return log_magnitude(images) if self.values == "log_magnitude" else images

    def _cut(self, images: Tensor) -> Tensor:
        """(B, C, rows, columns) -> (B, N, P)."""
        patches = cut(images, self.patch)
        batch, _, cells, size = patches.shape
        if self.together > 1:
            patches = patches.view(batch, -1, self.together, cells, size).transpose(2, 3)
        return patches.reshape(batch, -1, size * self.together)

    def untokenize(self, values: Tensor) -> Tensor:
        """Inverse of `tokenize` for `sample_shape`, up to the scale: (B, N, P) -> (B, *sample_shape)."""
        channels, rows, columns = self.grid(self.sample_shape)
        cells = len(self._coords) // (channels // self.together)
        patches = values.reshape(len(values), -1, cells, self.together, values.shape[2] // self.together)
        patches = patches.transpose(2, 3).reshape(len(values), channels, cells, -1)
        images = join(patches, rows, columns, self.patch)
        if self.values == "log_magnitude":
            raise InputError("model.values=log_magnitude: phases are lost, there is no way back to channels")
        shape = self.sample_shape
        if self.domain == "angle_delay":
            return elements(self.layout.samples(images, (*shape[:-3], rows, *shape[-2:])))
        return self.layout.samples(images, shape)

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        """See `Encoder.encode`; tokens that are left out are not even projected."""
        values, place = tokens.values, self.place(tokens.coords)
        if keep is not None:
            values = values.gather(1, keep.unsqueeze(-1).expand(-1, -1, values.shape[2]))
            place = place[keep]
        x = self.project(values) + place
        first = self.first(tokens)
        if first is not None:
            x = torch.cat([first.to(x.dtype), x], 1)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.norm(x)
        return result

    def pool(self, hidden: Tensor, pooling: str | None = None, coords: Tensor | None = None) -> Tensor:
        """See `Encoder.pool`; `concat_std` is the token in front, if any, then mean and deviation over the patches."""
        if (pooling or self.default_pooling) != "concat_std":
            return super().pool(hidden, pooling, coords)
        deviation, mean = torch.std_mean(hidden[:, self.prefix :], dim=1, correction=0)
        return torch.cat([hidden[:, : self.prefix].flatten(1), mean, deviation], 1)

    def embedding_dim(self, pooling: str | None = None) -> int:
        """See `Encoder.embedding_dim`."""
        if (pooling or self.default_pooling) != "concat_std":
            return super().embedding_dim(pooling)
        return (self.prefix + 2) * self.dim

    @abstractmethod
    def admit(self, shape: tuple[int, ...]) -> None:
        """Refuse samples for which learned rows are missing."""

    @abstractmethod
    def project(self, values: Tensor) -> Tensor:
        """(B, K, P) -> (B, K, D)."""

    @abstractmethod
    def place(self, coords: Tensor) -> Tensor:
        """(N, A) int64 -> (N, D)."""

    @abstractmethod
    def first(self, tokens: TokenGrid) -> Tensor | None:
        """(B, prefix, D), the tokens in front."""

    def _grid(self, shape: tuple[int, ...]) -> Tensor:
        """Coordinates of all tokens: (N, 3) int64 row, column, channel."""
        channels, rows, columns = self.grid(shape)
        if channels % self.together:
            raise InputError(
                f"encoder '{self.kind}' puts {self.together} channels into one token; samples of shape {shape} have "
                f"{channels}",
                "build the encoder for the data at hand",
            )
        high, wide = self.patch
        groups = channels // self.together
        channel, row, column = grid_coords(groups, -(-rows // high), -(-columns // wide)).unbind(1)
        return torch.stack([row, column, channel], 1)
