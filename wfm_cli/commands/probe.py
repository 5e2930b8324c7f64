"""`wfm probe`: measure one frozen encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import Json, Out, Resume, parse_budget, print_json, print_rich


def probe(
    encoder: Annotated[
        str,
        typer.Argument(help="A run, random:RECIPE or baseline:NAME; @POOLING may follow.", show_default=False),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="STORE", help="Store with the labels.", show_default=False)],
    task: Annotated[list[str], typer.Option("--task", metavar="NAME", help="Task. Repeat.", show_default=False)],
    out: Out,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels", metavar="N | 'N per class' | all", help="Label budget. Repeat. [default: 10 50 200 all]"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Independent draws of every budget.")] = 5,
    split: Annotated[str | None, typer.Option(help="Split of the store; its default if left out.")] = None,
    kind: Annotated[
        str | None,
        typer.Option("--probe", metavar="KIND", help="Probe, from linear and knn to lora and full; by default linear."),
    ] = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Fit a strict probe on frozen features, chosen on validation, scored on test.

    Examples:

    wfm probe lwm.zarr --data canyon.zarr --task los --labels 10 --labels 50 --out probe.zarr

    wfm probe baseline:log_power --data canyon.zarr --task los --out power.zarr
    """
    from wfm_cli import api
    from wfm_cli.core.evaluation.report import render, report_data

    budgets = [parse_budget(text) for text in labels] if labels else None
    api.probe(encoder, data, tasks=task, out=out, labels=budgets, seeds=seeds, split=split, probe=kind, resume=resume)
    if as_json:
        print_json(report_data(out))
    else:
        print_rich(render(out, "table", None))
