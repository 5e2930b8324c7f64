"""What the builders' commands share: the number of processes, building, and showing what was built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.common import note, print_json, print_rich

Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that build parts at the same time.")]


def build(recipe: Any, out: Path, workers: int, as_json: bool) -> None:
    """Build a store from a checked recipe and show it; before that, what became of every input file where it matters.

    Raises:
        InputError: The source cannot be used.
    """
    from wfm_cli.core.store import parts
    from wfm_cli.errors import InputError

    try:
        parts.run(recipe, out, workers=workers, planned=lambda plan: tell_files(plan.attrs))
    except InputError as error:
        tell_files({"files": getattr(error, "report", [])})
        raise
    print_store(out, as_json)


def tell_files(attrs: Mapping[str, Any]) -> None:
    """Print on stderr what a plan says about its input files, and its notes."""
    import sys

    if files := attrs.get("files"):
        from rich.console import Console

        from wfm_cli.core.inspect.files import file_table

        width = None if sys.stderr.isatty() else 200
        Console(stderr=True, highlight=False, width=width).print(file_table(files))
    for text in attrs.get("notes", ()):
        note(f"note: {text}")


def print_store(out: Path, as_json: bool) -> None:
    """Show a store on stdout."""
    from wfm_cli.core import inspect

    if as_json:
        print_json(inspect.describe(out))
    else:
        print_rich(inspect.render(out))
