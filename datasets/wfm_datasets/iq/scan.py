"""From what a user names to recordings, and an account of every file on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wfm_datasets.iq.recording import Recording


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about files that do not say it themselves. None and "auto" leave it to the files."""

    dtype: str | None = None
    """Type of headerless samples, any alias of `datatypes.canonical`."""
    rate: float | None = None
    """Samples per second, Hz; wins over what the files say."""
    freq: float | None = None
    """Centre frequency, Hz; wins over what the files say."""
    order: Literal["auto", "iq", "qi"] = "auto"
    """Order of the two parts in headerless files."""
    skip_bytes: int | None = None
    """Header of headerless files, bytes."""
    layout: Literal["auto", "samples", "parts_first", "parts_last"] = "auto"
    """Where I and Q lie in real arrays of .npy, .npz and MATLAB files: (N, 2, L) `parts_first`, (N, L, 2)."""
    variable: str | None = None
    """Variable of .npz, MATLAB and HDF5 files that hold several."""
    label: str = "auto"
    """`auto`: what the files say, else the folder; `folder`; `none`; `name:REGEX` with one group; `csv:FILE` with
    columns file,label; or the name of a field."""
    checksum: bool = True
    """Compare SigMF's sha512 with the data."""


COMPANION = "read together with its companion"
"""Reason of a file that is skipped because another one stands for both."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: str
    status: Literal["used", "skipped", "failed"]
    """`skipped`: no recording and not meant to be one (a README, the metadata of a pair); `failed`: meant and bad."""
    reason: str = ""
    """Why, one line; for failed files with the remedy."""
    recordings: tuple[str, ...] = ()
    bytes: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True)
class Scan:
    """All recordings below the inputs, sorted by name, and one outcome for every file."""

    recordings: tuple[Recording, ...]
    outcomes: tuple[Outcome, ...] = field(default=())

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Files that should have been recordings and could not be read."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    def paths(self) -> tuple[Path, ...]:
        """Every file that samples are read from, each once."""
        return tuple(dict.fromkeys(recording.path for recording in self.recordings))


def scan(inputs: Sequence[str], options: ReadOptions) -> Scan:
    """Look at every file below the inputs (files, folders, globs).

    Raises:
        InputError: an input does not exist, or there is no file at all.
    """
    from wfm_datasets.iq.find import find_recordings

    return find_recordings(inputs, options)
