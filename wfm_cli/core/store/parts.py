"""Builds a store part by part: init -> load -> finalise.

One part is one shard of every array that the builder makes. A part is done when its own marker file says so; markers
are written after the part's shards are safely on disk, and workers touch nothing else, so any number of processes
(a pool, several machines, the elements of a job array) may load parts of one build at the same time, and a killed
build goes on where it stopped and ends byte-identical to one that never stopped.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.progress import progress as show_progress
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store.build import Builder, BuildPlan, check_rows, import_builder, load_builder
from wfm_cli.core.store.files import PARTIAL, atomic_file, canonical, write_all, write_json
from wfm_cli.core.store.finish import complete, group_attributes, is_complete, read_group
from wfm_cli.core.store.plan import BUILD, StoredPlan, differences, make_plan, read_plan, source_of
from wfm_cli.core.store.schema import ArraySpec, array_metadata, group_metadata, shard_name
from wfm_cli.core.store.writer import write_shard
from wfm_cli.errors import InputError, StoreError, WfmError


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
    _refuse_used(out)
    plan = _plan(recipe)
    return _init(make_plan(recipe, plan), plan, out)


def _refuse_used(out: Path) -> None:
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


def _plan(recipe: PrepareRecipe) -> BuildPlan:
    return load_builder(recipe.source.kind)(recipe.source, recipe.seed).plan()


def _init(stored: StoredPlan, plan: BuildPlan, out: Path) -> Status:
    """Write everything into a folder beside `out`, then rename it: a kill leaves `out` untouched."""
    fresh = out.with_name(f".{out.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        (fresh / BUILD / "parts").mkdir(parents=True)
        (fresh / BUILD / "state").mkdir()
        specs = [*stored.arrays, *stored.columns]
        for folder in {parent for spec in specs for parent in Path(spec.name).parents if parent.name}:
            (fresh / folder).mkdir(parents=True, exist_ok=True)
            write_json(fresh / folder / "zarr.json", group_metadata({}))
        for spec in specs:
            (fresh / spec.name).mkdir()
            write_json(fresh / spec.name / "zarr.json", array_metadata(spec, stored.samples, stored.grid(spec)))
        stored = stored.with_records({spec.name: _write_column(fresh, stored, spec, v) for spec, v in plan.columns})
        for name, values in plan.state.items():
            _save_state(fresh / BUILD / "state" / f"{name}.npy", values)
        write_json(fresh / "zarr.json", group_metadata(group_attributes(stored)))
        write_json(fresh / BUILD / "plan.json", stored.to_json())
        os.replace(fresh, out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return status(out)


def _save_state(path: Path, values: np.ndarray[Any, Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    with atomic_file(path) as descriptor:
        write_all(descriptor, buffer.getbuffer())


def _write_column(out: Path, plan: StoredPlan, spec: ArraySpec, values: np.ndarray[Any, Any]) -> list[Any]:
    cut = plan.grid(spec)
    ranges = [cut.rows(shard, plan.samples) for shard in range(cut.shards(plan.samples))]
    return [
        write_shard(out / spec.name, shard, values[start:stop], spec, cut).to_json()
        for shard, (start, stop) in enumerate(ranges)
    ]


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
    todo = [number for number in range(index - 1, plan.parts, count) if not _marker(out, number).exists()]
    made = _in_pool(out, plan, todo, workers) if workers > 1 and len(todo) > 1 else _in_process(out, plan, todo)
    for _ in show_progress(made, total=len(todo), unit="part", label="prepare", enabled=progress):
        pass
    return status(out)


def _marker(out: Path, number: int) -> Path:
    return out / BUILD / "parts" / f"{number:06d}.json"


class _Worker:
    """One process's view of a build: everything is read back from the store."""

    def __init__(self, out: Path, target: str) -> None:
        self.out = out
        self.plan = read_plan(out)
        builder = import_builder(target)
        self.builder: Builder = builder(source_of(self.plan, builder), self.plan.seed)
        files = sorted((out / BUILD / "state").glob("*.npy"))
        self.state = {path.stem: np.load(path, allow_pickle=False) for path in files}

    def make(self, number: int) -> int:
        """Make one part: shards first, marker last."""
        start, stop = self.plan.rows(number)
        made = self.builder.rows(start, stop, self.state)
        records = {}
        for spec in self.plan.arrays:
            if spec.name not in made:
                raise ValueError(f"builder {self.plan.builder}: rows() has not made array {spec.name}")
            check_rows(spec, made[spec.name], stop - start)
            record = write_shard(self.out / spec.name, number, made[spec.name], spec, self.plan.grid(spec))
            records[spec.name] = record.to_json()
        write_json(_marker(self.out, number), {"part": number, "rows": [start, stop], "arrays": records})
        return number


