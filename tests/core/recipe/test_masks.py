"""Mask blocks of recipes: what they accept and what they say about mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from wfm_cli.core.recipe.loading import parse_recipe, to_dict
from wfm_cli.core.recipe.masks import CurriculumMask, MaskBlock, RegionMask
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.errors import RecipeError


def masks(value: dict[str, Any]) -> Any:
    recipe = parse_recipe({"data": {"store": "x"}, "train": {"steps": 1}, "masks": value}, PretrainRecipe)
    assert parse_recipe(to_dict(recipe), PretrainRecipe) == recipe
    return recipe.masks


def test_recipes_without_a_kind_mean_the_published_masks() -> None:
    assert masks({"ratio": 0.3}) == MaskBlock(kind="lwm", ratio=0.3)
    assert masks({"kind": "random"}).ratio is None
    assert masks({"kind": "region"}) == RegionMask()


def test_a_curriculum_reads_numbers_and_schedules() -> None:
    block = masks(
        {
            "kind": "curriculum",
            "mixture": [
                {"mask": {"kind": "random"}, "weight": {"shape": "linear", "start": 1, "end": 0}},
                {"mask": {"kind": "frequency"}, "ratio": {"shape": "cosine", "start": 0.3, "end": 0.75}},
            ],
            "adaptive": {"strength": 0.5},
        }
    )
    assert isinstance(block, CurriculumMask)
    assert block.mixture[1].weight == 1.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"kind": "regio"},
            "did you mean 'region'? Known: lwm, random, region, frequency, time, temporal, antenna, curriculum",
        ),
        ({"kind": "frequency", "ratoi": 0.2}, "masks.ratoi: unknown key; did you mean 'ratio'"),
        ({"kind": "region", "ratio": 0.5, "scale": [0.1, 0.2]}, "give either ratio or scale"),
        ({"kind": "region", "scale": [0.3, 0.2]}, "scale: the lower bound comes first"),
        ({"kind": "region", "aspect": [0, 2]}, "aspect: two positive numbers"),
        ({"kind": "region", "context": [1.0, 0.5]}, "context: the lower bound comes first"),
        ({"kind": "time", "ratio": 1.0}, "masks.ratio: Input should be less than 1"),
        ({"kind": "curriculum", "mixture": []}, "masks.mixture: "),
        ({"kind": "curriculum", "mixture": [{"mask": {"kind": "lwm"}}]}, "lwm belongs to masked_modelling alone"),
        ({"kind": "curriculum", "mixture": [{"mask": {"kind": "random"}, "weight": 0}]}, "zero at progress 0"),
    ],
)
def test_mistakes(value: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        masks(value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"shape": "linear", "start": 1}, "every other shape needs one"),
        ({"start": 1, "end": 0}, "a constant has no end"),
        ({"shape": "step", "start": 1, "end": 2}, "shape step needs at"),
        ({"shape": "linear", "start": 1, "end": 2, "at": [0.5]}, "no other shape has it"),
        ({"shape": "step", "start": 1, "end": 2, "at": [0.5, 0.2]}, "in rising order"),
    ],
)
def test_incomplete_schedules(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        masks({"kind": "curriculum", "mixture": [{"mask": {"kind": "random"}, "weight": schedule}]})


def test_ratios_stay_ratios() -> None:
    one = {"mask": {"kind": "random"}, "ratio": {"shape": "linear", "start": 0.5, "end": 1.5}}
    with pytest.raises(RecipeError, match="a ratio lies between 0 and 1"):
        masks({"kind": "curriculum", "mixture": [one]})
    two = {"mask": {"kind": "region", "scale": [0.1, 0.2]}, "ratio": 0.5}
    with pytest.raises(RecipeError, match="give either ratio or the region's scale"):
        masks({"kind": "curriculum", "mixture": [two]})


def test_weights_must_not_all_vanish_on_the_way() -> None:
    parts = [
        {"mask": {"kind": "random"}, "weight": {"shape": "step", "start": 1, "end": 0, "at": [0.3]}},
        {"mask": {"kind": "region"}, "weight": {"shape": "step", "start": 0, "end": 1, "at": [0.6]}},
    ]
    with pytest.raises(RecipeError, match=r"every weight is zero at progress 0\.3"):
        masks({"kind": "curriculum", "mixture": parts})
