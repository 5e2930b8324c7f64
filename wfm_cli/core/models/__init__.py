"""Encoders: shared blocks, and one file per published system."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from wfm_cli.core.recipe.models import ModelBlock

if TYPE_CHECKING:
    from wfm_cli.core.models.base import Encoder

_BUILDERS = {
    "lwm": "wfm_cli.core.models.lwm:build",
    "lwm_spectro": "wfm_cli.core.models.lwm_spectro:build",
    "lwm_spectro_moe": "wfm_cli.core.models.lwm_spectro_moe:build",
    "latentwave": "wfm_cli.core.models.latentwave:build",
    "wavesfm": "wfm_cli.core.models.wavesfm:build",
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
