"""Stores from the raw files of the data sets of WavesFM and LatentWave, one reader for each layout."""

from wfm_datasets.wavesfm.builder import WavesFMBuilder

__all__ = ["WavesFMBuilder"]
