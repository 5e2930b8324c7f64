"""Recipe blocks of the encoders. The modules that build them live in `wfm_cli.core.models`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from wfm_cli.core.recipe.base import Strict


class LWMModel(Strict):
    """The Large Wireless Model family: one encoder, three published wirings.

    Sizes left out take the published values of the wiring (v1.0: width 64, 12 heads of 5; v1.1 and Spectro:
    width 128, 8 heads of 16; 12 layers each).
    """

    kind: Literal["lwm"] = "lwm"
    wiring: Literal["v1.0", "v1.1", "spectro"] = "v1.0"
    """Residual and norm wiring of the blocks, and the patch shape that goes with it."""
    layers: int | None = Field(None, ge=1, le=64)
    """Number of blocks."""
    width: int | None = Field(None, ge=8)
    """Embedding dimension D."""
    heads: int | None = Field(None, ge=1)
    """Attention heads; a head has width // heads dimensions, rounded down as published."""
    ffn: int | None = Field(None, ge=8)
    """Inner width of the feed-forward network."""
    max_tokens: int | None = Field(None, ge=2)
    """Rows of the position table, the CLS token included."""
    scale: Literal["published", "power"] = "published"
    """`published`: channels as they are stored (path gains x 1e6); `power`: every channel divided by its root mean
    square, whose log the CLS token carries instead. Far users are 60 dB below near ones, and a network that sees
    amplitudes learns little from them."""
    positions: Literal["random", "sincos"] = "random"
    """How the learned position table starts: normal numbers of deviation 0.02, or the sines and cosines of both grid
    axes, from which rows and columns are told apart at once."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention output and feed-forward network while training."""
    attention: Literal["auto", "sdpa", "math", "native"] = "auto"
    """Attention kernel, all exact: `native` is compiled on first use (CPU, heads of 4, 5 or 8), `sdpa` is torch's,
    `math` is spelled out; `auto` takes the fastest that works here."""


class ViTModel(Strict):
    """What LatentWave and WavesFM share: a pre-norm vision transformer over patches."""

    layers: int = Field(8, ge=1, le=64)
    """Number of blocks."""
    width: int = Field(256, ge=16)
    """Embedding dimension D."""
    heads: int = Field(8, ge=1)
    """Attention heads; they divide the width."""
    mlp: int = Field(4, ge=1)
    """Inner width of a block's perceptron, in widths."""
    patch: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = 16
    """Edge of a patch, or its rows and columns. 16 as published for 224 x 224; 4 suits channels of 32 x 32, of which
    16 would leave four tokens."""
    normalise: Literal["power", "standard", "none"] = "power"
    """Scale of every sample: mean power one, mean zero and deviation one, or as it is stored. Users of one cell differ
    by 60 dB, and a network that sees amplitudes learns little from the far ones."""
    power_token: bool = False
    """Tell the encoder the power that was divided out, in dB: as a token of its own, or in CLS where there is one."""
    input: Literal["complex", "image"] | None = None
    """`complex`: (rows, columns, [re, im]); `image`: ([channel,] rows, columns). By the store if left out."""
    axes: tuple[str, str] | None = None
    """Names of rows and columns, which mask geometries go by. Those of the store's array if left out."""


class LatentWaveModel(ViTModel):
    """LatentWave: one patch projection shared by all channels, whose tokens stand in one sequence.

    Left alone it has the published 6.4 million numbers on 224 x 224: 8 blocks 6,318,080, projection 65,792, final norm
    512, fixed positions 50,176.
    """

    kind: Literal["latentwave"] = "latentwave"
    parts: Literal["separate", "joint"] = "separate"
    """Real and imaginary parts as two channels with tokens of their own, or side by side in one token."""
    channel_sampling: bool = True
    """Train on a random subset of the channels, drawn once per step; no effect where there is one."""
    channel_embedding: bool = False
    """Add a learned row per channel. Without it any number of channels can be embedded, in any order."""
    channels: int | None = Field(None, ge=1)
    """Rows of the channel table; the channels of the training samples if left out."""


class WavesFMModel(ViTModel):
    """WavesFM: the masked autoencoder's encoder, 8 blocks of 256 (6.32 million) with a CLS token."""

    kind: Literal["wavesfm"] = "wavesfm"
    stem: Literal["vision", "iq"] = "vision"
    """`vision`: patches of images; `iq`: segments of `patch` samples of every antenna's time series."""
    channels: Literal["joint", "adapter"] = "joint"
    """Several channels of an image: all in one patch, as in pretraining, or mixed into one channel by a 1 x 1
    convolution that starts as their mean, as in the published fine-tuning."""
    antennas: int | None = Field(None, ge=1)
    """Antennas that the iq stem tells apart; those of the training samples if left out."""


def _default_kind(value: Any) -> Any:
    """A block that names no kind is an LWM."""
    return {"kind": "lwm", **value} if isinstance(value, dict) else value


ModelBlock = Annotated[
    LWMModel | LatentWaveModel | WavesFMModel, Field(discriminator="kind"), BeforeValidator(_default_kind)
]
"""Every encoder that a recipe can name."""
