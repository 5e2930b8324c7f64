"""Channels from DeepMIMO scenarios: readers of v2/v3 and v4 folders, the builder, and the embedded street canyon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfm_datasets.deepmimo.builder import DeepMIMOBuilder

__all__ = ["DeepMIMOBuilder"]


def __getattr__(name: str) -> Any:
    """The builder, once it is asked for: the readers of files beside it need neither torch nor scipy."""
    if name != "DeepMIMOBuilder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wfm_datasets.deepmimo.builder import DeepMIMOBuilder

    return DeepMIMOBuilder
