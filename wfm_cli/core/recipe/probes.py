"""Recipe blocks of the probes: what is fitted on an encoder, and how much of the encoder changes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from wfm_cli.core.recipe.base import Strict

ProbeKind = Literal["linear", "logistic", "ridge", "knn", "attentive", "finetune", "lora", "full", "scratch"]
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
    """The addition is alpha / rank times the product of its factors."""

    @property
    def name(self) -> str:
        """Word for tables."""
        return f"lora r{self.rank} a{self.alpha:g}"


_Choice = PlainProbe | AttentiveProbe | FinetuneProbe | LoraProbe
FROZEN = ("linear", "logistic", "ridge", "knn", "attentive")
"""Kinds that leave the encoder as it is."""
STRICT = FROZEN[:-1]
"""Kinds that need nothing but one vector per sample."""


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
