"""Checkpoints of a run: whole or absent, newest and best kept.

    checkpoints/step_00000500/
      zarr.json          attributes {"state": {...}}: step, best step and loss, refused steps, seconds
      model/             parameters and buffers of the objective (a target encoder is part of it)
      optimizer/         moments and step counters by parameter

Random states are not kept: dropout, masks and data order are pure functions of (seed, step, rank or sample id).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from wfm_cli.core.store.curves import EMPTY_GROUP, replace_bytes
from wfm_cli.core.store.run import load_tensors, replacing, save_tensors
from wfm_cli.errors import StoreError, WfmError

NAME = re.compile(r"step_(\d{8})")


@dataclass
class State:
    """Where a training stands."""

    step: int = 0
    """Finished steps."""
    best_step: int = 0
    """Step of the lowest validation loss; 0 before the first validation."""
    best_loss: float | None = None
    """The lowest validation loss."""
    refused: int = 0
    """Refused steps in all."""
    refused_in_row: int = 0
    """Refused steps since the last one that was taken."""
    seconds: float = 0.0
    """Time spent, over all starts of the command."""


@dataclass(frozen=True)
class Checkpoint:
    """A training at one step."""

    state: State
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a full or failing disk an error that a person can read.

    Raises:
        WfmError: The block raised `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise WfmError(
            f"{path}: cannot be written ({error.strerror or error})",
            "free some space and continue with --resume; earlier checkpoints are whole",
        ) from None


class Checkpoints:
    """The folder `checkpoints` of a run."""

    def __init__(self, run: Path) -> None:
        self.path = run / "checkpoints"

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, ascending."""
        if not self.path.is_dir():
            return []
        found = [(NAME.fullmatch(item.name), item) for item in self.path.iterdir()]
        return sorted(int(match[1]) for match, item in found if match and (item / "zarr.json").is_file())

    def folder(self, step: int) -> Path:
        """Folder of `step`."""
        return self.path / f"step_{step:08d}"

    def save(self, state: State, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Write a checkpoint beside its place, force it to the disk, and rename it.

        Raises:
            WfmError: It cannot be written; earlier checkpoints are whole.
        """
        target = self.folder(state.step)
        with writing(target), replacing(target) as folder:
            folder.mkdir()
            document = {"zarr_format": 3, "node_type": "group", "attributes": {"state": asdict(state)}}
            (folder / "zarr.json").write_text(json.dumps(document, indent=1, allow_nan=False))
            save_tensors(folder / "model", model)
            save_tensors(folder / "optimizer", optimizer)
            _sync(folder)
        with writing(target):
            if not (self.path / "zarr.json").exists():
                replace_bytes(self.path / "zarr.json", EMPTY_GROUP)
            _sync_one(self.path)

    def load(self, step: int) -> Checkpoint:
        """Read the checkpoint of `step`.

        Raises:
            StoreError: It is damaged.
        """
        folder = self.folder(step)
        try:
            state = State(**json.loads((folder / "zarr.json").read_text())["attributes"]["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{folder}: unreadable checkpoint ({error})", "remove this folder to resume from an earlier one"
            ) from None
        return Checkpoint(state, load_tensors(folder / "model"), load_tensors(folder / "optimizer"))

    def prune(self, keep_last: int, best: int) -> None:
        """Remove all but the newest `keep_last` and the best."""
        for step in self.steps()[:-keep_last]:
            if step != best:
                # Hidden first: a kill on the way leaves nothing that looks like a checkpoint.
                hidden = self.path / f".step_{step:08d}.old"
                shutil.rmtree(hidden, ignore_errors=True)
                os.replace(self.folder(step), hidden)
                shutil.rmtree(hidden, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed save or prune left."""
        if self.path.is_dir():
            for item in self.path.iterdir():
                if item.name.startswith(".step_"):
                    shutil.rmtree(item, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Force every file and folder below `folder` to the disk."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_one(Path(root, name))
        _sync_one(Path(root))


def _sync_one(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
