"""Recipe blocks of the objectives. The modules that compute them live in `wfm_cli.core.objectives`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.msac import JepaMSACBlock, SensorReconstructionBlock


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


class SpectrogramViewsBlock(Strict):
    """How the two views of a spectrogram are made, on the device and for a whole batch. Numbers are drawn per view and
    sample, uniform within their bounds; zero or null switches a change off."""

    time_shift: float = Field(0.5, ge=0, le=1)
    """Largest shift in time, as a share of the frames."""
    edges: Literal["wrap", "reflect"] = "wrap"
    """What enters at an end of the time axis: the frames that left at the other one, or a reflection."""
    frequency_shift: float = Field(0.0, ge=0, le=1)
    """Largest shift in frequency either way, as a share of the bins; what leaves re-enters on the other side."""
    tilt_db: float = Field(6.0, ge=0)
    """Channel: largest gain at the edges of the band in dB, rising or falling linearly over frequency."""
    echo: float = Field(0.5, ge=0, lt=1)
    """Channel: largest amplitude of a second path relative to the first, which makes dips in frequency."""
    echo_cycles: float = Field(3.0, gt=0)
    """Channel: largest number of dips across the band, the second path's delay times the sampling rate."""
    noise_db: tuple[float, float] | None = (10.0, 30.0)
    """Range of the SNR in dB of white noise that is added to the power of each bin, relative to the mean power of the
    sample. It hides some of a sample's own SNR: switch it off, or start higher, where SNR is what counts."""

    @model_validator(mode="after")
    def _rises(self) -> SpectrogramViewsBlock:
        if self.noise_db is not None and self.noise_db[0] > self.noise_db[1]:
            raise ValueError("noise_db: the lower bound comes first")
        return self


class ContrastiveBlock(Strict):
    """Contrast of two views of every sample with those of the other samples in the micro-batch of a device."""

    loss: Literal["ntxent", "infonce"] = "ntxent"
    """`ntxent` (SimCLR): the 2 B - 1 other views are candidates; `infonce`: the B views of the other kind."""
    temperature: float = Field(0.2, gt=0)
    """Divides the cosines."""
    weight: float = Field(0.1, gt=0)
    """Weight of the loss beside the masked one."""
    width: int = Field(128, ge=2)
    """Width of the projection head's output; its inner width is that of the embedding."""
    pooling: Literal["mean", "cls", "all", "concat", "mean_std"] | None = None
    """Pooling whose embeddings are contrasted; the model's own if left out."""
    views: SpectrogramViewsBlock = SpectrogramViewsBlock()
    """Views."""


class RoutingBlock(Strict):
    """How a mixture's router is trained."""

    label: str | None = None
    """Label array of the store that names the experts, such as `labels/standard`."""
    cross_entropy: float = Field(0.05, ge=0)
    """Weight of the router's cross-entropy on the label."""
    balance: float = Field(0.05, ge=0)
    """Weight of the mean squared difference between the mean gates of a micro-batch and equal ones."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the training in which samples go to the expert of their label, while the router learns the label with
    weight one. Without a label there is none."""


class SpectroBlock(Strict):
    """LWM-Spectro's pretraining: masked spectrogram modelling and contrast of views, jointly or one after the other."""

    kind: Literal["spectro"] = "spectro"
    replace: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of masked tokens that become the MASK token, random values, or stay as they are."""
    masked: float = Field(1.0, ge=0)
    """Weight of the squared error of hidden tokens; 0 leaves the contrast alone."""
    contrastive: ContrastiveBlock | None = ContrastiveBlock()
    """Contrast; null leaves masked modelling alone."""
    masked_first: float | None = Field(None, gt=0, lt=1)
    """In stages: share of the training with masked modelling alone, after which the contrast alone goes on. Jointly if
    left out."""
    routing: RoutingBlock = RoutingBlock()
    """Training of the router, where the model is a mixture."""

    @model_validator(mode="after")
    def _complete(self) -> SpectroBlock:
        if min(self.replace) < 0 or abs(sum(self.replace) - 1.0) > 1e-6:
            raise ValueError("the three shares of replace must be positive and add up to one")
        if self.contrastive is None and (not self.masked or self.masked_first is not None):
            raise ValueError("without contrastive there is nothing beside masked, which cannot be 0 or come first")
        if self.masked_first is not None and not self.masked:
            raise ValueError("masked_first: masked is 0")
        return self


def _default_kind(value: Any) -> Any:
    """A block that names no kind is masked modelling."""
    return {"kind": "masked_modelling", **value} if isinstance(value, dict) else value


AnyObjective = Annotated[
    MaskedModellingBlock
    | JepaBlock
    | JepaSigregBlock
    | ReconstructionBlock
    | SpectroBlock
    | JepaMSACBlock
    | SensorReconstructionBlock,
    Field(discriminator="kind"),
    BeforeValidator(_default_kind),
]
"""Every objective that a recipe can name."""
