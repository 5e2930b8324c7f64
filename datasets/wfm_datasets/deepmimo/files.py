"""Input files: what is remembered of them, and the damage that every reader has to expect."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError

_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class SourceFolder:
    """A scenario folder and the name under which its files are recorded."""

    path: Path
    """Where it lies."""
    label: str
    """What the user called it: a path, or `embedded:NAME`."""

    @property
    def name(self) -> str:
        """The scenario's name: the last part of the path as the user gave it (links are not followed)."""
        return Path(os.path.abspath(self.path)).name

    def record(self, file: Path) -> dict[str, Any]:
        """Path, size and SHA-256 of one file, for the store's provenance.

        Raises:
            InputError: the file is a Git LFS pointer or cannot be read.
        """
        try:
            with file.open("rb") as stream:
                if stream.read(len(_LFS)) == _LFS:
                    raise InputError(
                        f"{file}: a Git LFS pointer lies in place of the data",
                        "fetch the real file (git lfs pull), or download the scenario again",
                    )
                stream.seek(0)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
        except OSError as error:
            raise InputError(
                f"{file}: cannot be read ({error.strerror})", "check the path and its permissions"
            ) from error
        return {"path": f"{self.label.rstrip('/')}/{file.name}", "bytes": size, "sha256": digest}


def damaged(file: Path, reason: object) -> InputError:
    """The error for a file whose content cannot be decoded."""
    words = " ".join(str(reason).split())
    return InputError(f"{file}: damaged or truncated ({words})", "copy or download this file again")


def refuse_unfinite(file: Path, field: str, values: NDArray[Any], user: NDArray[np.integer]) -> None:
    """Refuse a value that is NaN or infinite.

    Args:
        file: Where the values come from.
        field: What they are.
        values: The values, (n,).
        user: Index of the user that each value belongs to, counted from 0 in the scenario, (n,).

    Raises:
        InputError: names the file, the field and the first user concerned.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"{file}: field '{field}' of user {int(user[bad[0]])} is {float(values[bad[0]])} "
            f"({len(bad)} such values in this file)",
            "trace or convert the scenario again; a path has a finite value in every field",
        )


def refuse_outside(
    file: Path, field: str, values: NDArray[Any], user: NDArray[np.integer], low: float, high: float, meaning: str
) -> None:
    """Refuse a finite value that its meaning rules out; arguments as in `refuse_unfinite`.

    Raises:
        InputError: names the file, the field, the first user concerned and what was expected.
    """
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        raise InputError(
            f"{file}: field '{field}' of user {int(user[bad[0]])} is {float(values[bad[0]]):.6g}, outside "
            f"{low:g} to {high:g}",
            meaning,
        )
