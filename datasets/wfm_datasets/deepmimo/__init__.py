"""Channels from DeepMIMO scenarios: readers of v2/v3 and v4 folders, the builder, and the embedded street canyon."""

from wfm_datasets.deepmimo.builder import DeepMIMOBuilder

__all__ = ["DeepMIMOBuilder"]
