"""What the inputs hold: readable recordings, their windows, and an account of every file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_cli.core.signal.stft import STFT
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, open_windows
from wfm_datasets.iq.scan import COMPANION, Outcome, ReadOptions, Scan, scan
from wfm_datasets.spectrogram.windows import Cuts, cut

WHOLE_BYTES = 1 << 30
"""Files up to this size are read once while planning: checksum, and a search for NaN and infinity."""
_READ_SAMPLES = 1 << 20


class BadFiles(InputError):
    """Some files cannot be used; `report` has a line for every file."""

    def __init__(self, message: str, hint: str, report: list[dict[str, Any]]) -> None:
        super().__init__(message, hint)
        self.report = report


@dataclass(frozen=True)
class Survey:
    """The recordings that give windows, and where every window lies."""

    recordings: tuple[Recording, ...]
    cuts: Cuts
    report: list[dict[str, Any]]
    """One entry for every file: path, status, reason, bytes ... (see `_account`)."""
    counts: dict[str, int]
    """Files used, skipped and failed, recordings, windows, samples that lie in no window ..."""
    notes: list[str]


def read_options(source: SpectrogramSource) -> ReadOptions:
    """What the recipe says about headerless files."""
    names = ("dtype", "rate", "freq", "order", "skip_bytes", "layout", "variable", "label", "checksum")
    return ReadOptions(**{name: getattr(source, name) for name in names})


def survey(source: SpectrogramSource, stft: STFT) -> Survey:
    """Scan the inputs, cut windows and account for every file.

    Raises:
        BadFiles: a file cannot be read and `skip_bad` is off, or no file gives a window.
        InputError: see `scan`; recordings differ in their number of channels and are to be kept together.
    """
    found = _without_unfinite(scan(source.inputs, read_options(source)))
    cuts = cut(found.recordings, source, stft.samples)
    outcomes = [outcome for outcome in found.outcomes if outcome.reason != COMPANION]
    report = [_account(outcome, found.recordings, cuts, stft.samples) for outcome in outcomes]
    _refuse(report, found, cuts, source, stft)
    used = cuts.counts() > 0
    kept = tuple(r for r, use in zip(found.recordings, used, strict=True) if use)
    if source.channels == "joint" and len({recording.channels for recording in kept}) > 1:
        some = {recording.channels: recording.name for recording in kept}
        raise InputError(
            "channels: recordings have " + " and ".join(f"{n} ({name})" for n, name in sorted(some.items())),
            "use channels: separate, or give only recordings with the same number",
        )
    status = Counter(entry["status"] for entry in report)
    counts = {
        "files_used": status["used"],
        "files_skipped": status["skipped"],
        "files_failed": status["failed"],
        "files_beside": len(found.outcomes) - len(outcomes),
        "recordings": len(kept),
        "recordings_without_window": int((~used).sum()),
        "windows": len(cuts),
        "samples_in_no_window": int(cuts.unused.sum()),
        "annotations_shorter_than_a_window": int(cuts.short.sum()),
        "bytes_dropped": sum(entry["dropped_bytes"] for entry in report),
    }
    number = np.cumsum(used) - 1
    renumbered = replace(
        cuts, recording=number[cuts.recording].astype(np.int32), unused=cuts.unused[used], short=cuts.short[used]
    )
    return Survey(kept, renumbered, report, counts, list(_notes(counts, stft.samples)))


def _without_unfinite(found: Scan) -> Scan:
    """Recordings of floating point are read once; those with NaN or infinity fail like unreadable files."""
    bad: dict[str, str] = {}
    for recording in found.recordings:
        if "f" in recording.datatype[:2] and _size(recording.path) <= WHOLE_BYTES:
            try:
                for _ in _blocks(recording):
                    pass
            except InputError as error:
                bad[recording.name] = error.message.removeprefix(f"{recording.path}: ")
    if not bad:
        return found
    outcomes = []
    for outcome in found.outcomes:
        mine = [name for name in outcome.recordings if name in bad]
        if mine and len(mine) == len(outcome.recordings):
            outcome = replace(outcome, status="failed", reason=bad[mine[0]], recordings=())
        elif mine:
            outcome = replace(
                outcome, status="failed", reason=f"{mine[0]}: {bad[mine[0]]}",
                recordings=tuple(name for name in outcome.recordings if name not in bad),
            )  # fmt: skip
        outcomes.append(outcome)
    return Scan(tuple(r for r in found.recordings if r.name not in bad), tuple(outcomes))


def _blocks(recording: Recording) -> Iterator[Any]:
    """All samples, a bounded number at a time."""
    reader = open_windows(recording)
    length = min(recording.samples, _READ_SAMPLES)
    if not length:
        return
    together = max(1, _READ_SAMPLES // (length * recording.channels))
    for start in range(0, recording.samples, length):
        size = min(length, recording.samples - start)
        for first in range(0, recording.examples, together):
            examples = np.arange(first, min(first + together, recording.examples), dtype=np.int64)
            yield reader(examples, np.full(len(examples), start, np.int64), size)


def _account(outcome: Outcome, recordings: Sequence[Recording], cuts: Cuts, length: int) -> dict[str, Any]:
    """An outcome as JSON, with the number of windows, and what the recordings of a file are and why one believes so."""
    mine = [(n, r) for n, r in enumerate(recordings) if r.name in set(outcome.recordings)]
    rows = cuts.counts()
    entry: dict[str, Any] = {
        "path": outcome.path,
        "status": outcome.status,
        "reason": outcome.reason,
        "bytes": outcome.bytes,
        "dropped_bytes": outcome.dropped_bytes,
        "recordings": len(mine),
        "windows": int(sum(rows[n] for n, _ in mine)),
        "samples_in_no_window": int(sum(cuts.unused[n] for n, _ in mine)),
    }
    if outcome.status == "used" and not entry["windows"]:
        entry |= {"status": "skipped", "reason": _why_none([r for _, r in mine], length)}
    if mine:
        first = mine[0][1]
        entry |= {
            "format": first.format,
            "datatype": first.datatype,
            "sample_rate": first.sample_rate,
            "center_frequency": first.center_frequency,
            "label": first.label,
            "origin": dict(first.origin),
            "notes": list(dict.fromkeys(note for _, r in mine for note in r.notes)),
        }
    return entry


def _why_none(recordings: Sequence[Recording], length: int) -> str:
    longest = max((recording.samples for recording in recordings), default=0)
    if longest < length:
        return f"shorter than a window ({longest:,} of {length:,} samples)"
    if all(not recording.annotations for recording in recordings):
        return "no annotation to cut windows from"
    return f"no annotation holds a window of {length:,} samples"


def _refuse(report: list[dict[str, Any]], found: Scan, cuts: Cuts, source: SpectrogramSource, stft: STFT) -> None:
    failed = [entry for entry in report if entry["status"] == "failed"]
    if failed and not source.skip_bad:
        first, more = failed[0], len(failed) - 1
        others = f" (and {more} more file{'s' * (more > 1)})" if more else ""
        raise BadFiles(
            f"{first['path']}: {first['reason']}{others}",
            "repair or remove it, or leave such files out with --skip-bad (source.skip_bad=true)", report,
        )  # fmt: skip
    if len(cuts):
        return
    longest = max((r.samples for r in found.recordings), default=0)
    if not found.recordings:
        reasons = Counter(str(entry["reason"]) for entry in report).most_common(1)
        why = f" ({reasons[0][0]})" if reasons else ""
        raise BadFiles(f"{', '.join(source.inputs)}: no recording could be read{why}", "see the table of files", report)
    if longest >= stft.samples:
        raise BadFiles(
            f"windows: no annotation holds a window of {stft.samples:,} samples",
            "use windows: recording, or a smaller nfft, hop or number of frames", report,
        )  # fmt: skip
    raise BadFiles(
        f"windows: every recording is shorter than a window of {stft.samples:,} samples (longest: {longest:,})",
        "use a smaller nfft, hop or number of frames (nfft + (frames - 1) hop samples make a window)", report,
    )  # fmt: skip


def _notes(counts: dict[str, int], length: int) -> Iterator[str]:
    short, without, failed = (
        counts[name] for name in ("annotations_shorter_than_a_window", "recordings_without_window", "files_failed")
    )
    if short:
        yield f"annotations shorter than a window of {length:,} samples: {short:,}, which give none"
    if without:
        yield f"recordings without a window of {length:,} samples: {without:,}"
    if failed:
        yield f"files that could not be read and are left out: {failed:,}"


def source_records(recordings: Sequence[Recording]) -> tuple[dict[str, Any], ...]:
    """Every file that samples are read from: path, bytes and SHA-256, or the time of change beyond 1 GiB.

    Raises:
        InputError: a file has gone.
    """
    return tuple(_record(path) for path in dict.fromkeys(recording.path for recording in recordings))


def _record(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        entry: dict[str, Any] = {"path": str(path), "bytes": status.st_size}
        if status.st_size > WHOLE_BYTES:
            return entry | {"mtime_ns": status.st_mtime_ns, "sha256": None}
        with path.open("rb") as stream:
            return entry | {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
