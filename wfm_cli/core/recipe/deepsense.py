"""Recipe block of DeepSense 6G scenarios: synchronised frames of several sensors, and windows of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.msac import MODALITIES, Modality

SplitName = Literal["sequence", "paper", "scenario"]


class LidarBlock(Strict):
    """How point clouds become depth images (JEPA-MSAC equations 9 and 10)."""

    rows: int = Field(64, ge=1)
    """Height in pixels."""
    columns: int = Field(256, ge=1)
    """Width in pixels, over the whole turn."""
    up_deg: float = 15.0
    """Elevation of the upper border."""
    down_deg: float = -15.0
    """Elevation of the lower border."""
    far_m: float = Field(100.0, gt=0)
    """Range that counts as one."""
    outside: Literal["drop", "clamp"] = "drop"
    """Points above or below the picture: left out, or put into the border row."""
    beyond: Literal["drop", "clip"] = "drop"
    """Points farther than far_m: left out, or set to one."""
    roll: int = 0
    """Columns by which the picture is turned. The street of scenarios 31 to 34 lies at the negative x axis, where the
    published picture has its left and right edge; half of the columns brings it to the middle."""


class DeepSenseSource(Strict):
    """Frames of DeepSense 6G scenarios, each kept once, and windows of consecutive ones."""

    kind: Literal["deepsense"] = "deepsense"
    scenarios: tuple[str, ...] = Field(min_length=1)
    """Scenario folders, or their index CSVs."""
    modalities: tuple[Modality, ...] = MODALITIES
    """Sensors to keep; those that a scenario lacks as a whole are left out and said."""
    history: int = Field(8, ge=1)
    """Observed frames of a window."""
    horizon: int = Field(5, ge=1)
    """Predicted frames of a window."""
    stride: int = Field(1, ge=1)
    """Frames between the starts of two windows."""
    gap_s: float | None = Field(None, gt=0)
    """Cut a sequence where two frames are farther apart in time; never by default."""
    backwards: Literal["error", "cut"] = "error"
    """Time that runs backwards within a sequence: refuse it, or begin a new sequence there."""
    missing: Literal["error", "drop"] = "error"
    """Frames whose files are missing: refuse the scenario, or leave these frames out and count them."""
    nan: Literal["interpolate", "floor", "drop"] = "interpolate"
    """Beams without a measured power: interpolate along the beams, set them to the floor, or leave the frame out. Best
    beams are those of the measured ones in any case."""
    labels: Literal["error", "ignore"] = "error"
    """Released best beams that agree with the powers in less than 99 % of the frames in any order: refuse, or say so
    and go on with the recomputed ones."""
    image_size: int = Field(224, ge=8, le=2048)
    """Edge of the images after bilinear resizing with antialiasing; the aspect is not kept, as in the paper."""
    radar: Literal["paper", "deepsense"] = "deepsense"
    """`paper` as equation 8 and its text are printed (antenna mean, angle bins as they come); `deepsense` as the public
    code does it (chirp mean, broadside in the middle)."""
    lidar: LidarBlock = LidarBlock()
    """Depth images."""
    power_floor_db: float = -60.0
    """Lowest power in dB; powers of zero are set to it."""
    split: SplitName | None = None
    """Default split: by `sequence` (the default), the `paper`'s random windows, which leak, or one `scenario` held
    out."""
    test_scenario: str | None = None
    """Scenario that the scenario split holds out; the last one by default."""
    split_seed: int = 0
    """Seed of the splits."""
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, validation and test; the paper's windows are divided 0.6, 0.1 and 0.3."""

    @field_validator("fractions")
    @classmethod
    def _whole(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError("the three shares must be positive and sum to 1")
        return fractions
