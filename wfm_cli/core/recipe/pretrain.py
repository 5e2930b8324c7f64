"""Recipes of `wfm pretrain`: model x objective x masks x data, and how to train."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from wfm_cli.core.recipe.base import Recipe, Strict
from wfm_cli.core.recipe.masks import AnyMask
from wfm_cli.core.recipe.masks import MaskBlock as MaskBlock
from wfm_cli.core.recipe.models import LWMModel, ModelBlock
from wfm_cli.core.recipe.objectives import AnyObjective
from wfm_cli.core.recipe.objectives import MaskedModellingBlock as MaskedModellingBlock


class DataBlock(Strict):
    """Where samples come from."""

    store: str
    """Path of a finished store."""
    array: str = "channel"
    """Array of the store that is the model's input."""
    split: str | None = None
    """Name of the split; the store's default if left out. Training uses its train part, validation its val part."""
    in_memory: bool | None = None
    """Hold the array in memory; by default when it fits in a quarter of the free memory."""
    where: dict[str, str | float | tuple[str | float, ...]] = Field({})
    """Train and validate on some samples alone: name of a label or meta array to the class name or number that it must
    have, or several of them. `{labels/standard: wifi}` trains the expert of one standard."""
    samples: int | None = Field(None, ge=1)
    """Use only the first so many training samples (of the split's order); all by default."""


class TrainBlock(Strict):
    """The optimiser, its schedule and what is kept."""

    epochs: float | None = Field(None, gt=0)
    """Passes over the training samples; give this or `steps`."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps; give this or `epochs`."""
    batch_size: int = Field(64, ge=1)
    """Samples per optimiser step over all devices together."""
    micro_batch: int | None = Field(None, ge=1)
    """Samples per forward pass of one device; larger batches accumulate gradients. Does not change the result, unless
    the objective compares the samples of a micro-batch (contrast, SIGReg, the equal use of experts)."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    min_lr: float = Field(1e-6, ge=0)
    """Learning rate at the end of the cosine."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Shape after the warm-up."""
    weight_decay: float = Field(0.05, ge=0)
    """Decoupled weight decay; biases, norms and tokens are exempt."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW betas."""
    clip: float = Field(1.0, ge=0)
    """Largest global gradient norm; 0 switches clipping off."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """`bf16` runs the linear layers in bfloat16 (attention stays fp32 on CPU, where its bf16 backward is slow); `tf32`
    lets a GPU round the factors of fp32 products. There is no fp16: bf16 makes its loss scaling needless."""
    compile: bool = False
    """Compile the blocks with torch.compile."""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """How several devices share the work."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of each process; by default what torch chooses, shared by the processes of a machine, and 1 when the
    load is above half of its cores. Part of what makes a run repeatable to the bit: name it to repeat one elsewhere."""
    log_every: int = Field(10, ge=1)
    """Steps between two rows of the training curves."""
    eval_every: int = Field(0, ge=0)
    """Steps between validations; 0 means ten times in the run."""
    eval_samples: int = Field(2048, ge=1)
    """At most so many validation samples at each validation."""
    monitor_label: str | None = None
    """Label array of the store, such as `labels/los`, by which a nearest-neighbour classifier judges the embeddings of
    the validation samples at each validation. It has no part in the training."""
    save_every: int = Field(0, ge=0)
    """Steps between checkpoints; 0 means ten times in the run."""
    keep_last: int = Field(2, ge=1)
    """Newest checkpoints that are kept beside the best one."""
    tracking: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Extra experiment trackers; each needs its optional package."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainBlock:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self


class PretrainRecipe(Recipe):
    """One pretraining run."""

    step: Literal["pretrain"] = "pretrain"
    seed: int = 0
    """Seed of initial weights, data order and masks."""
    data: DataBlock
    """Data."""
    model: ModelBlock = LWMModel()
    """Encoder."""
    masks: AnyMask = MaskBlock()
    """Masking."""
    objective: AnyObjective = MaskedModellingBlock()
    """Objective."""
    train: TrainBlock
    """Training."""
