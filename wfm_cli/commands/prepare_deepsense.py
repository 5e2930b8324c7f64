"""`wfm prepare deepsense`: stores of synchronised sensor frames from DeepSense 6G scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.building import Workers, build, recipe_of
from wfm_cli.commands.common import Json, Set, print_json, print_rich


def deepsense(
    scenarios: Annotated[
        list[str],
        typer.Argument(metavar="SCENARIO_DIR...", help="Unpacked scenarios, or their index CSVs.", show_default=False),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Store to make.", show_default=False)] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Say what is there, what is missing and what is odd; build nothing.")
    ] = False,
    radar: Annotated[
        str, typer.Option(metavar="deepsense|paper", help="Range-angle map: public recipe, or as the paper prints it.")
    ] = "deepsense",
    size: Annotated[int, typer.Option(min=8, help="Edge of the images.")] = 224,
    history: Annotated[int, typer.Option(min=1, help="Observed frames of a window.")] = 8,
    horizon: Annotated[int, typer.Option(min=1, help="Predicted frames of a window.")] = 5,
    split: Annotated[
        str | None, typer.Option(metavar="sequence|paper|scenario", help="Default split; by sequence if left out.")
    ] = None,
    missing: Annotated[
        str, typer.Option(metavar="error|drop", help="Frames whose files are missing: refuse them or leave them out.")
    ] = "error",
    gap: Annotated[
        float | None, typer.Option("--gap", metavar="SECONDS", help="Cut sequences at longer gaps in time.")
    ] = None,
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make range-angle maps, depth images, pictures, positions and beam powers, and windows of them.

    Frames are kept once; windows are an index. A build that was interrupted goes on when the same command is given
    again.

    Examples:

    wfm prepare deepsense scenario32 --check

    wfm prepare deepsense scenario31 scenario32 scenario33 --out street.zarr --workers 2
    """
    from wfm_cli.errors import InputError

    source: dict[str, Any] = {
        "kind": "deepsense",
        "scenarios": scenarios,
        "radar": radar,
        "image_size": size,
        "history": history,
        "horizon": horizon,
        "split": split,
        "missing": missing,
        "gap_s": gap,
    }
    places = {"scenarios": "SCENARIO_DIR", "image_size": "--size", "gap_s": "--gap"}
    recipe = recipe_of(source, out.stem if out is not None else "check", overrides, places)
    if check_only:
        _check(recipe.source, as_json)
    elif out is None:
        raise InputError("--out is missing", "name the store to make, or look first with --check")
    else:
        build(recipe, out, workers, as_json)


def _check(source: Any, as_json: bool) -> None:
    from importlib import import_module

    found = import_module("wfm_datasets.deepsense.check").check(source)
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    for facts in found:
        table = Table(
            title=f"scenario {facts['scenario']}: {facts['rows']:,} rows of {facts['index']}", title_justify="left"
        )
        for heading in ("sensor", "named", "found", "first missing"):
            table.add_column(heading, justify="right" if heading in ("named", "found") else "left")
        for key, files in facts["files"].items():
            table.add_row(key, f"{files['named']:,}", f"{files['found']:,}", "\n".join(files["missing"]))
        print_rich(table)
        for line in _lines(facts):
            print(line)


def _lines(facts: dict[str, Any]) -> list[str]:
    if "problem" in facts:
        return [f"cannot be read: {facts['problem']}"]
    time, sequences, nan, lidar = facts["time"], facts["sequences"], facts["nan"], facts["lidar"]
    lines = [
        f"{sequences['count']} sequences of {sequences['shortest']} to {sequences['longest']} frames, "
        f"{facts['windows']:,} windows",
        facts["labels_agree"],
        f"{facts['beams_used']} beams are the best of some frame",
        f"{nan['powers']} powers are NaN, in {nan['frames']} frames",
        f"{facts['interpolated']:.1%} of the positions are interpolated",
    ]
    if time["steps"]:
        lines.append(
            f"time steps: median {time['median_ms']} ms, mean {time['mean_ms']} ms, longest {time['longest_ms']} ms, "
            f"{time['duplicate_stamps']} stamps given twice, {time['backwards_or_cut']} backwards or cut"
        )
        lines.append("  " + ", ".join(f"{name} ms: {count}" for name, count in time["histogram_ms"].items() if count))
    if lidar:
        lines.append(f"LiDAR: {lidar['kept']:.1%} of the points of {lidar['clouds']} clouds fall into the picture")
    return lines
