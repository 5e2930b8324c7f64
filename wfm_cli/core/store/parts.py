"""Builds a store part by part: init -> load -> finalise.

One part is one shard of every array that the builder makes. A part is done when its own marker file says so; markers
are written after the part's shards are safely on disk, and workers touch nothing else, so any number of processes
(a pool, several machines, the elements of a job array) may load parts of one build at the same time, and a killed
build goes on where it stopped and ends byte-identical to one that never stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wfm_cli.core.progress import progress as show_progress
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store.begin import ask_builder, lay_out, refuse_used
from wfm_cli.core.store.build import BuildPlan, builder_target
from wfm_cli.core.store.files import canonical
from wfm_cli.core.store.finish import complete, is_complete, read_group
from wfm_cli.core.store.plan import BUILD, differences, make_plan, read_plan
from wfm_cli.core.store.schema import shard_name
from wfm_cli.core.store.verify import VerifyReport, verify
from wfm_cli.core.store.work import make_parts, marker
from wfm_cli.errors import InputError, StoreError

__all__ = ["Status", "VerifyReport", "finalise", "init", "load", "run", "status", "verify"]


@dataclass(frozen=True)
class Status:
    """How far a build has come."""

    samples: int
    parts: int
    done: int
    missing: tuple[int, ...]
    """Numbers of the parts (from 0) that are not done."""
    complete: bool
    """Whether the store is finished."""
    bytes: int
    """Bytes of all arrays when whole, before compression."""


def init(recipe: PrepareRecipe, out: Path) -> Status:
    """Plan a build and lay out the empty store, all at once or not at all.

    Raises:
        StoreError: `out` is not empty.
        InputError: the source cannot be used.
        WfmError: the disk is full.
    """
    refuse_used(out)
    lay_out(recipe, ask_builder(recipe), out)
    return status(out)


def load(out: Path, part: tuple[int, int] = (1, 1), workers: int = 1, progress: bool = True) -> Status:
    """Make the parts that are not done yet.

    Args:
        out: folder of the build.
        part: (i, n) takes every n-th part, beginning with the i-th: element i of n of a job array.
        workers: processes; 1 works in this one.
        progress: show progress on stderr.

    Raises:
        StoreError: `out` is no build.
        InputError: `part` makes no sense, or a row holds NaN or infinity.
        WfmError: the disk is full, or a worker process died. Done parts stay done.
    """
    index, count = part
    if not 1 <= index <= count:
        raise InputError(f"part {index}/{count}: the first number runs from 1 to the second", "for example --part 2/8")
    if is_complete(out):
        return status(out)
    plan = read_plan(out)
    todo = [number for number in range(index - 1, plan.parts, count) if not marker(out, number).exists()]
    # By name, not by what the plan says: a folder must not decide which code runs.
    target = builder_target(plan.recipe["source"]["kind"])
    made = make_parts(out, target, todo, workers)
    for _ in show_progress(made, total=len(todo), unit="part", label="prepare", enabled=progress):
        pass
    return status(out)


def status(out: Path) -> Status:
    """How far the build in `out` has come.

    Raises:
        StoreError: `out` is no build and no store.
    """
    if is_complete(out):
        wfm = read_group(out)
        return Status(wfm["samples"], wfm["parts"], wfm["parts"], (), True, wfm["bytes"])
    plan = read_plan(out)
    missing = tuple(number for number in range(plan.parts) if not marker(out, number).exists())
    return Status(plan.samples, plan.parts, plan.parts - len(missing), missing, False, plan.bytes)


def finalise(out: Path) -> None:
    """Turn a build whose parts are all done into a store; giving it again after a kill is harmless.

    Raises:
        StoreError: parts are missing (the message lists them), a shard file has vanished, or `out` is no build.
    """
    if is_complete(out):
        shutil.rmtree(out / BUILD, ignore_errors=True)
        return
    plan, state = read_plan(out), status(out)
    if state.missing:
        numbers = ", ".join(map(str, state.missing[:10])) + (", ..." if len(state.missing) > 10 else "")
        raise StoreError(
            f"{out}: {len(state.missing)} of {state.parts} parts are missing: {numbers}", f"wfm prepare load {out}"
        )
    for spec in plan.arrays:
        for number in range(plan.parts):
            shard = out / spec.name / shard_name(number, len(spec.dims))
            if not shard.is_file():
                raise StoreError(f"{shard}: has vanished", f"remove {marker(out, number)} and load again")
    complete(out, plan, [marker(out, number) for number in range(plan.parts)])


def run(
    recipe: PrepareRecipe,
    out: Path,
    workers: int = 1,
    progress: bool = True,
    planned: Callable[[BuildPlan], None] | None = None,
) -> None:
    """Build a store from beginning to end, or go on with the same build after it was interrupted.

    Args:
        recipe: what to build.
        out: where to.
        workers: see `load`.
        progress: see `load`.
        planned: told about the plan before anything is written.

    Raises:
        StoreError: `out` holds something else, or a build of another recipe or of inputs that have changed since.
        InputError, WfmError: see `init` and `load`.
    """
    begun = (out / BUILD / "plan.json").is_file()
    if begun:
        _refuse_other_recipe(recipe, out)
    else:
        refuse_used(out)
    plan = ask_builder(recipe)
    if planned is not None:
        planned(plan)
    if begun:
        _refuse_other_input(recipe, plan, out)
    else:
        lay_out(recipe, plan, out)
    load(out, workers=workers, progress=progress)
    finalise(out)


_ANEW = "choose another --out, or remove the folder to build anew"


def _refuse_other_recipe(recipe: PrepareRecipe, out: Path) -> None:
    old = read_plan(out).identity
    new_recipe = recipe.model_dump(mode="json", exclude={"name", "description"})
    if differ := list(differences(old["recipe"], new_recipe)):
        raise StoreError(f"{out}: holds an unfinished build of another recipe: {'; '.join(differ[:3])}", _ANEW)


def _refuse_other_input(recipe: PrepareRecipe, plan: BuildPlan, out: Path) -> None:
    new = json.loads(canonical(make_plan(recipe, plan).identity))
    if differ := list(differences(read_plan(out).identity, new)):
        raise StoreError(f"{out}: the input has changed since this build began: {'; '.join(differ[:3])}", _ANEW)
