"""Recipe blocks of JEPA-MSAC: encoder, masks and objective of multimodal sequences."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from wfm_cli.core.recipe.base import Strict

Modality = Literal["image", "radar", "lidar", "gps", "power"]
MODALITIES: tuple[Modality, ...] = ("image", "radar", "lidar", "gps", "power")
"""In the order of the tokens of a frame."""


class VisionBlock(Strict):
    """The network behind the image tokens."""

    network: Literal["efficientnet_b0", "cnn"] = "efficientnet_b0"
    """`efficientnet_b0` as published (extra `vision`); `cnn`: the small network of radar and LiDAR, for CPUs."""
    weights: str = "hub"
    """Weights of EfficientNet-B0: `hub` downloads google/efficientnet-b0 (ImageNet), a folder or file holds them, and
    `random` starts without any, which has to be asked for."""
    frozen: bool = False
    """Keep the network as it is; its projection to tokens is trained all the same."""


class JEPAMSACModel(Strict):
    """JEPA-MSAC (arXiv 2603.29796): tokenizers of five sensors, a context encoder and a predictor of the same width.

    The defaults are the published model of width 128, whose numbers of parameters are those of its Table IV.
    """

    kind: Literal["jepa_msac"] = "jepa_msac"
    width: int = Field(128, ge=16)
    """Embedding dimension D of encoder and predictor."""
    layers: int = Field(4, ge=1, le=64)
    """Blocks of the context encoder."""
    predictor_layers: int = Field(4, ge=1, le=64)
    """Blocks of the predictor."""
    heads: int = Field(8, ge=1)
    """Attention heads; not published. They divide the width."""
    modalities: tuple[Modality, ...] = MODALITIES
    """Sensors that the model has."""
    history: int = Field(8, ge=1)
    """Frames that are observed."""
    horizon: int = Field(5, ge=1)
    """Frames that are predicted."""
    beams: int = Field(64, ge=1)
    """Length of the power vector."""
    vision: VisionBlock = VisionBlock()
    """Image network."""
    reduce: int = Field(1, ge=1, le=16)
    """Average radar maps and depth images over so many bins each way before their networks; 1 as published. The cost of
    these networks falls with the square."""
    power_unit: Literal["db", "linear"] = "db"
    """Unit of the power vector that the model sees; the paper names none, its errors fit dB alone."""
    place_mask_tokens: bool = True
    """Add the positions to the mask tokens too. Equation 14 as printed leaves them out, and then every hidden token of
    a window gets the same prediction."""
    gps_scale: float | None = Field(None, gt=0)
    """Metres that count as one; the root mean square of the training positions if left out."""
    power_mean: float | None = None
    """Subtracted from every power; the mean over the training frames if left out."""
    power_scale: float | None = Field(None, gt=0)
    """Divides every power; the deviation over the training frames if left out."""

    @field_validator("modalities")
    @classmethod
    def _known_order(cls, modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
        if not modalities or len(set(modalities)) < len(modalities):
            raise ValueError("name at least one modality, each once")
        return tuple(name for name in MODALITIES if name in modalities)

    @property
    def steps(self) -> int:
        """Frames of a window."""
        return self.history + self.horizon


class ModalityMask(Strict):
    """Whole frames of every modality are hidden, each modality with a draw of its own (JEPA-MSAC III-B)."""

    kind: Literal["modality"] = "modality"
    pattern: Literal["block", "random", "checkerboard"] = "block"
    """`block`: consecutive frames; `random`: any frames; `checkerboard`: every second frame, neighbouring modalities
    the other way round."""
    ratio: float = Field(0.5, gt=0, lt=1)
    """Share rho of the frames that are hidden: floor(rho T) of T; a checkerboard always hides half."""
    future: float = Field(0.0, ge=0, le=1)
    """Share of the steps that hide the whole future of all modalities instead, which is what predictions ask for later
    and what independent blocks of 6 in 13 frames show once in 33,000 samples."""


class JepaMSACBlock(Strict):
    """Predict what a slow copy of the context encoder makes of the hidden tokens of a window."""

    kind: Literal["jepa_msac"] = "jepa_msac"
    loss: Literal["smooth_l1", "l1", "l2"] = "smooth_l1"
    """Distance between prediction and target."""
    normalise_targets: Literal["layer", "none"] = "layer"
    """`layer`: every target vector has mean zero and deviation one; not stated in the paper."""
    momentum: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.996, 1.0)
    """Share of itself that the target encoder keeps at each step, at the start and at the end."""
    momentum_shape: Literal["linear", "cosine"] = "linear"
    """How the momentum goes from the one to the other."""
    tokenizers: Literal["shared", "slow"] = "shared"
    """`shared`: the target encoder reads the tokens of the trained tokenizers, without gradient (the published count of
    its parameters leaves no room for others); `slow`: it has slow copies of its own."""


class SensorReconstructionBlock(Strict):
    """Masked reconstruction of the frames of all sensors, the paradigm that JEPA-MSAC's tables compare it with.

    The decoder is the encoder's own predictor (`model.predictor_layers`) with one linear head per sensor behind it, so
    that the later tasks read the latents of the future from a trained predictor, as they do after `jepa_msac`, and two
    runs differ in the objective alone. Every hidden token is filled with what its cell of the frame holds.
    """

    kind: Literal["sensor_reconstruction"] = "sensor_reconstruction"
    image_cell: int = Field(8, ge=1, le=64)
    """Each of the 3 x 3 cells of an image is averaged to so many pixels each way, of three colours: 192 numbers."""
    map_cell: int = Field(4, ge=1, le=64)
    """Each of the 4 x 4 cells of a radar map or depth image, as its network sees them (`model.reduce`), is averaged to
    so many bins each way: 16 numbers."""
    weights: dict[Modality, Annotated[float, Field(ge=0)]] = Field({})
    """Weight of the mean squared error of a sensor, in units of the variance over the training frames; 1 for those that
    are not named, so that all sensors count the same however many tokens they have."""
    statistics_windows: int = Field(256, ge=1)
    """Training windows, evenly spread, from which the mean content of every cell and the variance of every sensor are
    taken before the first step."""
