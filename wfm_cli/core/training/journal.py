"""What a training leaves while it runs: curves in the run, trackers, the status line."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from wfm_cli.core.store.run import Run
from wfm_cli.core.training.checkpoint import Checkpoints, State, writing
from wfm_cli.core.training.status import Status, progress_line
from wfm_cli.core.training.tracking import Trackers

TIMED = frozenset({"samples_per_s", "seconds"})
"""Columns that hold wall-clock time. All others are equal, bit for bit, in a resumed and an uninterrupted run."""
FLUSH_S = 10.0
"""Longest time that finished rows stay in memory."""


@dataclass
class Journal:
    """Writes on rank 0; without a run (all other ranks) every method does nothing."""

    run: Run | None
    status: Status
    trackers: Trackers
    total: int
    _flushed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._curves = self.run.curves if self.run else None

    def start(self, step: int, name: str, config: Mapping[str, Any]) -> None:
        """Drop rows behind `step`, where the training goes on, and start the trackers."""
        if self.run and self._curves is not None:
            self._curves.truncate(step)
            self.trackers.start(name, self.run.path, config)

    def row(self, row: Mapping[str, float], ms_per_step: float) -> None:
        """Add one row; a row with a training loss is shown."""
        if self._curves is None:
            return
        self._curves.append(row)
        self.trackers.log(int(row["step"]), row)
        if "loss" in row:
            self.status.progress(progress_line(row, self.total, ms_per_step))
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def keep(
        self,
        state: State,
        model: Mapping[str, Tensor],
        moments: Mapping[str, Tensor],
        weights: Mapping[str, Tensor] | None,
        keep_last: int,
    ) -> None:
        """Save a checkpoint, and `weights` as the run's best when they are given.

        Rows are written first, so that the curves on disk always reach the newest checkpoint.

        Raises:
            WfmError: The disk is full or fails; earlier checkpoints are whole.
        """
        if self.run is None:
            return
        self.flush()
        checkpoints = Checkpoints(self.run.path)
        checkpoints.save(state, model, moments)
        checkpoints.prune(keep_last, state.best_step)
        if weights is not None:
            self.weights(weights, "best", {"step": state.step, "val_loss": state.best_loss})
        with writing(self.run.path):
            self.run.set_attrs(step=state.step, best_step=state.best_step or None, best_val_loss=state.best_loss)

    def weights(self, tensors: Mapping[str, Tensor], which: str, attrs: Mapping[str, Any]) -> None:
        """Write the run's weights `best` or `last`."""
        if self.run is not None:
            with writing(self.run.path / "weights" / which):
                self.run.save_weights(tensors, which, attrs)

    def flush(self) -> None:
        """Put all rows into the run.

        Raises:
            WfmError: They cannot be written.
        """
        self._flushed = time.monotonic()
        if self._curves is None:
            return
        with writing(self._curves.path):
            self._curves.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.status.say(text)

    def finish(self, status: str) -> None:
        """End the trackers and the status line; `complete`, `stopped` or `failed`."""
        self.flush()
        self.trackers.finish(status)
        self.status.close()
