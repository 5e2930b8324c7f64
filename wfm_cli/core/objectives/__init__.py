"""Objectives: what an encoder is trained to do, as sums and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.objectives import jepa_msac, sensor_reconstruction
from wfm_cli.core.objectives.base import LossParts as LossParts
from wfm_cli.core.objectives.base import Objective as Objective
from wfm_cli.core.objectives.base import StepKey as StepKey
from wfm_cli.core.objectives.jepa import Jepa, JepaSigreg
from wfm_cli.core.objectives.masked_modelling import MaskedModelling
from wfm_cli.core.objectives.reconstruction import Reconstruction
from wfm_cli.core.objectives.spectro import Spectro
from wfm_cli.core.recipe.masks import MaskBlock
from wfm_cli.core.recipe.msac import JepaMSACBlock, JEPAMSACModel, ModalityMask, SensorReconstructionBlock
from wfm_cli.core.recipe.objectives import JepaBlock, JepaSigregBlock, MaskedModellingBlock, SpectroBlock
from wfm_cli.errors import RecipeError

if TYPE_CHECKING:
    from wfm_cli.core.recipe.pretrain import PretrainRecipe


def build_objective(recipe: PretrainRecipe, encoder: Encoder) -> Objective:
    """The objective that a recipe names, around an encoder.

    Raises:
        InputError: the encoder's token grid lacks what a mask geometry cuts.
        RecipeError: the recipe's objective or masks do not go with this encoder.
    """
    block, masks = recipe.objective, recipe.masks
    if isinstance(block, MaskedModellingBlock):
        return MaskedModelling(block, masks, encoder)
    if isinstance(block, SpectroBlock):
        return Spectro(block, masks, encoder)
    if isinstance(block, JepaMSACBlock | SensorReconstructionBlock):
        masks = ModalityMask() if masks == MaskBlock() else masks
        if isinstance(block, JepaMSACBlock):
            return jepa_msac.build(block, masks, encoder)
        return sensor_reconstruction.build(block, masks, encoder)
    if isinstance(recipe.model, JEPAMSACModel):
        raise RecipeError(
            f"objective.kind '{block.kind}': does not know the windows of model 'jepa_msac'",
            "use objective.kind=jepa_msac or sensor_reconstruction",
        )
    if masks == MaskBlock():  # the default means the published masks of LWM, which go with its own objective alone
        masks = MaskBlock(kind="random")
    if isinstance(block, JepaBlock):
        return Jepa(block, masks, encoder)
    if isinstance(block, JepaSigregBlock):
        return JepaSigreg(block, masks, encoder)
    return Reconstruction(block, masks, encoder)
