"""`wfm show`: look into a store, a run or recordings of I/Q."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.common import Dtype, Freq, Json, Order, Rate, note, print_json, print_rich


def show(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Store, run, I/Q recording or folder of recordings.")],
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="FOLDER", help="Draw its pictures as PNG into this folder.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Sample of a store, or example of a set of I/Q, that the pictures show.")
    ] = 0,
    frame: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Draw this frame of a store of sequences as one PNG: camera, radar, LiDAR, track and beam powers. "
            "It goes into the folder of --pictures, which then shows this frame, else into the current one.",
            show_default=False,
        ),
    ] = None,
    dtype: Dtype = None,
    rate: Rate = None,
    freq: Freq = None,
    order: Order = "auto",
    skip_bytes: Annotated[
        int | None, typer.Option("--skip-bytes", min=0, help="Header of headerless recordings, bytes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is in a store, a run or a recording: arrays, sizes, statistics, curves, levels, spectra, pictures.

    Examples:

    wfm show canyon.zarr

    wfm show canyon.zarr --pictures pictures --sample 12

    wfm show street.zarr --frame 60

    wfm show capture.cs16 --rate 2.4M --freq 433.92M --pictures pictures
    """
    if is_recording(path):
        if frame is not None:
            from wfm_cli.errors import InputError

            raise InputError(f"{path}: is no store of sequences, which have frames", "choose an example by --sample")
        reading = {"dtype": dtype, "rate": rate, "freq": freq, "order": order, "skip_bytes": skip_bytes}
        _show_recordings(path, reading, pictures, sample, as_json)
        return
    given = {"--dtype": dtype, "--rate": rate, "--freq": freq, "--skip-bytes": skip_bytes}
    named = [name for name, value in given.items() if value is not None] + ["--order"] * (order != "auto")
    if named:
        from wfm_cli.errors import InputError

        raise InputError(f"{path}: is no recording; {named[0]} says how recordings are read", f"leave {named[0]} out")
    from wfm_cli.core import inspect

    drawn = inspect.frame(path, Path(), frame) if frame is not None and pictures is None else []
    if as_json:
        print_json(inspect.describe(path))
    elif not drawn:
        print_rich(inspect.render(path))
    if pictures is not None:
        drawn = inspect.pictures(path, pictures, sample=sample if frame is None else frame)
    for picture in drawn:
        print(picture, file=sys.stderr if as_json else sys.stdout)


def is_recording(path: Path) -> bool:
    """Whether to look for recordings: a file, or a folder that neither is nor holds a store or run."""
    if not path.is_dir():
        return path.exists()
    inside = list(path.iterdir())
    return bool(inside) and not any(place.name == "zarr.json" or (place / "zarr.json").is_file() for place in inside)


def _show_recordings(path: Path, reading: dict[str, Any], pictures: Path | None, example: int, as_json: bool) -> None:
    from importlib import import_module

    from wfm_cli.core.inspect.recording_view import TABLE, recording_view
    from wfm_cli.errors import InputError

    if reading["order"] not in ("auto", "iq", "qi"):
        raise InputError(f"--order {reading['order']}: not known", "choose auto, iq or qi")
    iq = import_module("wfm_datasets.iq.inspection")
    found = iq.look(path, iq.ReadOptions(**reading))
    facts = iq.describe(found, limit=None if as_json or pictures else TABLE)
    if as_json:
        print_json(facts)
    else:
        one = len(found.recordings) == 1 and not facts["recordings"][0]["error"]
        print_rich(recording_view(facts, iq.excerpt(found.recordings[0]) if one else None))
    if pictures is None:
        return
    from wfm_cli.core.inspect.recording_picture import picture_names, recording_picture

    for stem, (recording, told, channel) in picture_names(_pages(found.recordings, facts["recordings"])).items():
        try:
            excerpt = iq.excerpt(recording, channel, min(example, recording.examples - 1))
        except InputError as error:
            note(f"no picture of {recording.name}: {error.message}")
            continue
        print(recording_picture(told, excerpt, pictures, stem), file=sys.stderr if as_json else sys.stdout)


def _pages(recordings: Any, facts: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[Any, dict[str, Any], int]]]:
    """Name and content of every page: one for each channel of each recording."""
    for recording, told in zip(recordings, facts, strict=True):
        for channel in range(recording.channels):
            name = f"{recording.name}-channel{channel}" if recording.channels > 1 else recording.name
            yield name, (recording, told, channel)
