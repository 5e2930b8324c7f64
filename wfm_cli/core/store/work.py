"""Makes parts: shards first, then the marker that says that they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from wfm_cli.core.store.build import Builder, check_rows, import_builder
from wfm_cli.core.store.files import write_json
from wfm_cli.core.store.plan import BUILD, read_plan, source_of
from wfm_cli.core.store.pool import run_all
from wfm_cli.core.store.writer import write_shard


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


def make_parts(out: Path, target: str, todo: Sequence[int], workers: int) -> Iterator[int]:
    """Make parts with the builder `target` in so many processes; yields their numbers as they are done."""
    return run_all(partial(_maker, out, target), todo, workers)


def _maker(out: Path, target: str) -> Callable[[int], int]:
    return _Worker(out, target).make
