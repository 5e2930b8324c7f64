"""`wfm prepare wavesfm`: stores from the raw files of the WavesFM and LatentWave tasks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wfm_cli.commands.building import Workers, build, recipe_of
from wfm_cli.commands.common import Json, Out, Set


def wavesfm(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="sensing, rfs, pos, radcom, rml, rfp, interf, uwb-indoor or uwb-industrial.",
            show_default=False,
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Raw files as published, or folders that hold them.", show_default=False
        ),
    ],
    out: Out,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME|published", help="Default split; by group (position, day ...) if left out."),
    ] = None,
    size: Annotated[int, typer.Option(min=0, help="Edge of image-like samples; 0 keeps their own grid.")] = 224,
    normalise: Annotated[str, typer.Option(metavar="file|wavesfm", help="Scale of the samples.")] = "file",
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Read a published data set of WavesFM or LatentWave; every split is stored with what it gives away.

    A build that was interrupted goes on when the same command is given again.

    Examples:

    wfm prepare wavesfm pos dataset_SNR10_outdoor.mat dataset_SNR50_outdoor.mat --out pos.zarr

    wfm prepare wavesfm rfp powder/ --split published --out powder.zarr --workers 2
    """
    source: dict[str, Any] = {
        "kind": "wavesfm",
        "task": task,
        "paths": paths,
        "size": size,
        "normalise": normalise,
        "split": split,
    }
    build(recipe_of(source, out.stem, overrides, {"task": "TASK", "paths": "PATH"}), out, workers, as_json)
