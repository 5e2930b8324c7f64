"""What the builders' commands share: the number of processes, building, and showing what was built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.common import print_json, print_rich

Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that build parts at the same time.")]


def build(recipe: Any, out: Path, workers: int, as_json: bool) -> None:
    """Build a store from a checked recipe and show it."""
    from wfm_cli.core.store import parts

    parts.run(recipe, out, workers=workers)
    print_store(out, as_json)


def print_store(out: Path, as_json: bool) -> None:
    """Show a store on stdout."""
    from wfm_cli.core import inspect

    if as_json:
        print_json(inspect.describe(out))
    else:
        print_rich(inspect.render(out))
