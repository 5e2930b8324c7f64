"""Tells stores and runs apart."""

from __future__ import annotations

from pathlib import Path

from wfm_cli.core.store.files import read_json
from wfm_cli.errors import InputError


def is_run(path: Path) -> bool:
    """Whether `path` is a run (else it is a store).

    Raises:
        InputError: It is neither.
    """
    hint = "give the folder that wfm prepare, pretrain, probe, benchmark or import wrote"
    if not path.exists():
        raise InputError(f"{path}: does not exist", hint)
    if not path.is_dir():
        raise InputError(f"{path}: is a file; stores and runs are folders", hint)
    if not (path / "zarr.json").is_file():
        inside = sorted(entry.name for entry in path.iterdir() if (entry / "zarr.json").is_file())
        named = f"inside it: {', '.join(inside[:5])}" if inside else hint
        raise InputError(f"{path}: is neither a store nor a run of wfm (it has no zarr.json)", named)
    attributes = read_json(path / "zarr.json").get("attributes")
    if isinstance(attributes, dict) and "wfm_run" in attributes:
        return True
    if isinstance(attributes, dict) and "wfm" in attributes:
        return False
    raise InputError(f"{path}: is a Zarr folder, but neither a store nor a run of wfm", hint)


def make_folder(out: Path) -> Path:
    """The folder `out`, made if needed.

    Raises:
        InputError: A file is in its place.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file", "name a folder for the pictures")
    out.mkdir(parents=True, exist_ok=True)
    return out
