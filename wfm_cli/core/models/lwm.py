"""LWM v1.0 and LWM v1.1 (arXiv 2411.08872): encoders of channels. Official weights are read by `import_lwm`."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar

import torch
from torch import Tensor

from wfm_cli.core.models.blocks.lwm import WIRINGS as WIRINGS
from wfm_cli.core.models.blocks.lwm import Sizes
from wfm_cli.core.models.blocks.patches import (
    grid_coords,
    grid_sincos,
    join_patches,
    join_rows,
    split_patches,
    split_rows,
)
from wfm_cli.core.models.lwm_family import FamilyEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.errors import InputError


def build(block: LWMModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> LWMEncoder:
    """Called by `build_encoder`; the wiring says what the axes are."""
    return LWMEncoder(block, sample_shape)


class LWMEncoder(FamilyEncoder):
    """LWM v1.0 or v1.1, head included, as the published parameter counts have it.

    Both read channels (antenna, subcarrier, 2) in the published scale (path gains x 1e6). v1.0 needs rows of 16
    subcarriers; v1.1 pads both axes with zeros to multiples of 4.
    """

    kind: ClassVar[str] = "lwm"
    poolings = ("cls", "mean", "all")
    default_pooling = "cls"

    def __init__(self, block: LWMModel, sample_shape: tuple[int, ...]) -> None:
        wiring = WIRINGS[block.wiring]
        width = block.width or wiring.width
        heads, rows = block.heads or wiring.heads, block.max_tokens or wiring.rows
        sizes = Sizes(block.layers or 12, width, heads, block.ffn or 4 * width, rows)
        super().__init__(wiring, sizes, wiring.element, block.dropout, block.attention)
        self.block = block.model_copy(update=asdict(sizes))
        self.wiring = block.wiring
        self.sample_shape = sample_shape
        self.scale = block.scale
        self._axes, coords = _grid(block.wiring, sample_shape)
        self._coords: Tensor
        self.register_buffer("_coords", coords, persistent=False)
        self._check_length(coords.shape[0])
        if block.positions == "sincos":
            with torch.no_grad():
                self.embedding.position[1 : coords.shape[0] + 1] = grid_sincos(coords, sizes.width)

    def tokenize(self, batch: Tensor) -> TokenGrid:
        """Tokens of samples; v1.1 also takes other sizes than `sample_shape`.

        Args:
            batch: (B, antenna, subcarrier, 2) float32 channels.

        Returns:
            v1.0: (B, 2 M K / 16, 16) on axes antenna, subcarrier, part. v1.1: (B, ceil(M/4) ceil(K/4), 32) on antenna,
            subcarrier.
        """
        shape = tuple(batch.shape[1:])
        coords = self._coords
        if shape != self.sample_shape:
            if self.wiring != "v1.1":
                raise InputError(
                    f"encoder 'lwm' {self.wiring} was built for samples of shape {self.sample_shape}, got {shape}",
                    "build the encoder for the data at hand",
                )
            coords = _grid(self.wiring, shape)[1].to(batch.device)
            self._check_length(coords.shape[0])
        level_db = None
        if self.scale == "power":
            power = batch.square().flatten(1).mean(1).clamp_min(torch.finfo(batch.dtype).tiny)
            batch, level_db = batch * power.rsqrt().view(-1, 1, 1, 1), 10 * power.log10()
        if self.wiring == "v1.0":
            return TokenGrid(split_rows(batch, self.element), coords, self._axes, level_db)
        return TokenGrid(split_patches(batch, 4), coords, self._axes, level_db)

    def untokenize(self, values: Tensor) -> Tensor:
        """Inverse of `tokenize` for `sample_shape`, up to padding and division by the power."""
        shape = self.sample_shape
        if self.wiring == "v1.0":
            return join_rows(values, shape[0], shape[1])
        return join_patches(values, shape[0], shape[1], 4)

    def _check_length(self, tokens: int) -> None:
        if tokens + 1 > self.rows:
            raise InputError(
                f"model.max_tokens: {tokens} tokens and CLS do not fit into a position table of {self.rows} rows",
                "use fewer antennas or subcarriers, or raise model.max_tokens (published weights cannot be stretched)",
            )


def _grid(wiring: str, shape: tuple[int, ...]) -> tuple[tuple[str, ...], Tensor]:
    """Axes and coordinates of the token grid of one sample."""
    if len(shape) != 3 or shape[2] != 2:
        raise InputError(
            f"encoder 'lwm' {wiring} needs channels of shape (antenna, subcarrier, 2), got samples of shape {shape}",
            "choose the array of the store that holds complex channels (data.array: channel)",
        )
    antennas, subcarriers = shape[:2]
    if wiring == "v1.1":
        return ("antenna", "subcarrier"), grid_coords(-(-antennas // 4), -(-subcarriers // 4))
    if subcarriers % 16 and (16 % subcarriers or antennas * subcarriers % 16):
        raise InputError(
            f"encoder 'lwm' v1.0 cuts antenna rows into 16 subcarriers; {antennas} x {subcarriers} does not divide",
            "use a multiple of 16 subcarriers, or model.wiring=v1.1, which pads",
        )
    span = max(1, 16 // subcarriers)  # antennas that share a token when there are fewer than 16 subcarriers
    part, antenna, subcarrier = grid_coords(2, antennas // span, max(1, subcarriers // 16)).unbind(1)
    return ("antenna", "subcarrier", "part"), torch.stack([antenna, subcarrier, part], 1)
