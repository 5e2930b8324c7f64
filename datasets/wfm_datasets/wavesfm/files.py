"""Finding the raw files of a task below what the user named, in an order that does not depend on the machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import SourceFolder


@dataclass(frozen=True)
class RawFile:
    """One file and what the user called it."""

    path: Path
    """Where it lies."""
    label: str
    """The user's own path to it, for provenance."""

    def record(self) -> dict[str, Any]:
        """Path, size and SHA-256.

        Raises:
            InputError: the file is a Git LFS pointer or cannot be read.
        """
        folder = self.label.rpartition("/")[0] or "."
        return SourceFolder(self.path.parent, folder).record(self.path)


def find(paths: Sequence[str], suffixes: tuple[str, ...], layout: str) -> list[RawFile]:
    """Every file with one of the suffixes, in natural order (`a2` before `a10`).

    Args:
        paths: Files, or folders that are searched to the bottom.
        suffixes: Lower-case suffixes such as `.mat`.
        layout: What is expected, in words for the error.

    Raises:
        InputError: a path does not exist, or there is no such file below it.
    """
    found: dict[Path, RawFile] = {}
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise InputError(f"{text}: does not exist", f"expected {layout}")
        inside = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file() and p.name[0] != "."]
        mine = [p for p in inside if p.suffix.lower() in suffixes]
        if not mine:
            raise InputError(
                f"{text}: holds no {' or '.join(suffixes)} file ({_contents(inside)})", f"expected {layout}"
            )
        for file in mine:
            inner = "" if file == path else f"/{file.relative_to(path).as_posix()}"
            found.setdefault(file.absolute(), RawFile(file, text.rstrip("/") + inner))
    return sorted(found.values(), key=lambda raw: natural(raw.label))


def _contents(inside: Sequence[Path]) -> str:
    counts = Counter(path.suffix.lower() or "suffixless" for path in inside)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(4))
    return f"it holds {kinds}" if kinds else "it is empty"


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sorting key under which `a2` comes before `a10`."""
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", text)]


def names(files: Sequence[RawFile]) -> NDArray[np.str_]:
    """The paths as an array, for a builder's state."""
    return np.array([str(file.path) for file in files])


def overlaps(first: NDArray[np.integer], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The pieces that rows [start, stop) touch: number of the piece, and rows [low, high) counted from its own first.

    Args:
        first: First row of every piece, and the end of the last (pieces + 1,).
        start: First row.
        stop: Row behind the last.
    """
    for number in range(int(np.searchsorted(first, start, "right")) - 1, len(first) - 1):
        begin, end = int(first[number]), int(first[number + 1])
        if begin >= stop:
            return
        if begin < end:
            yield number, max(start, begin) - begin, min(stop, end) - begin


def number_of(values: Sequence[Any], key: Callable[[Any], Any] | None = None) -> tuple[NDArray[np.int64], list[Any]]:
    """Numbers 0, 1 ... for the distinct values in sorted order, and these values."""
    distinct = sorted(set(values), key=key)
    rank = {value: number for number, value in enumerate(distinct)}
    return np.array([rank[value] for value in values], np.int64), distinct


def refuse_unfinite(path: Path | str, field: str, values: NDArray[Any]) -> None:
    """Refuse values that are NaN or infinite.

    Raises:
        InputError: names the file and the field.
    """
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(f"{path}: {field} holds NaN or infinity ({bad} such values)", "download or record it again")
