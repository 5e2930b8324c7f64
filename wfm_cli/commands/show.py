"""`wfm show`: look into a store or a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import Json, print_json, print_rich


def show(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Store or run.")],
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="FOLDER", help="Draw its pictures as PNG into this folder.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Sample that the pictures show.")] = 0,
    as_json: Json = False,
) -> None:
    """Show what is in a store or a run: arrays, sizes, statistics, splits, provenance, curves, pictures.

    Examples:

    wfm show canyon.zarr

    wfm show canyon.zarr --pictures pictures --sample 12
    """
    from wfm_cli.core import inspect

    if as_json:
        print_json(inspect.describe(path))
    else:
        print_rich(inspect.render(path))
    if pictures is not None:
        import sys

        for picture in inspect.pictures(path, pictures, sample=sample):
            print(picture, file=sys.stderr if as_json else sys.stdout)
