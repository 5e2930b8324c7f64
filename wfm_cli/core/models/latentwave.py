"""LatentWave: a vision transformer with one patch projection for every channel (arXiv 2606.06373).

No code of it is public. Its sizes follow from the printed count of 6.4 million: 8 blocks of width 256 (6,318,080), one
single-channel 16 x 16 projection (65,792), the final norm (512) and the fixed table of 14 x 14 positions (50,176). The
tokens of all channels stand in one sequence, as in ChannelViT (arXiv 2309.16108), so any number of channels will do.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wfm_cli.core.models.blocks.positions import Positions
from wfm_cli.core.models.blocks.transformer import start
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.models.vit import PatchEncoder
from wfm_cli.core.recipe.models import LatentWaveModel
from wfm_cli.errors import InputError


def build(
    block: LatentWaveModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None
) -> LatentWaveEncoder:
    """Called by `build_encoder`."""
    return LatentWaveEncoder(block, sample_shape, dims)


class LatentWaveEncoder(PatchEncoder):
    """Encoder of LatentWave.

    Pooling `mean` averages the final-norm patch tokens; with a power token, `concat` puts that token's output in front
    of the average and is the default: the level of a sample is then a linear matter.
    """

    kind: ClassVar[str] = "latentwave"

    def __init__(
        self, block: LatentWaveModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None
    ) -> None:
        together = 2 if block.parts == "joint" and block.values == "parts" else 1
        super().__init__(block, sample_shape, dims, together=together)
        if block.parts == "joint" and self.layout.kind != "complex":
            raise InputError("model.parts: only complex samples have parts to join", "set model.parts=separate")
        slots = block.channels or self.channels // self.together
        self.block = self.block.model_copy(update={"channels": slots})
        self.samples_channels = block.channel_sampling
        self.projection = start(nn.Linear(self.patch[0] * self.patch[1] * self.together, self.dim))
        self.positions = Positions(self.axes, self.dim, slots if block.channel_embedding else 0)
        self.admit(sample_shape)
        if block.power_token:
            self.prefix = 1
            self.poolings, self.default_pooling = ("mean", "concat", "concat_std", "all", "cls"), "concat"

    def project(self, values: Tensor) -> Tensor:
        """The shared projection."""
        projected: Tensor = self.projection(values)
        return projected

    def place(self, coords: Tensor) -> Tensor:
        """Fixed waves, and the row of the channel where channels have one."""
        placed: Tensor = self.positions(coords)
        return placed

    def admit(self, shape: tuple[int, ...]) -> None:
        """Refuse more channels than the channel table has rows."""
        slots = self.positions.channel
        if slots is not None and self.grid(shape)[0] // self.together > slots.num_embeddings:
            raise InputError(
                f"encoder 'latentwave' knows {slots.num_embeddings} channels, samples of shape {shape} have more",
                "train with model.channel_embedding=false, which takes any number, or raise model.channels",
            )

    def first(self, tokens: TokenGrid) -> Tensor | None:
        """The power token."""
        if self.level is None or tokens.level_db is None:
            return None
        level: Tensor = self.level(tokens.level_db)
        return level.unsqueeze(1)
