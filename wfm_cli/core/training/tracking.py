"""Optional experiment trackers beside the run itself, which always holds everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from wfm_cli.errors import MissingExtraError

PATIENCE = 3
"""Failed calls after which a tracker is left alone."""


class Tracker(Protocol):
    """What a tracker must offer."""

    def start(self, name: str, out: Path, config: Mapping[str, Any]) -> None:
        """Begin: name of the run, its folder, the whole recipe."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row of the curves."""
        ...

    def finish(self, status: str) -> None:
        """End: `complete`, `stopped` or `failed`."""
        ...


class TensorBoard:
    """Event files in `<run>.tensorboard` beside the run."""

    needs = ("tensorboard", "torch.utils.tensorboard")

    def start(self, name: str, out: Path, config: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        folder = out.with_name(f"{out.name}.tensorboard")
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(str(folder))
        self._writer.add_text("recipe", "\n".join(f"    {k}: {v}" for k, v in flatten(config).items()))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def finish(self, status: str) -> None:
        """See `Tracker`."""
        self._writer.close()


class WandB:
    """Weights & Biases; WANDB_MODE, WANDB_PROJECT and the like keep their meaning."""

    needs = ("wandb",)

    def start(self, name: str, out: Path, config: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._run = import_module("wandb").init(name=name or out.stem, config=dict(config), dir=str(out.parent))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def finish(self, status: str) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=int(status == "failed"))


class MLflow:
    """MLflow; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME keep their meaning."""

    needs = ("mlflow",)

    def start(self, name: str, out: Path, config: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._mlflow = import_module("mlflow")
        self._mlflow.start_run(run_name=name or out.stem)
        self._mlflow.log_params(flatten(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._mlflow.log_metrics(dict(values), step=step)

    def finish(self, status: str) -> None:
        """See `Tracker`."""
        self._mlflow.end_run("FAILED" if status == "failed" else "KILLED" if status == "stopped" else "FINISHED")


TRACKERS: Mapping[str, type[TensorBoard] | type[WandB] | type[MLflow]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


def check(kinds: Sequence[str]) -> None:
    """Import what the trackers need, before anything is trained.

    Raises:
        MissingExtraError: A package is not installed; the hint is the pip line.
    """
    for kind in kinds:
        for module in TRACKERS[kind].needs:
            try:
                import_module(module)
            except ImportError as error:
                raise MissingExtraError(f"train.tracking: {kind} is not installed ({error})", extra=kind) from None


class Trackers:
    """All trackers of a training. A tracker that fails is reported and never ends the training."""

    def __init__(self, kinds: Sequence[str], warn: Callable[[str], None]) -> None:
        self._trackers: dict[str, Tracker] = {kind: TRACKERS[kind]() for kind in kinds}
        self._failures = dict.fromkeys(kinds, 0)
        self._warn = warn

    def start(self, name: str, out: Path, config: Mapping[str, Any]) -> None:
        """Begin; a tracker that cannot is dropped."""
        self._each("start", lambda tracker: tracker.start(name, out, config), patience=1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on the finite values of a row."""
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._each("log", lambda tracker: tracker.log(step, finite))

    def finish(self, status: str) -> None:
        """End."""
        self._each("finish", lambda tracker: tracker.finish(status))

    def _each(self, what: str, call: Callable[[Tracker], None], patience: int = PATIENCE) -> None:
        for kind, tracker in list(self._trackers.items()):
            try:
                call(tracker)
                self._failures[kind] = 0
            except Exception as error:  # third-party code: whatever it raises must not end a training
                self._failures[kind] += 1
                given_up = self._failures[kind] >= patience
                if given_up:
                    del self._trackers[kind]
                self._warn(f"warning: {kind}: {what} failed ({error}){'; it is left alone from now on' * given_up}")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
