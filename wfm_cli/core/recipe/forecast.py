"""Recipe blocks of predictive tasks: how heads are trained on the latents of a forecast, and what a row leaves out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.msac import Modality

Motion = Literal["frame", "second"]
"""What a velocity is counted in."""


class ForecastRow(Strict):
    """Options of one line of a table of predictions."""

    without: tuple[Modality, ...] = ()
    """Sensors that are missing, for the heads and when they are used. A missing position or power is not there for the
    coarse estimate either, which the head then makes from the latents."""
    history: Literal["known", "missing"] = "known"
    """`missing`: the past of what is to be predicted is not known, so positions are predicted without `gps`, beams and
    powers without `power`."""
    guided: bool = True
    """Beams and powers see the predicted positions."""
    tokens: Literal["all"] | Modality = "all"
    """Predicted tokens whose mean is the latent of a future frame: all, or those of one sensor."""
    weights: Literal["frozen", "end_to_end", "multitask"] = "frozen"
    """What is trained: heads alone; encoder, predictor and heads on the loss of the task (with that of the positions
    that guide it); or all of them on the losses of all three tasks together."""


class ForecastBlock(Strict):
    """Training of the heads (second stage of JEPA-MSAC) and of the baselines beside them: AdamW, warm-up, cosine.

    Validation looks `looks` times, and before the first step, and keeps the weights that it likes best; test is scored
    once. The defaults are the published ones as far as there are any.
    """

    epochs: float = Field(30, gt=0)
    """Passes over the training windows."""
    min_steps: int = Field(300, ge=1)
    """Optimiser steps at least."""
    batch_size: int = Field(32, ge=1)
    """Windows per step; not published."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate of heads."""
    baseline_lr: float = Field(1e-3, gt=0)
    """Peak learning rate of the trained baselines; not published."""
    guide_weight: float = Field(4.0, gt=0)
    """Deviation of the position that guides a head over that of all latents together; not published."""
    weight_decay: float = Field(1e-2, ge=0)
    """On matrices alone."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of a gradient."""
    looks: int = Field(10, ge=1)
    """Looks at validation."""
    seeds: int | None = Field(None, ge=1)
    """Trainings of every head and baseline; those of the strict probes if left out."""
    joint_steps: int = Field(300, ge=1)
    """Steps where encoder and heads are trained together."""
    joint_batch: int = Field(16, ge=1)
    """Windows per such step."""
    joint_lr: float = Field(3e-4, gt=0)
    """Peak learning rate of such steps."""
    joint_seeds: int = Field(1, ge=1)
    """Such trainings."""
    motion: Motion = "frame"
    """Constant velocity from which heads and the rows beside them start: per frame as published, or per second, which
    is right where frames are missing. The time of a frame ahead is when one asks, not something about the vehicle."""
    vision_weights: str = "random"
    """ImageNet weights of MobileNetV3-Small for the baseline of vision and position: a file in the names of torchvision
    or timm. `random`: none, which the row's title says."""
    vision_frozen_steps: int = Field(1000, ge=1)
    """Steps of its first stage, in which the image network is frozen; each costs no more than a small perceptron."""
    vision_steps: int = Field(100, ge=0)
    """Steps of its second stage, in which the image network is trained, too, on `joint_batch` windows; 0 leaves it
    frozen."""
    vision_lr: float = Field(3e-3, gt=0)
    """Peak learning rate of the first stage; the second takes a thirtieth. Not published."""
    noise: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.02, 0.05, 0.15, 0.5, 1.5), min_length=1)
    """Deviations of a measured position in metres of which validation chooses the one of the Kalman filter."""
    rank_windows: int = Field(256, ge=2)
    """Test windows, spread over the part, whose augmented views give the LDA rank."""
