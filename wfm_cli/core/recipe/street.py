"""Recipes of `wfm prepare street`: a simulated street, written as DeepSense 6G scenarios are released."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from wfm_cli.core.recipe.base import Recipe

Layout = Literal["31", "32", "33", "34", "9", "36"]


class StreetRecipe(Recipe):
    """Makes scenario folders of vehicles that pass a base station with camera, radar, LiDAR and a beam sweep."""

    step: Literal["street"] = "street"
    scenarios: tuple[Layout, ...] = Field(("31",), min_length=1)
    """Numbers of the scenarios, which choose layout, street and light: 31 to 34 (all sensors, 33 and 34 at night), 9
    (radar and best beams as that release has them), 36 (a moving base station with four arrays)."""
    sequences: int = Field(12, ge=1, le=10_000)
    """Passes of a vehicle in every scenario."""
    frames: tuple[int, int] = (40, 70)
    """Fewest and most frames of a pass, at about 10 frames per second."""
    image: tuple[int, int] = (960, 540)
    """Width and height of the pictures."""
    lidar_columns: int = Field(512, ge=16, le=4096)
    """Directions of the LiDAR per turn; the release has 1,024."""
    defects: bool = True
    """Put in what the releases have: interpolated positions, dropped frames, powers that are NaN, stamps given
    twice."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    @field_validator("frames")
    @classmethod
    def _ordered(cls, frames: tuple[int, int]) -> tuple[int, int]:
        if not 2 <= frames[0] <= frames[1] <= 10_000:
            raise ValueError("the two numbers must ascend within 2 to 10000")
        return frames

    @field_validator("scenarios")
    @classmethod
    def _distinct(cls, scenarios: tuple[Layout, ...]) -> tuple[Layout, ...]:
        if len(set(scenarios)) < len(scenarios):
            raise ValueError("every scenario may be given once")
        return scenarios
