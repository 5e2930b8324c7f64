"""Encoders of predictive tasks, as a recipe names them, on the windows of a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from wfm_cli.core.evaluation.encoders import RANDOM, load_encoder, model_block, weights_digest
from wfm_cli.core.evaluation.forecast.data import Windows
from wfm_cli.core.evaluation.source import Role
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.jepa_msac import JEPAMSACEncoder
from wfm_cli.core.recipe.models import ModelBlock
from wfm_cli.core.recipe.msac import JEPAMSACModel
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.sequences import training_scales
from wfm_cli.errors import InputError


@dataclass(frozen=True)
class Source:
    """An encoder as one was named, on one store."""

    spec: str
    name: str
    role: Role
    digest: str
    encoder: JEPAMSACEncoder
    untrained: Callable[[int], JEPAMSACEncoder]
    """Makes encoders of the same architecture with fresh weights."""


def resolve_source(spec: str, store: Store, windows: Windows, seed: int) -> Source:
    """The encoder of a run, or one with fresh weights (`random:RUN` or `random:RECIPE`).

    Raises:
        InputError: it is no encoder of windows, or does not fit the windows of the store.
    """
    untrained, where = spec.startswith(RANDOM), spec.removeprefix(RANDOM)
    block = _with_scales(_of_windows(model_block(where), spec), store, windows.split)
    steps = windows.history + windows.horizon
    if (block.history, block.horizon) != (windows.history, windows.horizon):
        raise InputError(
            f"{spec}: it sees {block.history} frames and predicts {block.horizon}, windows of {store.path} have "
            f"{windows.history} and {windows.horizon}",
            "prepare the store with the model's history and horizon",
        )

    def fresh(number: int) -> JEPAMSACEncoder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            made = build_encoder(block, (steps,)).eval()
        assert isinstance(made, JEPAMSACEncoder)  # the block says so
        return made

    encoder = fresh(seed) if untrained else load_encoder(where, (steps,), store)
    assert isinstance(encoder, JEPAMSACEncoder)
    name = f"{Path(where).stem}{' untrained' if untrained else ''}"
    return Source(spec, name, "control" if untrained else "encoder", weights_digest(encoder), encoder, fresh)


def _of_windows(block: ModelBlock, spec: str) -> JEPAMSACModel:
    if not isinstance(block, JEPAMSACModel):
        raise InputError(
            f"{spec}: encoder '{block.kind}' predicts no frames", "predictive tasks take runs of model.kind=jepa_msac"
        )
    return block


def _with_scales(block: JEPAMSACModel, store: Store, split: str) -> JEPAMSACModel:
    """The block with scales; those of a recipe that leaves them to the data are those of the training windows."""
    if None not in (block.gps_scale, block.power_mean, block.power_scale):
        return block
    scales = training_scales(store, split)
    power = "linear" if block.power_unit == "linear" else "power"
    found = {"gps_scale": scales["gps_scale"], **{f"power_{s}": scales[f"{power}_{s}"] for s in ("mean", "scale")}}
    return block.model_copy(update={name: value for name, value in found.items() if getattr(block, name) is None})
