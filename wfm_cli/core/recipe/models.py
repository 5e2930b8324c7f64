"""Recipe blocks of the encoders. The modules that build them live in `wfm_cli.core.models`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.msac import JEPAMSACModel


class LWMModel(Strict):
    """The Large Wireless Model for channels: one encoder, two published wirings.

    Sizes left out take the published values of the wiring (v1.0: width 64, 12 heads of 5; v1.1: width 128, 8 heads
    of 16; 12 layers each).
    """

    kind: Literal["lwm"] = "lwm"
    wiring: Literal["v1.0", "v1.1"] = "v1.0"
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


class LWMSpectroModel(Strict):
    """LWM-Spectro: the family's encoder on patches of spectrograms in dB.

    Left alone it has the published 2,531,728 numbers on 128 x 128: 12 blocks of width 128 with 8 heads of 16, 4x4
    patches, 1,024 places and CLS.
    """

    kind: Literal["lwm_spectro"] = "lwm_spectro"
    layers: int = Field(12, ge=1, le=64)
    """Number of blocks."""
    width: int = Field(128, ge=8)
    """Embedding dimension D."""
    heads: int = Field(8, ge=1)
    """Attention heads; a head has width // heads dimensions."""
    ffn: int | None = Field(None, ge=8)
    """Inner width of the feed-forward network; four widths if left out."""
    patch: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = 4
    """Edge of a patch, or its rows (frequency) and columns (time). Published: 4; 8 makes a step on a CPU four to
    eight times cheaper."""
    grid: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """Patches along frequency and time that the position table has rows for; those of the training samples if left
    out. Smaller samples use the part of the table that they cover."""
    normalise: Literal["sample", "corpus"] = "sample"
    """`sample`: mean zero and deviation one for every spectrogram, as published, which hides its level and much of its
    SNR; `corpus`: one mean and deviation for all, which keeps both."""
    corpus_db: tuple[float, float] | None = None
    """Mean and deviation in dB of `corpus`; those of the whole array of the training store if left out, which the run
    keeps."""
    positions: Literal["random", "sincos"] = "random"
    """How the learned position table starts: normal numbers of deviation 0.02, or the sines and cosines of both axes,
    from which rows and columns are told apart at once."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention output and feed-forward network while training."""
    attention: Literal["auto", "sdpa", "math"] = "auto"
    """Attention kernel, both exact: `sdpa` is torch's, `math` is spelled out; `auto` takes the fastest here."""
    pooling: Literal["mean", "cls", "all", "concat", "mean_std"] = "mean"
    """What embeds a sample where nothing else is said: the mean over patches (published), CLS, the mean over both, CLS
    and mean side by side, or the mean beside the deviation over time (2 D), in which mobility shows."""


class RouterBlock(Strict):
    """The network that chooses experts: four convolutions, mean over the picture, one linear layer."""

    channels: tuple[int, int, int, int] = (32, 64, 96, 128)
    """Channels of the convolutions (5x5, then 3x3, each with stride 2)."""
    norm: Literal["group", "batch"] = "group"
    """`group`: groups of eight channels of each sample; `batch`: the published batch norm with its statistics held, for
    official checkpoints (statistics of a batch would make a training depend on micro-batches and devices)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout before the linear layer."""


class LWMSpectroMoEModel(Strict):
    """LWM-Spectro's mixture: one encoder per standard, of which a router picks one or two for every sample."""

    kind: Literal["lwm_spectro_moe"] = "lwm_spectro_moe"
    experts: dict[str, str | None] = Field({"wifi": None, "lte": None, "nr": None}, min_length=2)
    """Name of every expert, with the run whose encoder it starts from, or null for fresh weights. The names are those
    of the classes of the objective's label."""
    expert: LWMSpectroModel = LWMSpectroModel()
    """Sizes of every expert; runs must have the same."""
    top: int = Field(1, ge=1, le=2)
    """Experts that each sample goes through (published: 1 in the paper, 2 in the code); their weights add up to one."""
    freeze: bool = False
    """Train the router alone."""
    router: RouterBlock = RouterBlock()
    """Router."""


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
    domain: Literal["element", "angle_delay"] = "element"
    """Complex channels as they are, or their angles and delays: an isometric DFT over rows, of twice as many bins, and
    over columns. Rows then stand for angles and columns for delays, and so do the mask geometries of these axes."""
    values: Literal["parts", "log_magnitude"] = "parts"
    """Both parts of complex numbers, or their level in decibels below the sample's mean power, without the phase."""
    start: Literal["small", "glorot"] = "small"
    """Starting weights of the blocks: of deviation 0.02, as in I-JEPA, so that a fresh encoder hardly mixes its tokens;
    or Glorot's, with which a narrow one mixes from the start."""
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
    """A block that names no kind is an LWM. Its wiring `spectro` of earlier runs is a kind of its own now."""
    if not isinstance(value, dict):
        return value
    if value.get("kind", "lwm") == "lwm" and value.get("wiring") == "spectro":
        kept = ("layers", "width", "heads", "ffn", "positions", "dropout")
        return {"kind": "lwm_spectro", "pooling": "cls", **{k: value[k] for k in kept if value.get(k) is not None}}
    return {"kind": "lwm", **value}


ModelBlock = Annotated[
    LWMModel | LWMSpectroModel | LWMSpectroMoEModel | LatentWaveModel | WavesFMModel | JEPAMSACModel,
    Field(discriminator="kind"),
    BeforeValidator(_default_kind),
]
"""Every encoder that a recipe can name."""
