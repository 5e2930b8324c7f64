"""Folders of files that are made here: begun by a manifest, gone on with, and closed by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfm_cli.errors import InputError


def begun(out: Path, manifest: str, sha256: str, other: str, kind: str) -> Mapping[str, Any] | None:
    """The manifest of a folder that was begun with the same recipe; None where there is nothing yet.

    Args:
        out: The folder.
        manifest: Name of its manifest.
        sha256: Identifies what is to be made.
        other: What the folder holds if that is something else.
        kind: What the files are.

    Raises:
        InputError: the folder holds something else.
    """
    path = out / manifest
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: exists and is not a folder of {kind}", "give a new or empty folder")
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        same, _ = known["sha256"] == sha256, known["complete"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error})", "remove the folder, or give another one") from error
    if not same:
        raise InputError(f"{out}: holds {other}", "give another folder, or remove this one")
    return dict(known)
