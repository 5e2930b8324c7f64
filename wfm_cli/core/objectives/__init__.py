"""Objectives: what an encoder is trained to do, as sums and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.objectives.base import LossParts as LossParts
from wfm_cli.core.objectives.base import Objective as Objective
from wfm_cli.core.objectives.base import StepKey as StepKey
from wfm_cli.core.objectives.masked_modelling import MaskedModelling

if TYPE_CHECKING:
    from wfm_cli.core.recipe.pretrain import PretrainRecipe


def build_objective(recipe: PretrainRecipe, encoder: Encoder) -> Objective:
    """The objective that a recipe names, around an encoder.

    Raises:
        RecipeError: the recipe's objective or masks do not go with this encoder.
    """
    return MaskedModelling(recipe.objective, recipe.masks, encoder)
