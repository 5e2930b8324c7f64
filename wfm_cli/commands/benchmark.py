"""`wfm benchmark`: run a whole table."""

from __future__ import annotations

from typing import Annotated

import typer

from wfm_cli.commands.common import Json, Out, Resume, Set, print_json, print_rich


def benchmark(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Recipe file or name of a shipped suite.")],
    out: Out,
    data: Annotated[str | None, typer.Option(metavar="STORE", help="Store to measure on.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="Encoder under test, in place of the suite's own. Repeat."),
    ] = None,
    overrides: Set = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that share the rows of the table and the cores.")
    ] = 1,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Measure encoders beside the baselines that every task asks for and the published numbers.

    Examples:

    wfm benchmark benchmark/lwm --data canyon.zarr --encoder lwm.zarr --out table.zarr

    wfm benchmark suite.yaml --out table.zarr --workers 2 --resume
    """
    from wfm_cli import api
    from wfm_cli.core.evaluation.report import render, report_data

    changes = [*([f"data={data}"] if data else []), *(overrides or ())]
    api.benchmark(suite, out, overrides=changes, encoders=encoder, resume=resume, workers=workers)
    if as_json:
        print_json(report_data(out))
    else:
        print_rich(render(out, "table", None))
