"""`wfm recipes`: the shipped recipes and checks of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import Json, Set, print_json, print_rich

app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file or name of a shipped one.")]


@app.command("list")
def list_recipes(as_json: Json = False) -> None:
    """List the shipped recipes.

    Example: wfm recipes list
    """
    from wfm_cli.core.recipe.loading import load_any
    from wfm_cli.core.recipe.locate import shipped

    rows = [{"name": name, "description": load_any(path).description} for name, path in shipped().items()]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("recipe", "what it does", box=None)
    for row in rows:
        table.add_row(row["name"], row["description"])
    print_rich(table)


@app.command()
def show(
    recipe: Name,
    overrides: Set = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="With `extends` and every default filled in.")] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe as written, or resolved.

    Example: wfm recipes show pretrain/lwm-v1 --resolved
    """
    from wfm_cli.core.recipe.loading import load_any, to_dict
    from wfm_cli.core.recipe.locate import resolve

    if as_json:
        print_json(to_dict(load_any(recipe, overrides or ())))
    elif resolved or overrides:
        import sys

        from ruamel.yaml import YAML

        yaml = YAML()
        yaml.default_flow_style = False
        yaml.dump(to_dict(load_any(recipe, overrides or ())), sys.stdout)
    else:
        print(resolve(recipe).read_text(encoding="utf-8"), end="")


@app.command()
def copy(
    recipe: Name,
    to: Annotated[Path, typer.Argument(metavar="FILE", help="New file, or a folder.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Copy a shipped recipe to edit it.

    Example: wfm recipes copy pretrain/lwm-v1 mine.yaml
    """
    from wfm_cli.core.recipe.locate import resolve
    from wfm_cli.errors import InputError

    source = resolve(recipe)
    target = to / source.name if to.is_dir() else to
    if target.exists() and not force:
        raise InputError(f"{target}: exists already", "choose another name or give --force")
    target.write_bytes(source.read_bytes())
    print(target)


@app.command()
def validate(recipe: Name, overrides: Set = None, as_json: Json = False) -> None:
    """Check a recipe; every mistake is shown with file, line and column.

    Example: wfm recipes validate mine.yaml
    """
    from wfm_cli.core.recipe.loading import load_any

    checked = load_any(recipe, overrides or ())
    step = str(getattr(checked, "step", ""))
    if as_json:
        print_json({"recipe": recipe, "step": step, "ok": True})
    else:
        print(f"{recipe}: a valid {step} recipe")


@app.command()
def schema(out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")] = None) -> None:
    """Print the JSON Schema of all recipes, for completion in editors.

    Example: wfm recipes schema --out schema.json
    """
    from wfm_cli.core.recipe.schema import schema_text

    if out is None:
        print(schema_text(), end="")
    else:
        out.write_text(schema_text(), encoding="utf-8")
        print(out)