def _in_process(out: Path, plan: StoredPlan, todo: list[int]) -> Iterator[int]:
    if todo:
        worker = _Worker(out, plan.builder)
        yield from map(worker.make, todo)


_worker: _Worker | None = None


def _start(out: Path, target: str) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: leave without a traceback
    _worker = _Worker(out, target)


def _make(number: int) -> int:
    if _worker is None:
        raise RuntimeError("the pool has not been initialised")
    return _worker.make(number)


def _in_pool(out: Path, plan: StoredPlan, todo: list[int], workers: int) -> Iterator[int]:
    # spawn: neither HDF5 readers nor torch survive a fork.
    pool = ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), _start, (out, plan.builder))
    try:
        futures: list[Future[int]] = [pool.submit(_make, number) for number in todo]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        hint = "often too little memory: use fewer workers; the same command goes on where it stopped"
        raise WfmError("a worker process of the build died", hint) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def status(out: Path) -> Status:
    """How far the build in `out` has come.

    Raises:
        StoreError: `out` is no build and no store.
    """
    if is_complete(out):
        wfm = read_group(out)
        return Status(wfm["samples"], wfm["parts"], wfm["parts"], (), True, wfm["bytes"])
    plan = read_plan(out)
    missing = tuple(number for number in range(plan.parts) if not _marker(out, number).exists())
    size = plan.samples * sum(spec.row_bytes for spec in (*plan.arrays, *plan.columns))
    return Status(plan.samples, plan.parts, plan.parts - len(missing), missing, False, size)


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
                raise StoreError(f"{shard}: has vanished", f"remove {_marker(out, number)} and load again")
    complete(out, plan, [_marker(out, number) for number in range(plan.parts)])


def run(recipe: PrepareRecipe, out: Path, workers: int = 1, progress: bool = True) -> None:
    """Build a store from beginning to end, or go on with the same build after it was interrupted.

    Raises:
        StoreError: `out` holds something else, or a build of another recipe or of inputs that have changed since.
        InputError, WfmError: see `init` and `load`.
    """
    if not _same_build(recipe, out):
        _refuse_used(out)
        plan = _plan(recipe)
        _init(make_plan(recipe, plan), plan, out)
    load(out, workers=workers, progress=progress)
    finalise(out)


def _same_build(recipe: PrepareRecipe, out: Path) -> bool:
    """Whether `out` holds an unfinished build, which must then be the very same one."""
    if not (out / BUILD / "plan.json").is_file():
        return False
    old = read_plan(out).identity
    hint = "choose another --out, or remove the folder to build anew"
    new_recipe = recipe.model_dump(mode="json", exclude={"name", "description"})
    if differ := list(differences(old["recipe"], new_recipe)):
        raise StoreError(f"{out}: holds an unfinished build of another recipe: {'; '.join(differ[:3])}", hint)
    new = make_plan(recipe, _plan(recipe)).identity
    if differ := list(differences(old, json.loads(canonical(new)))):
        raise StoreError(f"{out}: the input has changed since this build began: {'; '.join(differ[:3])}", hint)
    return True
