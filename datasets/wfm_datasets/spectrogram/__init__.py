"""Spectrogram stores from I/Q recordings of any kind that `wfm_datasets.iq` reads."""

from wfm_datasets.spectrogram.builder import SpectrogramBuilder

__all__ = ["SpectrogramBuilder"]
