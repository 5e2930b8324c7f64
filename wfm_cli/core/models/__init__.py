"""Encoders: shared blocks, and one file per published system."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from wfm_cli.core.recipe.models import LWMSpectroModel, LWMSpectroMoEModel, ModelBlock

if TYPE_CHECKING:
    from wfm_cli.core.models.base import Encoder

_BUILDERS = {
    "lwm": "wfm_cli.core.models.lwm:build",
    "lwm_spectro": "wfm_cli.core.models.lwm_spectro:build",
    "lwm_spectro_moe": "wfm_cli.core.models.lwm_spectro_moe:build",
    "latentwave": "wfm_cli.core.models.latentwave:build",
    "wavesfm": "wfm_cli.core.models.wavesfm:build",
    "jepa_msac": "wfm_cli.core.models.jepa_msac:build",
}


def build_encoder(block: ModelBlock, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> Encoder:
    """Make the encoder that a recipe names, with fresh weights from torch's global generator.

    Args:
        block: the recipe's model block.
        sample_shape: shape of one sample as the encoder sees it, the last axis [re, im] of complex data included,
            for instance (32, 32, 2).
        dims: names of the store array's axes, "sample" first, where they are known; an encoder keeps what it needs of
            them in its resolved block.

    Raises:
        InputError: the encoder cannot take samples of this shape, or the sizes in the block contradict each other.
    """
    module, _, name = _BUILDERS[block.kind].partition(":")
    return cast("Encoder", getattr(import_module(module), name)(block, sample_shape, dims))


def with_statistics(block: ModelBlock, statistics: Mapping[str, Any] | None) -> ModelBlock:
    """The block with what it takes from the data filled in: mean and deviation of a corpus scale.

    Args:
        block: the recipe's model block.
        statistics: of the store's array, `mean` and `std` over all of its numbers.
    """
    if isinstance(block, LWMSpectroMoEModel):
        return block.model_copy(update={"expert": with_statistics(block.expert, statistics)})
    if not isinstance(block, LWMSpectroModel) or block.normalise != "corpus" or block.corpus_db or not statistics:
        return block
    return block.model_copy(update={"corpus_db": (float(statistics["mean"]), float(statistics["std"]))})
