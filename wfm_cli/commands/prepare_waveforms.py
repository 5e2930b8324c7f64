"""`wfm prepare waveforms`: labelled I/Q made here, written as SigMF recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wfm_cli.commands.building import Workers
from wfm_cli.commands.common import Json, Set, print_json, print_rich


def waveforms(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder that gets the SigMF recordings.", show_default=False)
    ],
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="Recipe file or name of a shipped one.")
    ] = "waveforms/lwm-spectro",
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Recordings of every pair of SNR and mobility.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count recordings and bytes; write nothing.")] = False,
    workers: Workers = 1,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make Wi-Fi-, LTE- and 5G-NR-like signals, sent to the users of ray-traced scenarios.

    Every recording is labelled with standard, modulation, SNR, mobility and scenario. A call that was interrupted goes
    on when the same command is given again.

    Examples:

    wfm prepare waveforms --out waveforms --workers 2

    wfm prepare waveforms waveforms/small --per-class 4 --out few
    """
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.waveforms import WaveformsRecipe
    from wfm_datasets.waveforms.folder import as_dict, build

    changes = list(overrides or ())
    changes += [f"per_class={per_class}"] if per_class is not None else []
    changes += [f"seed={seed}"] if seed is not None else []
    summary = build(load_recipe(recipe, WaveformsRecipe, changes), out, workers=workers, dry_run=dry_run)
    if as_json:
        print_json({**as_dict(summary), "dry_run": dry_run})
        return
    print_rich(*_lines(summary, dry_run))


def _lines(summary: Any, dry_run: bool) -> list[Any]:
    from rich.table import Table

    verb = "would hold" if dry_run else "holds"
    head = (
        f"{summary.path} {verb} {summary.recordings:,} recordings of {summary.seconds * 1e3:g} ms at "
        f"{summary.sample_rate_hz / 1e6:g} MS/s ({summary.samples:,} samples), {summary.bytes / 1e6:,.1f} MB"
    )
    table = Table(box=None, show_header=False)
    for field, counts in summary.counts.items():
        if field != "snr_db/mobility":
            table.add_row(field, ", ".join(f"{value} {count}" for value, count in counts.items()))
    pairs = list(summary.counts["snr_db/mobility"].values())
    table.add_row("classes", f"{len(pairs)} pairs of SNR and mobility, {min(pairs)} to {max(pairs)} recordings each")
    if summary.limited:
        table.add_row("level", f"{summary.limited} recordings at a lower gain than drawn, so that no peak is clipped")
    return [head, table]
