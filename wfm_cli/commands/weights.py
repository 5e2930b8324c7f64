"""`wfm import` and `wfm export`: weights in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import Json, Out, print_json

app = typer.Typer(help="Take in weights that others have published.", no_args_is_help=True)


@app.callback()
def _import() -> None:
    """Take in weights that others have published."""


@app.command()
def lwm(
    file: Annotated[Path, typer.Argument(metavar="FILE.pth", help="Official checkpoint of the LWM family.")],
    out: Out,
    wiring: Annotated[
        str | None,
        typer.Option(metavar="v1.0|v1.1|spectro", help="Residual wiring, where the file's sizes do not tell it."),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads, where the file's width is not a published one.")
    ] = None,
    experts: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Experts of a Spectro mixture that does not hold them itself."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import an official LWM checkpoint (v1.0, v1.1, a Spectro expert or its mixture) for probe and benchmark.

    The wiring is told by the names and shapes of the tensors; nothing in the file is executed.

    Example: wfm import lwm model_weights.pth --out lwm.zarr
    """
    from wfm_cli.core.exchange import import_lwm

    summary = import_lwm(file, out, wiring=wiring, heads=heads, experts=experts)
    if as_json:
        print_json(summary)
    else:
        print(f"{out}: LWM {summary['wiring']}, {summary['parameters']:,} parameters, sha256 {summary['sha256']}")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Pretrain or import run.")],
    out: Out,
    to: Annotated[str, typer.Option("--to", metavar="safetensors", help="Format.")] = "safetensors",
    which: Annotated[str | None, typer.Option(metavar="best|last", help="Weights; the best by default.")] = None,
    as_json: Json = False,
) -> None:
    """Export weights with their configuration and a model card.

    Example: wfm export lwm.zarr --to safetensors --out lwm
    """
    from wfm_cli.core.exchange import export_run
    from wfm_cli.errors import InputError

    if to != "safetensors":
        raise InputError(f"--to {to}: unknown format", "safetensors is the one there is")
    files = export_run(run, out, which)
    if as_json:
        print_json([str(path) for path in files])
    else:
        for path in files:
            print(path)
