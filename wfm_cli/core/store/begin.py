"""The first step of a build: the plan and the empty store."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store.build import BuildPlan, load_builder
from wfm_cli.core.store.files import PARTIAL, atomic_file, write_all, write_error, write_json
from wfm_cli.core.store.finish import group_attributes, is_complete
from wfm_cli.core.store.plan import BUILD, StoredPlan, make_plan
from wfm_cli.core.store.schema import JSON, ArraySpec, array_metadata, group_metadata
from wfm_cli.core.store.writer import write_shard
from wfm_cli.errors import StoreError


def refuse_used(out: Path) -> None:
    """Refuse a place that holds anything at all, naming the ways out."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if (out / BUILD / "plan.json").is_file():
        raise StoreError(
            f"{out}: holds an unfinished build",
            f"go on with `wfm prepare load {out}` (or `wfm prepare run` with its recipe), or remove the folder",
        )
    if out.exists():
        what = "holds a finished store" if is_complete(out) else "exists and is not empty"
        raise StoreError(f"{out}: {what}", "choose another --out, or remove it first")


def ask_builder(recipe: PrepareRecipe) -> BuildPlan:
    """What the builder of the recipe's source finds there."""
    return load_builder(recipe.source.kind)(recipe.source, recipe.seed).plan()


def lay_out(recipe: PrepareRecipe, plan: BuildPlan, out: Path) -> None:
    """Write everything into a folder beside `out`, then rename it: a kill leaves `out` untouched.

    Raises:
        InputError: a column holds NaN or infinity.
        WfmError: the disk is full, or the place cannot be written.
    """
    stored = make_plan(recipe, plan)
    place = Path(os.path.realpath(out))  # a link to an empty folder stays a link
    fresh = place.with_name(f".{place.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        (fresh / BUILD / "parts").mkdir(parents=True)
        (fresh / BUILD / "state").mkdir()
        specs = [*stored.arrays, *stored.columns]
        for folder in {parent for spec in specs for parent in Path(spec.name).parents if parent.name}:
            (fresh / folder).mkdir(parents=True, exist_ok=True)
            write_json(fresh / folder / "zarr.json", group_metadata({}))
        for spec in specs:
            (fresh / spec.name).mkdir()
            write_json(fresh / spec.name / "zarr.json", array_metadata(spec, stored.length(spec), stored.grid(spec)))
        stored = stored.with_records({spec.name: _write_column(fresh, stored, spec, v) for spec, v in plan.columns})
        for name, values in plan.state.items():
            _save_state(fresh / BUILD / "state" / f"{name}.npy", values)
        write_json(fresh / "zarr.json", group_metadata(group_attributes(stored)))
        write_json(fresh / BUILD / "plan.json", stored.to_json())
        os.replace(fresh, place)
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, OSError):
            raise write_error(out, error) from error
        raise


def _save_state(path: Path, values: np.ndarray[Any, Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    with atomic_file(path) as descriptor:
        write_all(descriptor, buffer.getbuffer())


def _write_column(out: Path, plan: StoredPlan, spec: ArraySpec, values: np.ndarray[Any, Any]) -> list[JSON]:
    cut, length = plan.grid(spec), plan.length(spec)
    ranges = [cut.rows(shard, length) for shard in range(cut.shards(length))]
    return [
        write_shard(out / spec.name, shard, values[start:stop], spec, cut).to_json()
        for shard, (start, stop) in enumerate(ranges)
    ]
