"""Which files of a scenario are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_datasets.deepsense.index import Index

LARGE = ("image", "radar", "lidar")
"""Sensors whose files are read frame by frame while the store is built."""


def present(source: DeepSenseSource, indices: Sequence[Index]) -> tuple[str, ...]:
    """Large sensors that every scenario has: a column, and at least one file of a kind that is read."""
    kept = []
    for key in LARGE:
        if key in source.modalities and all(
            any(exists(index.folder, row.files.get(key, ())) for row in index.rows)
            and not (key == "lidar" and index.rows[0].files.get(key, ("",))[0].endswith(".mat"))
            for index in indices
        ):
            kept.append(key)
    return tuple(kept)


def exists(folder: Path, names: Sequence[str]) -> bool:
    """Whether all files are there (and there is one at all)."""
    return bool(names) and all(Path(name).name in listed(folder / Path(name).parent) for name in names)


@cache
def listed(folder: Path) -> frozenset[str]:
    """Names in a folder; one look instead of one per frame."""
    try:
        return frozenset(entry.name for entry in os.scandir(folder))
    except OSError:
        return frozenset()


def missing(index: Index, keys: Sequence[str]) -> dict[int, str]:
    """Rows that lack a file, and the first file that each of them lacks."""
    found = {}
    for number, row in enumerate(index.rows):
        for key in keys:
            names = row.files.get(key, ())
            if names and not exists(index.folder, names):
                found[number] = next(name for name in names if not exists(index.folder, [name]))
            elif not names and not index.partial:
                found[number] = f"(no {key} is named)"
            if number in found:
                break
    return found
