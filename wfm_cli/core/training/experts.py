"""Experts of a mixture that start from the encoders of earlier runs."""

from __future__ import annotations

from pathlib import Path

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE
from wfm_cli.core.recipe.models import LWMSpectroModel, ModelBlock
from wfm_cli.core.store.run import Run
from wfm_cli.errors import RecipeError

_FREE = ("kind", "dropout", "attention", "positions", "pooling")
"""Fields of the block that make no difference to the weights."""


def load_experts(encoder: Encoder, block: ModelBlock) -> None:
    """Give the experts of a mixture the weights of the runs that its block names; others stay as they are.

    Args:
        encoder: built from `block`.
        block: of the recipe.

    Raises:
        StoreError: a run cannot be read or has no weights.
        RecipeError: its encoder is not of the mixture's sizes.
    """
    if not isinstance(encoder, LWMSpectroMoE):
        return
    for number, (name, path) in enumerate(getattr(block, "experts", {}).items()):
        if path is None:
            continue
        run, expert = Run.open(Path(path)), encoder.expert(number)
        _agree(run, name, expert.block)
        tensors = run.load_weights()
        expert.load_state_dict(
            {key.removeprefix("encoder."): value for key, value in tensors.items() if key.startswith("encoder.")}
        )


def _agree(run: Run, name: str, wanted: LWMSpectroModel) -> None:
    """Refuse a run whose encoder has other sizes or another scale."""
    held = dict(run.attrs.get("model") or {})
    if held.get("kind") != "lwm_spectro":
        raise RecipeError(
            f"model.experts.{name}: {run.path} holds no encoder of kind lwm_spectro", "name a run that trained one"
        )
    for field, value in wanted.model_dump(mode="json").items():
        if field not in _FREE and held.get(field) != value:
            raise RecipeError(
                f"model.expert.{field}: {value}, but {run.path} (expert {name}) has {held.get(field)}",
                f"set model.expert.{field} to what its runs have, which must agree",
            )
