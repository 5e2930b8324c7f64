"""`wfm prepare street`: scenario folders of a simulated street, in the layout of DeepSense 6G."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.building import Workers
from wfm_cli.commands.common import Json, Set, print_json


def street(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that gets the scenarios.", show_default=False)],
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="Recipe file or name of a shipped one.")
    ] = "street/small",
    scenarios: Annotated[
        list[str] | None, typer.Option("--scenario", help="31, 32, 33, 34, 9 or 36. Repeat.", show_default=False)
    ] = None,
    sequences: Annotated[
        int | None, typer.Option(min=1, help="Passes of a vehicle in every scenario.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count frames; write nothing.")] = False,
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make any amount of DeepSense-like data: vehicles pass a base station with camera, radar, LiDAR and 64 beams.

    All sensors see the same scene, so that the radar peak, the nearest LiDAR return and the best beam follow the
    vehicle. A call that was interrupted goes on when the same command is given again.

    Examples:

    wfm prepare street --out street

    wfm prepare street --scenario 31 --scenario 33 --sequences 40 --out streets --workers 2
    """
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.street import StreetRecipe
    from wfm_datasets.street.folder import build

    changes = list(overrides or ())
    changes += [f"scenarios=[{', '.join(repr(name) for name in scenarios)}]"] if scenarios else []
    changes += [f"sequences={sequences}"] if sequences is not None else []
    changes += [f"seed={seed}"] if seed is not None else []
    summary = build(load_recipe(recipe, StreetRecipe, changes), out, workers=workers, dry_run=dry_run)
    if as_json:
        print_json({**summary, "dry_run": dry_run})
        return
    for name, facts in summary["scenarios"].items():
        verb = "would have" if dry_run else "has"
        print(f"scenario {name} {verb} {facts['frames']:,} frames in {facts['sequences']} passes: {facts['index']}")
    if not dry_run:
        folders = " ".join(str(Path(facts["index"]).parent) for facts in summary["scenarios"].values())
        print(f"next: wfm prepare deepsense {folders} --out street.zarr")
