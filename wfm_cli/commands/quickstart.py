"""`wfm quickstart`: the whole line on the scenario that ships with wfm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wfm_cli.commands.common import note, print_rich


def quickstart(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")] = Path("quickstart"),
    force: Annotated[bool, typer.Option("--force", help="Make everything anew.")] = False,
) -> None:
    """Prepare, pretrain, probe, benchmark and report, offline, in a few minutes on a laptop.

    Steps that an earlier call finished are kept; a step that was interrupted goes on.

    Example: wfm quickstart --out first-look
    """
    import shutil

    from wfm_cli import api
    from wfm_cli.core.evaluation.report import render
    from wfm_cli.core.recipe.loading import load_recipe
    from wfm_cli.core.recipe.prepare import PrepareRecipe
    from wfm_cli.core.store import parts
    from wfm_cli.core.store.run import Run

    store, run, first, table = (out / name for name in ("canyon.zarr", "lwm.zarr", "probe.zarr", "benchmark.zarr"))
    if force:
        for path in (store, run, first, table):
            shutil.rmtree(path, ignore_errors=True)

    note(f"1/5 wfm prepare run prepare/canyon --out {store}")
    if not store.exists() or not parts.status(store).complete:
        parts.run(load_recipe("prepare/canyon", PrepareRecipe), store)
    note(f"2/5 wfm pretrain pretrain/lwm-quickstart --data {store} --out {run}")
    if not run.exists() or not Run.open(run).complete:
        api.pretrain("pretrain/lwm-quickstart", run, overrides=[f"data.store={store}"], resume=run.exists())
    note(f"3/5 wfm probe {run}@mean --data {store} --task los --labels 10 --out {first}")
    if not first.exists() or not Run.open(first).complete:
        api.probe(f"{run}@mean", store, tasks=["los"], out=first, labels=[10], resume=first.exists())
    note(f"4/5 wfm benchmark benchmark/quickstart --data {store} --encoder {run} --out {table}")
    if not table.exists() or not Run.open(table).complete:
        encoders = [f"{run}@cls", f"{run}@mean"]
        api.benchmark(
            "benchmark/quickstart", table, overrides=[f"data={store}"], encoders=encoders, resume=table.exists()
        )
    note(f"5/5 wfm report {table} --format html --out {out / 'report'}")
    pages = render(table, "html", out / "report")
    print_rich(render(run, "table", None), render(table, "table", None))
    for page in pages if isinstance(pages, list) else ():
        print(f"report: {page}")
    print(f"look further: wfm show {store} --pictures {out / 'pictures'}")
