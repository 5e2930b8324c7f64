"""`wfm prepare`: build data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands import prepare_deepsense, prepare_spectrogram, prepare_street, prepare_waveforms, prepare_wavesfm
from wfm_cli.commands.building import Workers, build, print_store, recipe_of
from wfm_cli.commands.common import Json, Out, Set, note, parse_part, print_json

app = typer.Typer(help="Build a data set: one chunked Zarr store.", no_args_is_help=True)

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Store under construction, or finished.")]
RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file or name of a shipped one.")]


@app.command()
def deepmimo(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO_DIR...",
            help="DeepMIMO folders (v2/v3 .mat or v4), or embedded:canyon_3p5 and embedded:canyon_28.",
            show_default=False,
        ),
    ],
    out: Out,
    bs: Annotated[
        list[str] | None,
        typer.Option("--bs", metavar="N | SCENARIO=N", help="Base station, for all scenarios or for one of them."),
    ] = None,
    antennas: Annotated[int, typer.Option(min=1, help="Elements of the half-wavelength array.")] = 32,
    subcarriers: Annotated[int, typer.Option(min=1, help="Number of subcarriers.")] = 32,
    spacing_khz: Annotated[float, typer.Option(help="Subcarrier spacing in kHz.")] = 30.0,
    paths: Annotated[int, typer.Option(min=1, help="At most this many paths of a user.")] = 20,
    beams: Annotated[list[int] | None, typer.Option("--beams", help="Codebook size that gets labels. Repeat.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="city|spatial|random", help="Default split of the store.")
    ] = None,
    normalise: Annotated[str, typer.Option(metavar="raw|published|power", help="Scale of the channels.")] = "published",
    late_paths: Annotated[
        str | None,
        typer.Option("--late-paths", metavar="error|drop", help="What to do with delays beyond 1/spacing."),
    ] = None,
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make channels, line-of-sight and beam labels from the rays of DeepMIMO scenarios.

    A build that was interrupted goes on when the same command is given again.

    Examples:

    wfm prepare deepmimo embedded:canyon_3p5 --out canyon.zarr

    wfm prepare deepmimo denver fortworth --bs denver=3 --bs fortworth=1 --out cities.zarr --workers 2
    """
    source: dict[str, Any] = {
        "kind": "deepmimo",
        "scenarios": scenarios,
        "bs": _base_stations(bs),
        "antennas": antennas,
        "subcarriers": subcarriers,
        "spacing_khz": spacing_khz,
        "paths": paths,
        "normalise": normalise,
        "split": split,
    }
    if beams:
        source["beams"] = beams
    if late_paths:
        source["late_paths"] = late_paths
    build(recipe_of(source, out.stem, overrides, {"scenarios": "SCENARIO_DIR"}), out, workers, as_json)


app.command()(prepare_wavesfm.wavesfm)
app.command()(prepare_spectrogram.spectrogram)
app.command()(prepare_waveforms.waveforms)
app.command()(prepare_deepsense.deepsense)
app.command()(prepare_street.street)


def _base_stations(values: list[str] | None) -> int | dict[str, int]:
    from wfm_cli.errors import InputError

    chosen: dict[str, int] = {}
    for text in values or ["1"]:
        name, _, number = text.rpartition("=")
        if not number.isdigit() or int(number) < 1:
            raise InputError(f"--bs {text}: expected a number from 1, or SCENARIO=NUMBER", "for example --bs denver=3")
        chosen[name] = int(number)
    if "" in chosen and len(chosen) > 1:
        raise InputError("--bs: mixes one number for all with numbers per scenario", "name every scenario")
    return chosen.get("", chosen)


@app.command()
def run(recipe: RecipeFile, out: Out, workers: Workers = 1, overrides: Set = None, as_json: Json = False) -> None:
    """Build a store from a recipe, from the first part to the last; goes on where it was stopped.

    Example: wfm prepare run prepare/canyon --out canyon.zarr
    """
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.prepare import PrepareRecipe

    build(load_recipe(recipe, PrepareRecipe, overrides or ()), out, workers, as_json)


@app.command()
def init(recipe: RecipeFile, out: Out, overrides: Set = None, as_json: Json = False) -> None:
    """Plan a build: make the empty store and say how many parts there are.

    Example: wfm prepare init prepare/canyon --out canyon.zarr
    """
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.prepare import PrepareRecipe
    from wfm_cli.core.store import parts

    status = parts.init(load_recipe(recipe, PrepareRecipe, overrides or ()), out)
    _print_status(out, status, as_json)
    n = status.parts
    note(f"next: wfm prepare load {out}    or, as a SLURM array of {n}:")
    note(f'  sbatch --array=1-{n} --wrap "wfm prepare load {out} --part \\$SLURM_ARRAY_TASK_ID/{n}"')


@app.command()
def load(
    store: StorePath,
    part: Annotated[str, typer.Option(metavar="i/n", help="Build the i-th of n shares of the parts.")] = "1/1",
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Build the parts that are not done yet.

    Example: wfm prepare load canyon.zarr --part 3/16
    """
    from wfm_cli.core.store import parts

    _print_status(store, parts.load(store, parse_part(part), workers=workers), as_json)


@app.command()
def finalise(store: StorePath, as_json: Json = False) -> None:
    """Close a store whose parts are all there: statistics, attributes, seal.

    Example: wfm prepare finalise canyon.zarr
    """
    from wfm_cli.core.store import parts

    parts.finalise(store)
    print_store(store, as_json)


@app.command()
def status(store: StorePath, as_json: Json = False) -> None:
    """Say how far a build is.

    Example: wfm prepare status canyon.zarr
    """
    from wfm_cli.core.store import parts

    _print_status(store, parts.status(store), as_json)


@app.command()
def verify(store: StorePath, as_json: Json = False) -> None:
    """Read a finished store whole and compare checksums, NaN counts and statistics with its records.

    Example: wfm prepare verify canyon.zarr
    """
    from dataclasses import asdict

    from wfm_cli.core.store.verify import verify as verify_store
    from wfm_cli.errors import WfmError

    report = verify_store(store, progress=True)
    if as_json:
        print_json({"path": str(store), "ok": report.ok, **asdict(report)})
    elif report.ok:
        size = f"{report.bytes / 1e6:,.1f} MB in {report.shards} shards of {report.arrays} arrays"
        print(f"{store}: {report.samples:,} samples, {size}: every checksum, NaN count and statistic as recorded")
    if report.problems:
        raise WfmError("\n       ".join(report.problems), "restore the store from a copy or build it again")


def _print_status(path: Path, status: Any, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json({"path": str(path), **asdict(status)})
        return
    state = "complete" if status.complete else f"{status.done} of {status.parts} parts done"
    print(f"{path}: {status.samples} samples, {status.parts} parts, {state}")
