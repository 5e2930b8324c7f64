"""Scenario folders of a recipe: begun, gone on with where they were stopped, and closed with their indices."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.progress import progress as report
from wfm_cli.core.provenance import versions
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.street import StreetRecipe
from wfm_cli.core.store.files import atomic_file, canonical, write_all, write_json
from wfm_cli.core.store.pool import run_all
from wfm_datasets.made import begun
from wfm_datasets.street.layouts import FOLDERS, WRITERS, Shot, index_name, write_station
from wfm_datasets.street.scene import STREETS, drive, to_json

MANIFEST = "street.json"
WORK = ".street"
"""Folder of the rows of finished passes, until the indices are written."""
_MIDNIGHT_S = 86_400.0


@dataclass(frozen=True)
class Job:
    """One pass of a vehicle."""

    scenario: str
    sequence: int
    """From 1."""
    frames: int
    first: int
    """Number of its first frame in file names."""

    @property
    def key(self) -> str:
        """Name of its file of rows."""
        return f"scenario{self.scenario}-{self.sequence:05d}.json"


def plan(recipe: StreetRecipe) -> list[Job]:
    """All passes, with the numbers of their frames."""
    jobs = []
    for scenario in recipe.scenarios:
        rng = np.random.default_rng([recipe.seed, int(scenario), 0])
        first = 0 if scenario == "9" else 1
        for sequence in range(1, recipe.sequences + 1):
            frames = int(rng.integers(recipe.frames[0], recipe.frames[1] + 1))
            jobs.append(Job(scenario, sequence, frames, first))
            first += frames + (int(rng.integers(0, 9)) if recipe.defects else 0)
    return jobs


def build(
    recipe: StreetRecipe, out: Path, *, workers: int = 1, dry_run: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Write every scenario of a recipe into a folder of its own below `out`.

    The files depend on the recipe and its seed alone, not on `workers` or on interruptions.

    Returns:
        `path`, and per scenario `frames`, `sequences`, `index`.

    Raises:
        InputError: `out` holds something else.
        WfmError: a process died, or the disk is full.
    """
    jobs = plan(recipe)
    summary = _summary(recipe, out, jobs)
    if dry_run:
        return summary
    if _begin(recipe, out):
        todo = [job for job in jobs if not (out / WORK / job.key).is_file()]
        running = run_all(partial(_writer, recipe, out), todo, workers)
        for _ in report(running, total=len(todo), unit="drive", label="street", enabled=progress):
            pass
        _close(recipe, out, jobs)
    return summary


def _begin(recipe: StreetRecipe, out: Path) -> bool:
    """Check or begin the folder; whether anything is left to do."""
    digest = sha256(canonical({**to_dict(recipe), "name": "", "description": ""})).hexdigest()
    known = begun(out, MANIFEST, digest, "the street of another recipe or seed", "streets")
    if known is not None:
        return not known["complete"]
    (out / WORK).mkdir(parents=True)
    for scenario in recipe.scenarios:
        folder = out / f"scenario{scenario}"
        for name in FOLDERS[WRITERS[scenario]]:
            (folder / name).mkdir(parents=True)
        write_station(folder, scenario, STREETS[scenario])
    _write_manifest(recipe, out, digest, complete=False)
    return True


def _write_manifest(recipe: StreetRecipe, out: Path, digest: str, *, complete: bool) -> None:
    write_json(
        out / MANIFEST,
        {
            "made_by": "wfm prepare street", "complete": complete, "sha256": digest, "recipe": to_dict(recipe),
            "streets": {scenario: to_json(STREETS[scenario]) for scenario in recipe.scenarios}, "versions": versions(),
        },
    )  # fmt: skip


def _summary(recipe: StreetRecipe, out: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    scenarios = {}
    for scenario in recipe.scenarios:
        own = [job for job in jobs if job.scenario == scenario]
        index = out / f"scenario{scenario}" / index_name(scenario)
        scenarios[scenario] = {"sequences": len(own), "frames": sum(job.frames for job in own), "index": str(index)}
    return {"path": str(out), "scenarios": scenarios}


def _writer(recipe: StreetRecipe, out: Path) -> Callable[[Job], None]:
    return partial(write_pass, recipe, out)


def write_pass(recipe: StreetRecipe, out: Path, job: Job) -> None:
    """All frames of one pass; its rows are written last and mark it as done."""
    street, writer = STREETS[job.scenario], WRITERS[job.scenario]
    rng = np.random.default_rng([recipe.seed, int(job.scenario), job.sequence])
    begin = (36_000.0 + 97.0 * job.sequence) % _MIDNIGHT_S
    track = drive(street, job.frames, begin, rng, recipe.defects)
    if recipe.defects and job.frames > 4 and job.sequence % 3 == 0:
        track.time_s[2] = track.time_s[1]  # a stamp given twice
    fading = 1.5 * np.cumsum(rng.normal(0, 0.3, job.frames)) / 3
    rows = []
    for frame in range(job.frames):
        odd = recipe.defects
        shot = Shot(
            number=job.first + frame,
            sequence=job.sequence,
            frame=frame,
            interpolated=bool(odd and rng.random() < 0.08),
            broken_beams=int(rng.integers(1, 10)) if odd and rng.random() < 0.01 else 0,
            fading_db=float(fading[frame]),
        )
        rows.append(writer(out / f"scenario{job.scenario}", street, track, shot, recipe, rng))
    write_json(out / WORK / job.key, {"rows": rows})


def _close(recipe: StreetRecipe, out: Path, jobs: Sequence[Job]) -> None:
    """Join the rows into the indices, then say that the folder is whole."""
    for scenario in recipe.scenarios:
        rows = [
            row
            for job in jobs
            if job.scenario == scenario
            for row in json.loads((out / WORK / job.key).read_text(encoding="utf-8"))["rows"]
        ]
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        with atomic_file(out / f"scenario{scenario}" / index_name(scenario)) as descriptor:
            write_all(descriptor, text.getvalue().encode())
    digest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    _write_manifest(recipe, out, digest, complete=True)
    shutil.rmtree(out / WORK, ignore_errors=True)
