"""A folder of recordings: begun, gone on with where it was stopped, and closed with a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wfm_cli.core.progress import progress as report
from wfm_cli.core.provenance import versions
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_cli.core.store.files import write_json
from wfm_cli.core.store.pool import run_all
from wfm_datasets.iq.write import write_sigmf
from wfm_datasets.made import begun
from wfm_datasets.waveforms.make import Journey, make, travel
from wfm_datasets.waveforms.plan import BYTES, Item, Plan, plan

MANIFEST = "waveforms.json"
"""Name of the file that says what a folder holds."""
Job = tuple[Item, Journey]
_SHARE = 8
"""Recordings that a process makes before it reports."""


@dataclass(frozen=True)
class Summary:
    """What a folder holds, or would hold."""

    path: str
    recordings: int
    made: int
    """Recordings made by this call; the others were there."""
    samples: int
    """Samples of a recording."""
    seconds: float
    """Length of a recording."""
    sample_rate_hz: float
    bytes: int
    """Size of all samples."""
    limited: int
    """Recordings made by this call whose gain was lowered so that no peak is clipped."""
    counts: dict[str, dict[str, int]]


def build(
    recipe: WaveformsRecipe, out: Path, *, workers: int = 1, dry_run: bool = False, progress: bool = True
) -> Summary:
    """Make all recordings of a recipe that are not in the folder yet.

    The bytes of every recording depend on the recipe and its seed alone, not on `workers` or on interruptions.

    Args:
        recipe: What is made.
        out: Folder; empty, absent, or begun with the same recipe.
        workers: Processes.
        dry_run: Count only; nothing is written.
        progress: Report on stderr.

    Raises:
        InputError: the recipe cannot be carried out, or the folder holds something else.
        WfmError: a process died, or the disk is full.
    """
    planned = plan(recipe)
    if dry_run:
        return _summary(planned, out, 0, 0)
    todo = _begin(planned, out)
    jobs = [(item, travel(item, recipe, planned.users)) for item in todo]
    running = run_all(partial(_writer, recipe, out), jobs, workers, share=_SHARE)
    limited = sum(report(running, total=len(todo), unit="recording", label="waveforms", enabled=progress))
    summary = _summary(planned, out, len(todo), limited)
    _write_manifest(planned, out, complete=True)
    return summary


def _begin(planned: Plan, out: Path) -> list[Item]:
    """Check or begin the folder; what is left to make."""
    other = "the waveforms of another recipe, seed or scenario"
    known = begun(out, MANIFEST, planned.sha256, other, "waveforms")
    for folder in {(out / item.name).parent for item in planned.items}:
        folder.mkdir(parents=True, exist_ok=True)
    if known is None:
        _write_manifest(planned, out, complete=False)
    size = planned.samples * BYTES[planned.recipe.datatype]
    return [item for item in planned.items if not _is_there(out / item.name, size)]


def _is_there(stem: Path, size: int) -> bool:
    """Metadata are written last: with them and data of the right size, a recording is complete."""
    data = Path(f"{stem}.sigmf-data")
    return Path(f"{stem}.sigmf-meta").is_file() and data.is_file() and data.stat().st_size == size


def _write_manifest(planned: Plan, out: Path, *, complete: bool) -> None:
    recipe = planned.recipe
    write_json(
        out / MANIFEST,
        {
            "made_by": "wfm prepare waveforms",
            "complete": complete,
            "sha256": planned.sha256,
            "recipe": to_dict(recipe),
            "recordings": len(planned.items),
            "samples": planned.samples,
            "seconds": recipe.duration_ms / 1e3,
            "sample_rate_hz": recipe.receiver.rate_khz * 1e3,
            "bytes": planned.bytes,
            "counts": planned.counts(),
            "sources": planned.sources,
            "versions": versions(),
        },
    )


def _summary(planned: Plan, out: Path, made: int, limited: int) -> Summary:
    recipe = planned.recipe
    return Summary(
        path=str(out),
        recordings=len(planned.items),
        made=made,
        samples=planned.samples,
        seconds=recipe.duration_ms / 1e3,
        sample_rate_hz=recipe.receiver.rate_khz * 1e3,
        bytes=planned.bytes,
        limited=limited,
        counts=planned.counts(),
    )


def as_dict(summary: Summary) -> dict[str, Any]:
    """JSON form."""
    return asdict(summary)


def _writer(recipe: WaveformsRecipe, out: Path) -> Callable[[Job], bool]:
    return partial(_write, recipe, out)


def _write(recipe: WaveformsRecipe, out: Path, job: Job) -> bool:
    """Make and write one recording; whether its gain had to be lowered."""
    item, journey = job
    made = make(item, recipe, journey)
    write_sigmf(
        out / item.name,
        made.received.samples,
        recipe.datatype,
        sample_rate=recipe.receiver.rate_khz * 1e3,
        center_frequency=made.center_frequency,
        annotations=(made.annotation,),
    )
    return made.received.limited
