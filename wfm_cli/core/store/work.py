"""Makes parts: in this process or in a pool, always by the same function."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from wfm_cli.core.store.build import Builder, check_rows, import_builder
from wfm_cli.core.store.files import write_json
from wfm_cli.core.store.plan import BUILD, read_plan, source_of
from wfm_cli.core.store.writer import write_shard
from wfm_cli.errors import WfmError


def marker(out: Path, number: int) -> Path:
    """File that says that a part is done."""
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
        write_json(marker(self.out, number), {"part": number, "rows": [start, stop], "arrays": records})
        return number


def in_process(out: Path, target: str, todo: list[int]) -> Iterator[int]:
    """Make parts one after another with the builder `target`; yields their numbers."""
    if todo:
        worker = _Worker(out, target)
        yield from map(worker.make, todo)


_worker: _Worker | Exception | None = None


def _start(out: Path, target: str) -> None:
    global _worker
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: leave without a traceback
    try:
        _worker = _Worker(out, target)
    except Exception as error:  # raised again where the parent can see it
        _worker = error


def _make(number: int) -> int:
    if isinstance(_worker, _Worker):
        return _worker.make(number)
    raise _worker or RuntimeError("the pool has not been initialised")


def in_pool(out: Path, target: str, todo: list[int], workers: int) -> Iterator[int]:
    """Make parts in so many processes; yields their numbers as they are done."""
    # spawn: neither HDF5 readers nor torch survive a fork.
    pool = ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn"), _start, (out, target))
    try:
        futures: list[Future[int]] = [pool.submit(_make, number) for number in todo]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        hint = "often too little memory: use fewer workers; the same command goes on where it stopped"
        raise WfmError("a worker process of the build died", hint) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
