"""`wfm pretrain`: train an encoder."""

from __future__ import annotations

from typing import Annotated

import typer

from wfm_cli.commands.common import Json, Out, Resume, Set, print_json, print_rich


def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file or name of a shipped one.")],
    out: Out,
    data: Annotated[str | None, typer.Option(metavar="STORE", help="Store to train on (data.store).")] = None,
    overrides: Set = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that share every batch.")] = 1,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train an encoder on a store; Ctrl-C, SIGTERM and SIGUSR1 save first.

    Examples:

    wfm pretrain pretrain/lwm-v1 --data canyon.zarr --out lwm.zarr

    wfm pretrain mine.yaml --out run.zarr --set train.lr=3e-4 --devices 4

    wfm pretrain mine.yaml --out run.zarr --resume
    """
    from wfm_cli import api

    changes = [*([f"data.store={data}"] if data else []), *(overrides or ())]
    summary = api.pretrain(recipe, out, overrides=changes, devices=devices, resume=resume)
    if summary is None:  # the processes of --devices have printed
        return
    if as_json:
        print_json(summary)
    else:
        from wfm_cli.core import inspect

        print_rich(inspect.render(out))
