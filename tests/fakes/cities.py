"""Channels of the three real cities below WFM_TEST_DATA, in the published scale."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wfm_cli.core.recipe.prepare import DeepMIMOSource
from wfm_datasets.deepmimo import DeepMIMOBuilder

CITIES = {"city_18_denver": 3, "city_15_indianapolis": 3, "city_12_fortworth": 1}
"""Base station that the LWM evaluation uses in each city."""


def city_channels(real_data: Path, city: str, every: int) -> Tensor:
    """(users, 32, 32, 2) float32 channels times 1e6 of every so many-th user of one city."""
    source = DeepMIMOSource(
        scenarios=(str(real_data / "deepmimo-v2" / city),), bs=CITIES[city], beams=(16,), split="random"
    )
    builder = DeepMIMOBuilder(source, 0)
    plan = builder.plan()
    channel = builder.rows(0, plan.samples, plan.state)["channel"]
    return torch.view_as_real(torch.from_numpy(channel[::every].copy()))
