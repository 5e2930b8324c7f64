"""From the mask blocks of recipes to samplers, and what is refused."""

from __future__ import annotations

import pytest
import torch

from wfm_cli.core.models import build_encoder
from wfm_cli.core.objectives.masks import MaskSampler, build_sampler
from wfm_cli.core.recipe.masks import (
    AntennaMask,
    AnyMask,
    Component,
    CurriculumMask,
    FrequencyMask,
    MaskBlock,
    RegionMask,
    TemporalMask,
    TimeMask,
)
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.errors import InputError, RecipeError

CHANNEL = ("antenna", "subcarrier", "channel")
SPECTROGRAM = ("frequency", "time", "channel")
COORDS = torch.cartesian_prod(torch.arange(6), torch.arange(5), torch.arange(1))


@pytest.mark.parametrize(
    ("block", "axes", "whole"),
    [
        (FrequencyMask(), CHANNEL, 1),
        (FrequencyMask(), SPECTROGRAM, 0),
        (TimeMask(), SPECTROGRAM, 1),
        (TemporalMask(), SPECTROGRAM, 1),
        (AntennaMask(), CHANNEL, 0),
        (AntennaMask(strips=2), CHANNEL, 0),
    ],
)
def test_strips_cut_their_axis(block: AnyMask, axes: tuple[str, ...], whole: int) -> None:
    masks = build_sampler(block, axes, COORDS)(torch.arange(20), 0, 0)
    assert masks.geometry == block.kind
    for row in masks.target:
        lines, counts = COORDS[row][:, whole].unique(return_counts=True)
        assert len(lines) == (3 if whole else 4)
        assert bool((counts == (6 if whole else 5)).all())


def test_temporal_is_one_stretch() -> None:
    masks = build_sampler(TemporalMask(ratio=0.5), SPECTROGRAM, COORDS)(torch.arange(200), 0, 0)
    columns = COORDS[masks.target][..., 1].sort(1).values
    assert bool((columns[:, -1] - columns[:, 0] == 1).all())
    assert set(columns[:, 0].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("block", "axes", "message"),
    [
        (
            TimeMask(),
            CHANNEL,
            "masks.kind 'time' cuts the axis time, but this model's grid has axes antenna, subcarrier",
        ),
        (TemporalMask(), CHANNEL, "masks.kind 'temporal' cuts the axis time"),
        (AntennaMask(), SPECTROGRAM, "'antenna' cuts the axis antenna, but this model's grid has axes frequency, time"),
        (FrequencyMask(), ("antenna", "time", "channel"), "cuts the axis frequency or subcarrier"),
        (CurriculumMask(mixture=(Component(mask=TimeMask()),)), CHANNEL, "cuts the axis time"),
        (
            RegionMask(),
            ("antenna", "frequency", "time"),
            "cuts grids of two axes, this one has antenna, frequency, time",
        ),
        (AntennaMask(), ("channel", "time", "antenna"), "single row along its axis 'antenna'"),
    ],
)
def test_axes_that_are_missing_or_too_short(block: AnyMask, axes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_sampler(block, axes, COORDS)


@pytest.mark.parametrize("block", [MaskBlock(), MaskBlock(kind="random", published_v11_seed=True)])
def test_published_masks_belong_to_masked_modelling(block: MaskBlock) -> None:
    with pytest.raises(RecipeError, match="masked_modelling alone"):
        build_sampler(block, SPECTROGRAM, COORDS)


def test_masked_modelling_hides_published_or_random_tokens() -> None:
    encoder = build_encoder(LWMModel(layers=1), (4, 4, 2))
    with pytest.raises(RecipeError, match="masked_modelling hides tokens of kind lwm or random"):
        MaskSampler(RegionMask(), encoder)


def test_every_geometry_has_the_same_default_area() -> None:
    coords = torch.cartesian_prod(torch.arange(10), torch.arange(10), torch.arange(1))
    for block in (MaskBlock(kind="random"), RegionMask(), FrequencyMask(), TimeMask(), TemporalMask()):
        assert build_sampler(block, SPECTROGRAM, coords)(torch.arange(2), 0, 0).target.shape == (2, 60)
