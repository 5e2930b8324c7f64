"""`wfm report`: turn a run into tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import Json, print_json, print_rich

FORMATS = ("table", "csv", "md", "latex", "png", "html")


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run of probe, benchmark or pretrain.")],
    form: Annotated[str, typer.Option("--format", "-f", metavar="|".join(FORMATS), help="What to make.")] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the files; text formats go to stdout without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Render the results of a run, published numbers beside ours.

    Examples:

    wfm report table.zarr

    wfm report table.zarr --format html --out report
    """
    from wfm_cli.core.evaluation.report import render, report_data
    from wfm_cli.errors import InputError

    if form not in FORMATS:
        raise InputError(f"--format {form}: unknown format", f"one of {', '.join(FORMATS)}")
    if as_json:
        print_json(report_data(run))
        return
    if out is None and form in ("png", "html"):
        out = Path(f"{run.stem}-report")
    result = render(run, form, out)
    if isinstance(result, str):
        print(result, end="" if result.endswith("\n") else "\n")
    elif isinstance(result, list):
        for path in result:
            print(path)
    else:
        print_rich(result)
