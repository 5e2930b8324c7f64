"""Recipe blocks of the probes: what is fitted on an encoder, and how much of the encoder changes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from wfm_cli.core.recipe.base import Strict

ProbeKind = Literal[
    "linear", "logistic", "ridge", "knn", "attentive", "res1dcnn", "finetune", "lora", "full", "scratch", "cnn",
    "resnet18",
]  # fmt: skip
"""Every kind of probe, from strict to supervised."""


class PlainProbe(Strict):
    """A probe without settings of its own."""

    kind: Literal["linear", "logistic", "ridge", "knn", "full", "scratch"]
    """`linear`: the task's own strict probe (logistic regression for classes, ridge for values); `full`: all weights
    are tuned; `scratch`: the same from random weights, once for all encoders of one architecture."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return self.kind


class AttentiveProbe(Strict):
    """One learned query attends to the frozen tokens; what it gathers goes into a linear head."""

    kind: Literal["attentive"]
    heads: int = Field(4, ge=1)
    """Attention heads; reduced to the next number that divides the width."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return self.kind


class Res1DCNNProbe(Strict):
    """The residual 1-D convolutional head of the LWM papers (about half a million weights) on what a frozen encoder
    makes: nine residual blocks of 32 to 128 channels, mean over places, one hidden layer."""

    kind: Literal["res1dcnn"]
    input: Literal["tokens", "embedding"] = "tokens"
    """`tokens`: one place per token, features are channels; `embedding`: the pooled vector is one channel."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout before the last layer."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return self.kind if self.input == "tokens" else f"{self.kind} on embedding"


class FinetuneProbe(Strict):
    """The last blocks and the norm behind them are tuned together with a linear head."""

    kind: Literal["finetune"]
    blocks: int = Field(2, ge=1)
    """Blocks that are tuned, counted from the end."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return f"finetune last {self.blocks}"


class LoraProbe(Strict):
    """Low-rank additions to the query and value projections of every block, and a linear head; all else is frozen."""

    kind: Literal["lora"]
    rank: int = Field(8, ge=1)
    """Rank of the additions."""
    alpha: float = Field(16.0, gt=0)
    """Strength of the addition."""
    scale: Literal["rank", "sqrt_rank"] = "rank"
    """The product of the factors is multiplied by alpha / rank as published, or by alpha / sqrt(rank) as in WavesFM."""

    @property
    def factor(self) -> float:
        """What the product of the factors is multiplied by."""
        return self.alpha / (self.rank if self.scale == "rank" else self.rank**0.5)

    @property
    def name(self) -> str:
        """Word for tables."""
        return f"lora r{self.rank} a{self.alpha:g}{'' if self.scale == 'rank' else ' sqrt'}"


class ConvProbe(Strict):
    """A deep CNN trained from scratch on raw samples, once for all encoders: what the labels teach by themselves."""

    kind: Literal["cnn"]
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((16, 32, 64, 128), min_length=1)
    """Channels of the stages, each of two convolutions of kernel 3, the first with stride 2."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return f"{self.kind} {'-'.join(map(str, self.widths))}"


class ResNetProbe(Strict):
    """A ResNet-18-like network trained from scratch on raw samples, once for all encoders."""

    kind: Literal["resnet18"]
    width: int = Field(64, ge=1)
    """Channels of the stem and the first stage; 64 is ResNet-18 (11.2 million weights), 16 has 0.7 million."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return f"{self.kind} w{self.width}"


_Choice = PlainProbe | AttentiveProbe | Res1DCNNProbe | FinetuneProbe | LoraProbe | ConvProbe | ResNetProbe
STRICT = ("linear", "logistic", "ridge", "knn")
"""Kinds that need nothing but one vector per sample."""
FROZEN = (*STRICT, "attentive", "res1dcnn")
"""Kinds that leave the encoder as it is."""
SUPERVISED = ("cnn", "resnet18")
"""Kinds that know no encoder: networks on raw samples."""


def _spelled_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


ProbeChoice = Annotated[
    _Choice,
    Field(discriminator="kind"),
    BeforeValidator(_spelled_out, json_schema_input_type=ProbeKind | Annotated[_Choice, Field(discriminator="kind")]),
]
"""A probe by name, or with its settings."""


def named(kind: str) -> _Choice:
    """The probe of a kind with its default settings."""
    probe: _Choice = TypeAdapter(ProbeChoice).validate_python(kind)
    return probe
