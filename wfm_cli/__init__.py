"""`wfm`: from raw wireless data to honest numbers about wireless foundation models.

The functions below are what the commands call; they are imported on first use, so `import wfm_cli` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wfm_cli._version import __version__

if TYPE_CHECKING:
    from wfm_cli.api import benchmark as benchmark
    from wfm_cli.api import embed as embed
    from wfm_cli.api import load_encoder as load_encoder
    from wfm_cli.api import open_store as open_store
    from wfm_cli.api import pretrain as pretrain
    from wfm_cli.api import probe as probe

__all__ = ["__version__", "benchmark", "embed", "load_encoder", "open_store", "pretrain", "probe"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("wfm_cli.api"), name)
    raise AttributeError(f"module 'wfm_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
