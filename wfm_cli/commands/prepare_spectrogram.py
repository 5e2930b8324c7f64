"""`wfm prepare spectrogram`: stores of spectrograms from I/Q recordings of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.building import Workers, build, recipe_of, tell_files
from wfm_cli.commands.common import Json, Set, note, print_json, si_number

_OTHER = {"checksum": "--no-checksum", "inputs": "INPUT"}


def spectrogram(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, globs, or - for stdin.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the store goes; a .zarr folder.", show_default=False)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="cs16|cu8|cf32|...", help="Type of headerless samples; else their bytes say.")
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="2.4M", help="Samples per second; wins over the files.")] = None,
    freq: Annotated[str | None, typer.Option(metavar="433.92M", help="Centre frequency; wins over the files.")] = None,
    order: Annotated[str | None, typer.Option(metavar="iq|qi", help="Which part comes first.")] = None,
    skip_bytes: Annotated[int | None, typer.Option(min=0, help="Header of headerless files.")] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="samples|parts_first|parts_last", help="Where I and Q lie in real arrays.")
    ] = None,
    variable: Annotated[str | None, typer.Option(help="Variable of .npz, MATLAB and HDF5 files.")] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="auto|folder|none|name:REGEX|csv:FILE|FIELD", help="Where classes come from."),
    ] = None,
    checksum: Annotated[bool | None, typer.Option("--checksum/--no-checksum", help="Check SigMF's sha512.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="lwm-spectro|wavesfm|torchsig", help="128 x 128, 224 x 224 or 512 x 512.")
    ] = None,
    nfft: Annotated[int | None, typer.Option(min=2, help="Frequencies.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Samples from frame to frame.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames.")] = None,
    window: Annotated[str | None, typer.Option(metavar="hann|hamming|blackman|rect")] = None,
    windows: Annotated[
        str | None, typer.Option(metavar="recording|annotation", help="What spectrograms are cut from.")
    ] = None,
    stride: Annotated[float | None, typer.Option(help="From one spectrogram to the next, in spectrograms.")] = None,
    max_windows: Annotated[int | None, typer.Option(min=1, help="At most so many of one recording.")] = None,
    channels: Annotated[str | None, typer.Option(metavar="separate|joint", help="Channels of one recording.")] = None,
    dtype_out: Annotated[
        str | None, typer.Option("--dtype-out", metavar="float16|float32|uint8", help="Type of the stored decibels.")
    ] = None,
    keep_iq: Annotated[bool | None, typer.Option("--keep-iq", help="Store the I/Q as well.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Splits that test every recording once.")] = None,
    split: Annotated[str | None, typer.Option(help="Default split.")] = None,
    skip_bad: Annotated[bool | None, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, how large, how long.")] = False,
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make spectrograms in dB of I/Q recordings, with labels, metadata and splits by recording.

    Every file is accounted for; one that cannot be read stops the build before anything is written, unless --skip-bad.
    A build that was interrupted goes on when the same command is given again.

    Joint labels and splits by held-out values are keys of the recipe, such as --set source.hold_out.scenario=NAME; see
    prepare/spectrogram-lwm.

    Examples:

    wfm prepare spectrogram recordings/ --out store.zarr

    wfm prepare spectrogram capture.bin --dtype cu8 --rate 2.4M --freq 433.92M --nfft 256 --out store.zarr

    rtl_sdr -f 433.92M -n 2400000 - | wfm prepare spectrogram - --dtype cu8 --rate 2.4M --out store.zarr
    """
    given = {
        "dtype": dtype, "rate": _hertz("--rate", rate), "freq": _hertz("--freq", freq), "order": order,
        "skip_bytes": skip_bytes, "layout": layout, "variable": variable, "label": label, "checksum": checksum,
        "preset": preset, "nfft": nfft, "hop": hop, "frames": frames, "window": window, "windows": windows,
        "stride": stride, "max_windows": max_windows, "channels": channels, "dtype_out": dtype_out, "keep_iq": keep_iq,
        "folds": folds, "split": split, "skip_bad": skip_bad,
    }  # fmt: skip
    source: dict[str, Any] = {"kind": "spectrogram", "inputs": _inputs(inputs, out, dry_run)}
    source |= {key: value for key, value in given.items() if value is not None}
    recipe = recipe_of(source, out.stem if out else "spectrogram", overrides, _OTHER)
    if dry_run:
        _preview(recipe, workers, as_json)
    elif out is not None:
        build(recipe, out, workers, as_json)


