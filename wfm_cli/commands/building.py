"""What the builders' commands share: the number of processes, building, and showing what was built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.common import note, print_json, print_rich

Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that build parts at the same time.")]


def recipe_of(
    source: Mapping[str, Any], name: str, overrides: Iterable[str] | None, places: Mapping[str, str] | None = None
) -> Any:
    """The recipe that a command line stands for.

    Args:
        source: The block `source` of the recipe.
        name: Name of the recipe.
        overrides: What `--set` has said.
        places: Arguments that keys of `source` come from, where that is not the option of the same name.

    Raises:
        InputError: A value does not fit; the message names its option.
    """
    from wfm_cli.core.recipe.loading import check
    from wfm_cli.core.recipe.prepare import PrepareRecipe
    from wfm_cli.core.recipe.yaml_source import Loc, Source, apply_override

    options = {key: f"--{key.replace('_', '-')}" for key in source} | dict(places or {})
    where: dict[Loc, str] = {("source", key): option for key, option in options.items()}
    given = Source({"step": "prepare", "name": name, "source": dict(source)}, where, "command line")
    for expression in overrides or ():
        apply_override(given, expression)
    return check(given, PrepareRecipe)


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
