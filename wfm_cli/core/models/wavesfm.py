"""WavesFM: the masked autoencoder that LatentWave is compared with (arXiv 2511.15162).

Eight pre-norm blocks of width 256 (6.32 million), a CLS token, fixed positions, and a stem for each kind of input:
`vision` cuts images into patches (16 x 16 as published), `iq` cuts every antenna's samples into segments of time and
tells antennas apart by a learned row. Its decoder, four blocks of width 128, belongs to the objective.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from wfm_cli.core.models.blocks.images import Layout
from wfm_cli.core.models.blocks.positions import Positions
from wfm_cli.core.models.blocks.transformer import start
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.models.vit import PatchEncoder
from wfm_cli.core.recipe.models import WavesFMModel
from wfm_cli.errors import InputError


def build(block: WavesFMModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> WavesFMEncoder:
    """Called by `build_encoder`."""
    return WavesFMEncoder(block, sample_shape, dims)


class Adapter(nn.Module):
    """The 1 x 1 convolution in front of a stem that knows one channel; it starts as the mean of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 1)
        nn.init.constant_(self.mix.weight, 1.0 / channels)
        nn.init.zeros_(self.mix.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(B, K, channels * P), channel by channel -> (B, K, P)."""
        channels = self.mix.in_features
        mixed: Tensor = self.mix(values.view(*values.shape[:2], channels, -1).transpose(-1, -2))
        return mixed.squeeze(-1)


class WavesFMEncoder(PatchEncoder):
    """Encoder of WavesFM; a token holds the numbers of all channels at its place (`iq`: of both parts)."""

    kind: ClassVar[str] = "wavesfm"
    poolings = ("mean", "cls", "concat", "concat_std", "all")
    samples_channels = False

    def __init__(self, block: WavesFMModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> None:
        iq = block.stem == "iq"
        length = block.patch if isinstance(block.patch, int) else block.patch[1]
        axes = block.axes if block.axes or dims else ("antenna", "time")
        cut = block.model_copy(update={"patch": (1, length), "axes": axes}) if iq else block
        channels, rows, _ = Layout.of(sample_shape, dims, cut.input, cut.axes).grid(sample_shape)
        if iq and channels != 2:
            raise InputError(
                f"model.stem: iq takes samples (antenna, time) of complex numbers, got shape {sample_shape}",
                "set model.stem=vision",
            )
        super().__init__(cut, sample_shape, dims, together=2 if iq else None)
        self.prefix = 1
        antennas = block.antennas or rows
        self.block = block.model_copy(
            update={"input": self.layout.kind, "axes": self.layout.axes, "antennas": antennas}
        )
        self.adapter = Adapter(self.together) if block.channels == "adapter" and not iq and self.together > 1 else None
        size = self.patch[0] * self.patch[1] * (1 if self.adapter else self.together)
        self.projection = start(nn.Linear(size, self.dim))
        self.antenna = nn.Embedding(antennas, self.dim) if iq else None
        if self.antenna is not None:
            nn.init.trunc_normal_(self.antenna.weight, std=0.02)
        self.positions = Positions((self.axes[1],) if iq else self.axes, self.dim)
        self.admit(sample_shape)
        self.cls = nn.Parameter(torch.zeros(self.dim))
        nn.init.trunc_normal_(self.cls, std=0.02)

    def project(self, values: Tensor) -> Tensor:
        """The stem's projection, behind the adapter where there is one."""
        projected: Tensor = self.projection(values if self.adapter is None else self.adapter(values))
        return projected

    def place(self, coords: Tensor) -> Tensor:
        """Fixed waves over both axes, or (`iq`) over time with a learned row per antenna."""
        placed: Tensor = self.positions(coords if self.antenna is None else coords[:, 1:2])
        return placed if self.antenna is None else placed + self.antenna(coords[:, 0])

    def admit(self, shape: tuple[int, ...]) -> None:
        """Refuse more antennas than the iq stem has rows."""
        if self.antenna is not None and self.layout.grid(shape)[1] > self.antenna.num_embeddings:
            raise InputError(
                f"encoder 'wavesfm' knows {self.antenna.num_embeddings} antennas, samples of shape {shape} have more",
                "build it for the data at hand, or raise model.antennas",
            )

    def first(self, tokens: TokenGrid) -> Tensor | None:
        """CLS, with the sample's level added where the recipe asks for it."""
        cls = self.cls.expand(tokens.batch, 1, -1)
        if self.level is not None and tokens.level_db is not None:
            cls = cls + self.level(tokens.level_db).unsqueeze(1)
        return cls