def _hertz(option: str, text: str | None) -> float | None:
    from wfm_cli.errors import InputError

    try:
        return None if text is None else si_number(text)
    except InputError as error:
        raise InputError(f"{option}: {error.message}", error.hint) from None


def _inputs(inputs: list[str], out: Path | None, dry_run: bool) -> list[str]:
    """The inputs, stdin replaced by a file beside the store."""
    from wfm_cli.errors import InputError

    if out is None and not dry_run:
        raise InputError("--out: is needed", "for example --out store.zarr; or --dry-run to see what would be made")
    if "-" not in inputs:
        return inputs
    if out is None:
        raise InputError("-: stdin is kept beside the store, which --out names", "give --out as well")
    kept = _spool(out)
    return [str(kept) if text == "-" else text for text in dict.fromkeys(inputs)]


def _spool(out: Path) -> Path:
    """Keep stdin in a file, so that the store can be built again and an interrupted build can go on."""
    import os
    import shutil
    import sys

    from wfm_cli.core.store.begin import refuse_used
    from wfm_cli.errors import InputError

    refuse_used(out)
    path = out.with_name(f"{out.stem}.iq")
    if path.exists():
        raise InputError(f"{path}: exists; stdin would be kept there", "give that file instead of -, or remove it")
    if sys.stdin.isatty():
        raise InputError("-: nothing is piped into stdin", "for example rtl_sdr ... - | wfm prepare spectrogram -")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    note(f"stdin: {path.stat().st_size:,} bytes are kept in {path}")
    return path


def _preview(recipe: Any, workers: int, as_json: bool) -> None:
    """Say what would be built: files, windows by class, bytes, and the time that a few windows promise."""
    from wfm_cli.core.inspect.text import size
    from wfm_cli.core.store.build import load_builder
    from wfm_cli.errors import InputError

    builder: Any = load_builder(recipe.source.kind)(recipe.source, recipe.seed)
    try:
        plan = builder.preview()
    except InputError as error:
        tell_files({"files": getattr(error, "report", [])})
        raise
    specs = [*plan.arrays, *(spec for spec, _ in plan.columns)]
    total = plan.samples * sum(spec.row_bytes for spec in specs)
    seconds, tried = _time(builder, plan)
    seconds /= workers
    if as_json:
        facts = {key: plan.attrs[key] for key in ("conventions", "counts", "classes", "notes", "files", "splits")}
        print_json({"samples": plan.samples, "bytes": total, "seconds": seconds, "measured_on": tried, **facts})
        return
    tell_files(plan.attrs)
    first = plan.arrays[0]
    print(f"{plan.samples:,} windows of {' x '.join(map(str, first.shape))} {first.dtype}, {size(total)}")
    print(f"about {seconds:.2g} s of work (measured on {tried:,} windows)")
    for name, entry in plan.attrs["classes"].items():
        print(f"  {name}: {entry['windows']:,} windows of {entry['recordings']:,} recordings")


def _time(builder: Any, plan: Any) -> tuple[float, int]:
    """Seconds that all rows would take, from a few at both ends and in the middle."""
    import time

    piece = max(1, min(32, plan.samples // 3))
    places = sorted({0, (plan.samples - piece) // 2, plan.samples - piece})
    builder.rows(0, 1, plan.state)
    begin = time.perf_counter()
    for start in places:
        builder.rows(start, start + piece, plan.state)
    return (time.perf_counter() - begin) / (piece * len(places)) * plan.samples, piece * len(places)
