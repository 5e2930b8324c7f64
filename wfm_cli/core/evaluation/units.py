"""One unit of a benchmark: one task, one encoder, one probe and one label budget, all seeds together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.adaptation.adapt import Adapted, adapt
from wfm_cli.core.evaluation.adaptation.samples import Row
from wfm_cli.core.evaluation.draws import Budget
from wfm_cli.core.evaluation.folds import classes_seen, joined_attrs, together
from wfm_cli.core.evaluation.metrics import METRICS, Predictions, ValuePredictions
from wfm_cli.core.evaluation.probes.base import Fitted, Shown, balanced_weights
from wfm_cli.core.evaluation.probes.knn import fit_knn
from wfm_cli.core.evaluation.probes.logistic import fit_logistic
from wfm_cli.core.evaluation.probes.majority import fit_majority
from wfm_cli.core.evaluation.probes.principal import Principal
from wfm_cli.core.evaluation.probes.ridge import fit_ridge
from wfm_cli.core.evaluation.resampling import bootstrap
from wfm_cli.core.evaluation.source import FeatureSource
from wfm_cli.core.evaluation.statistics import t_interval
from wfm_cli.core.evaluation.taskdata import TaskData
from wfm_cli.core.recipe.evaluate import ProbeBlock
from wfm_cli.core.recipe.probes import ProbeChoice, Res1DCNNProbe

Attrs = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TableRow:
    """One line of a table."""

    label: str
    """Words for people."""
    source: FeatureSource
    """Features."""
    probes: tuple[ProbeChoice, ...] = ()
    """What is fitted on them; nothing but the naive predictor if empty."""


@dataclass(frozen=True)
class UnitPlan:
    """A unit that is to be done."""

    key: str
    """Name in the run."""
    data: TaskData
    """Labels."""
    row: TableRow
    """Features."""
    probe: str
    """Name in tables: `logistic`, `ridge`, `knn`, `majority`, or that of a trained probe with its settings."""
    budget: Budget
    """Labels."""
    choice: ProbeChoice | None = None
    """The trained probe; None for those that see features alone."""

    def balanced(self, block: ProbeBlock) -> bool:
        """Whether all classes weigh alike in the loss of the probe."""
        if not self.data.count or (self.choice is None and self.probe != "logistic"):
            return False
        return block.class_weight == "balanced" or (block.class_weight is None and self.data.count == 2)

    def _pooling(self) -> str:
        """How tokens become scores: as the source pools them, or by the probe itself."""
        if isinstance(self.choice, Res1DCNNProbe) and self.choice.input == "tokens":
            return "tokens"
        return "attention" if self.probe == "attentive" else self.row.source.pooling

    def attrs(self, common: Mapping[str, Any]) -> Attrs:
        """What is known before the work begins."""
        task, source = self.data.task, self.row.source
        return {
            **common,
            "kind": "probe",
            "task": task.name,
            "task_version": task.version,
            "task_title": task.title,
            "primary": task.primary,
            "encoder": source.spec,
            "label": self.row.label,
            "role": source.role,
            "pooling": self._pooling(),
            "encoder_digest": source.digest,
            "dim": source.dim,
            "probe": self.probe,
            "probe_kind": self.choice.kind if self.choice else self.probe,
            "probe_settings": self.choice.model_dump(mode="json") if self.choice else {},
            "budget": self.budget,
            "n_val": len(self.data.val),
            "n_test": len(self.data.test),
            "left_out": self.data.left_out,
            "classes": list(self.data.classes),
        }


@dataclass
class RowFeatures:
    """Features of one row for all samples of a store, moved to the mean of the training samples.

    Moving the origin changes nothing for probes that standardise each draw; it spares them the cancellation of large
    means in float32.
    """

    x: torch.Tensor
    """(samples, d) float32."""
    _axes: dict[bytes, Principal] = field(default_factory=dict)

    @classmethod
    def of(cls, features: NDArray[np.float32], train: NDArray[np.int64]) -> RowFeatures:
        """Features (samples, d) around the mean of the rows `train`; the array is changed in place."""
        features -= features[train].mean(0, dtype=np.float64).astype(np.float32)
        return cls(torch.from_numpy(features))

    def axes(self, rows: NDArray[np.int64], x: torch.Tensor) -> Principal:
        """Principal axes of the draws `rows` (S, n); those of a whole training part are remembered for other tasks."""
        if len(rows) > 1:
            return Principal.of(x)
        name = rows.tobytes()
        if name not in self._axes:
            self._axes = {name: Principal.of(x)}
        return self._axes[name]


class RowInputs:
    """What the probes of one row are fitted on, each made on first use."""

    def __init__(self, make: Callable[[], RowFeatures], adaptable: Row) -> None:
        self._make, self.adaptable = make, adaptable
        self._features: RowFeatures | None = None

    @property
    def features(self) -> RowFeatures:
        """One vector for every sample of the store."""
        if self._features is None:
            self._features = self._make()
        return self._features


def run_unit(plan: UnitPlan, inputs: RowInputs, block: ProbeBlock) -> tuple[Attrs, Arrays]:
    """Fit the probe on every draw, score it on the test samples.

    Args:
        plan: The unit.
        inputs: Features, samples and encoder of its row.
        block: Settings of the probe.

    Returns:
        Attributes to add to `plan.attrs`, and the arrays of the unit.
    """
    started, data, balanced = time.perf_counter(), plan.data, plan.balanced(block)
    folds = [replace(plan, data=fold) for fold in data.folds] or [plan]
    found = [_fitted(fold, inputs, block, balanced) for fold in folds]
    predictions, seeds = together([one.predictions for one in found]), max((one.seeds for one in found), key=len)
    scores = {name: values[0] for name, values in predictions.scores().items()}
    attrs = {
        "n_train": [round(sum(one.rows.shape[1] for one in found) / len(found))] * len(seeds),
        "classes_seen": classes_seen(data, found, len(seeds)),
        "seeds": seeds,
        "class_weight": "balanced" if balanced else "none",
        "metrics": _summaries(scores, bootstrap(predictions, block.bootstrap, block.seed)),
        **joined_attrs([one.attrs for one in found]),
        "seconds": round(time.perf_counter() - started, 4),
        "status": "ok",
        "error": None,
    }
    return attrs, {**{f"metrics/{name}": values for name, values in scores.items()}, **_arrays(predictions)}


def _fitted(plan: UnitPlan, inputs: RowInputs, block: ProbeBlock, balanced: bool) -> Adapted:
    """What became of the probe on one split."""
    if plan.choice is None:
        return _strict(plan, inputs.features, block)
    return adapt(plan.choice, plan.data, inputs.adaptable, plan.budget, block, balanced)


def _strict(plan: UnitPlan, features: RowFeatures, block: ProbeBlock) -> Adapted:
    """A probe that sees features alone."""
    data, linear = plan.data, plan.probe in ("logistic", "ridge")
    # The naive predictor is what one says without an encoder: it knows how often each class occurs.
    budget = "all" if plan.probe == "majority" else plan.budget
    rows, seeds = data.draws(budget, block.seed, block.seeds)
    fitted = _fit(plan, features, rows, block)
    predictions = data.predict(fitted, features.x[torch.from_numpy(data.test)], data.test)
    columns = data.count or data.labels.shape[1]
    more = {
        "trainable_parameters": (features.x.shape[1] + 1) * columns if linear else 0,
        "chosen_l2" if linear else "chosen_k": fitted.chosen,
    }
    return Adapted(predictions, rows, seeds, more)


def _fit(plan: UnitPlan, features: RowFeatures, rows: NDArray[np.int64], block: ProbeBlock) -> Fitted:
    data = plan.data
    x = features.x[torch.from_numpy(rows)]
    y = torch.from_numpy(data.labels[rows])
    weights = balanced_weights(y, data.count) if plan.balanced(block) else None
    shown = Shown(x, y, data.count, data.chooser(features.x[torch.from_numpy(data.val)]), weights)
    if plan.probe == "majority":
        return fit_majority(shown)
    if plan.probe == "knn":
        return fit_knn(shown, block.knn_k, block.knn_distance)
    axes = features.axes(rows, x)
    if plan.probe == "ridge":
        return fit_ridge(shown, block.l2, axes)
    return fit_logistic(shown, block.l2, axes)


def _summaries(scores: Mapping[str, NDArray[np.float64]], intervals: Mapping[str, tuple[float, float]]) -> Attrs:
    summaries = {}
    for name, values in scores.items():
        mean, half = t_interval(values)
        summaries[name] = {
            "mean": mean,
            "half_width": None if np.isnan(half) else half,
            "direction": METRICS[name].direction,
            "unit": METRICS[name].unit,
            "boot": list(intervals[name]) if name in intervals else None,
        }
    return summaries


def _arrays(predictions: Predictions) -> Arrays:
    if isinstance(predictions, ValuePredictions):
        return {
            "predictions": predictions.guesses.astype(np.float32),
            "labels": predictions.labels.astype(np.float32),
        }
    return {"predictions": predictions.guesses.astype(np.int32), "labels": predictions.labels.astype(np.int32)}
