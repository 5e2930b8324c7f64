"""Recipe blocks of the encoders. The modules that build them live in `wfm_cli.core.models`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
    """How the learned position table starts: normal numbers of deviation 0.02 as published, or the sines and cosines
    of both grid axes, from which rows and columns are told apart at once."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention output and feed-forward network while training."""
    attention: Literal["auto", "sdpa", "math", "native"] = "auto"
    """Attention kernel, all exact: `native` is compiled on first use (CPU, heads of 4, 5 or 8), `sdpa` is torch's,
    `math` is spelled out; `auto` takes the fastest that works here."""


ModelBlock = LWMModel
"""Every encoder that a recipe can name."""
