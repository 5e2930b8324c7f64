"""Recipe blocks of the objectives. The modules that compute them live in `wfm_cli.core.objectives`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wfm_cli.core.recipe.base import Strict


class MaskedModellingBlock(Strict):
    """Masked channel modelling: hide tokens, reconstruct them, count the error on hidden tokens alone."""

    kind: Literal["masked_modelling"] = "masked_modelling"
    replace: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of masked tokens that become the MASK token, random values, or stay as they are."""
    normalise: Literal["sample", "batch", "none"] = "batch"
    """Denominator of the squared error: each sample's own masked power, the power of the whole batch, or none."""

    @model_validator(mode="after")
    def _shares(self) -> MaskedModellingBlock:
        if min(self.replace) < 0 or abs(sum(self.replace) - 1.0) > 1e-6:
            raise ValueError("the three shares of replace must be positive and add up to one")
        return self


class PredictorBlock(Strict):
    """The narrow transformer that fills in what the encoder has not seen."""

    width: int = Field(128, ge=8)
    """Width; the published decoders and predictors have 128."""
    depth: int = Field(4, ge=1, le=64)
    """Number of blocks."""
    heads: int = Field(8, ge=1)
    """Attention heads; they divide the width."""


class JepaBlock(Strict):
    """Joint-embedding prediction: from the visible tokens, predict what a slow copy of the encoder makes of the hidden
    ones. The slow copy is the encoder that the run keeps."""

    kind: Literal["jepa"] = "jepa"
    predictor: PredictorBlock = PredictorBlock()
    """Predictor."""
    loss: Literal["smooth_l1", "l1", "l2"] = "smooth_l1"
    """Distance between prediction and target."""
    normalise_targets: Literal["layer", "batch", "none"] = "layer"
    """`layer`: every target vector has mean zero and deviation one; `batch`: every feature has mean zero over the
    samples at each place of the grid and deviation one over all, so that what all samples share is no target and a
    constant cannot be one (small trainings collapse otherwise; statistics of a micro-batch on all devices)."""
    momentum: tuple[float, float] = (0.996, 1.0)
    """Share of itself that the target encoder keeps at each step, at the start and at the end."""
    momentum_shape: Literal["linear", "cosine"] = "linear"
    """How the momentum goes from the one to the other."""
    target_precision: Literal["train", "bf16"] = "train"
    """Arithmetic of the target encoder: that of the training, or bfloat16 (half the time of fp32, 0.4 % error)."""


class JepaSigregBlock(Strict):
    """Masked latent prediction without a teacher: targets come from the encoder itself, with their gradient stopped,
    and SIGReg (LeJEPA, arXiv 2511.08544) keeps the embeddings from collapsing."""

    kind: Literal["jepa_sigreg"] = "jepa_sigreg"
    predictor: PredictorBlock = PredictorBlock()
    """Predictor."""
    loss: Literal["smooth_l1", "l1", "l2"] = "smooth_l1"
    """Distance between prediction and target."""
    normalise_targets: Literal["layer", "batch", "none"] = "layer"
    """`layer`: every target vector has mean zero and deviation one; `batch`: every feature has mean zero over the
    samples at each place of the grid and deviation one over all, so that what all samples share is no target and a
    constant cannot be one (small trainings collapse otherwise; statistics of a micro-batch on all devices)."""
    weight: float = Field(0.02, gt=0, lt=1)
    """Weight of SIGReg; the prediction has the rest."""
    directions: int = Field(256, ge=1)
    """Random directions on which the embeddings are compared with a normal distribution, new ones at every step."""
    target_precision: Literal["train", "bf16"] = "train"
    """Arithmetic of the target pass: that of the training, or bfloat16."""


class ReconstructionBlock(Strict):
    """Masked autoencoding as in WavesFM: encode the visible tokens alone, let a narrow decoder fill in the others."""

    kind: Literal["reconstruction"] = "reconstruction"
    decoder: PredictorBlock = PredictorBlock(heads=16)
    """Decoder; published with 16 heads."""
    normalise_patches: bool = True
    """Bring every target patch to mean zero and deviation one, so that weak patches count as much as strong ones."""


def _default_kind(value: Any) -> Any:
    """A block that names no kind is masked modelling."""
    return {"kind": "masked_modelling", **value} if isinstance(value, dict) else value


AnyObjective = Annotated[
    MaskedModellingBlock | JepaBlock | JepaSigregBlock | ReconstructionBlock,
    Field(discriminator="kind"),
    BeforeValidator(_default_kind),
]
"""Every objective that a recipe can name."""
