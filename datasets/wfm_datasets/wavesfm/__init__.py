"""Stores from the raw files of the data sets of WavesFM and LatentWave, one reader for each layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfm_datasets.wavesfm.builder import WavesFMBuilder

__all__ = ["WavesFMBuilder"]


def __getattr__(name: str) -> Any:
    """The builder, once it is asked for: the readers of files beside it need neither torch nor scipy."""
    if name != "WavesFMBuilder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wfm_datasets.wavesfm.builder import WavesFMBuilder

    return WavesFMBuilder
