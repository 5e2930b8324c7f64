"""The labels of a task on one store, cut into training, validation and test by one split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.draws import Budget, draw_balanced, draw_per_class, draw_uniform, per_class
from wfm_cli.core.evaluation.metrics import ClassPredictions, Predictions, ValuePredictions
from wfm_cli.core.evaluation.probes.base import Choose, Fitted
from wfm_cli.core.evaluation.tasks import Task
from wfm_cli.errors import InputError

if TYPE_CHECKING:
    from wfm_cli.core.store.reader import Store

Index = NDArray[np.int64]
FOLDS = "folds"
"""Stands for all splits `fold_0`, `fold_1` ...: one probe for each, scored together."""
_FOLD = re.compile(r"fold_\d+")
_CHUNK_ELEMENTS = 1 << 21  # class scores of one draw held at once, 8 MiB


@dataclass(frozen=True)
class TaskData:
    """One task on one store."""

    task: Task
    labels: NDArray[Any]
    """Classes (samples,) int64, or values (samples, k) float64."""
    classes: tuple[str, ...]
    """Names of the classes; empty for values."""
    train: Index
    """Samples of the store whose labels may be drawn."""
    val: Index
    """Samples that choose."""
    test: Index
    """Samples that are scored."""
    left_out: int = 0
    """Labelled samples that the task does not want (`only`, `in_both`)."""
    folds: tuple[TaskData, ...] = ()
    """The same labels cut by each of several splits that test other samples each; empty where there is one split.
    `train` and `val` are then samples of any fold, `test` those of all, fold by fold."""

    @property
    def count(self) -> int:
        """Number of classes; 0 for values."""
        return len(self.classes)

    def draws(self, budget: Budget, first_seed: int, seeds: int) -> tuple[NDArray[np.int64], list[int]]:
        """Training samples (S, n) of a budget, and the seeds that drew them.

        Every training label is one draw, whatever the number of seeds: repeats would be identical.
        """
        numbers = [first_seed + i for i in range(seeds)]
        picks = np.stack([self._draw(budget, seed) for seed in numbers])
        if picks.shape[1] >= len(self.train):
            return self.train[None], [first_seed]
        return self.train[picks], numbers

    def _draw(self, budget: Budget, seed: int) -> Index:
        """Positions in `train` of one draw."""
        if budget == "all":
            return np.arange(len(self.train))
        each, labels = per_class(budget), self.labels[self.train]
        if not self.count:
            if each is not None:
                raise InputError(
                    f"task {self.task.name}: it has values, no classes of which to draw {budget}",
                    "give a number of labels in all",
                )
            return draw_uniform(len(labels), int(budget), seed)
        return draw_balanced(labels, int(budget), seed) if each is None else draw_per_class(labels, each, seed)

    def predict(self, fitted: Fitted, x: torch.Tensor, rows: Index) -> Predictions:
        """Guesses of a fitted probe for features `x` (m, d) of the samples `rows` (m,)."""
        columns = self.count or self.labels.shape[1]
        chunk = max(1, _CHUNK_ELEMENTS // columns)
        parts = [self._guess(fitted.scores(part)) for part in torch.split(x, chunk)]
        guesses = torch.cat([best for best, _ in parts], 1).numpy()
        if not self.count:
            return ValuePredictions(self.labels[rows], guesses.astype(np.float64))
        top3 = None
        if self.count > 3:
            leading = torch.cat([three for _, three in parts], 1).numpy()
            top3 = (leading == self.labels[rows][:, None]).any(-1)
        return ClassPredictions(self.labels[rows], guesses, top3, self.count)

    def _guess(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.count:
            return scores, scores
        return scores.argmax(-1), scores.topk(min(3, self.count), -1).indices

    def chooser(self, x: torch.Tensor) -> Choose:
        """How validation with features `x` (m, d) likes a probe: its primary metric, more is better."""
        metric = self.task.metric
        sign = 1.0 if metric.direction == "max" else -1.0

        def choose(fitted: Fitted) -> torch.Tensor:
            return sign * torch.from_numpy(self.predict(fitted, x, self.val).scores()[metric.name][0])

        return choose


def load_task_data(store: Store, task: Task, split: str | None) -> TaskData:
    """Read and check the labels of a task.

    Args:
        store: The store.
        task: The task.
        split: Split of the store, its default if None; `folds` stands for all its splits `fold_0`, `fold_1` ...

    Raises:
        InputError: The store lacks the labels, or a part of the split is empty or unfit for the task.
    """
    wanted = (task.label, *task.or_label)
    label = next((name for name in wanted if name in store.names), None)
    if label is None:
        known = ", ".join(name for name in store.names if name.startswith("labels/")) or "none"
        raise InputError(
            f"{store.path}: task {task.name} needs {' or '.join(wanted)}", f"labels of this store: {known}"
        )
    labels = store.read(label)
    named = store.spec(label).attrs.get("classes")
    labelled = np.isfinite(labels).reshape(len(labels), -1).all(1)
    if task.kind == "classes":
        labels, names = _as_classes(store, task, label, labels, named)
        labelled &= labels >= 0  # a negative class means: not labelled
    else:
        labels, names = labels.reshape(len(labels), -1).astype(np.float64), ()
    splits = {name: store.split(name) for name in _split_names(store, split)}
    kept = labelled & _wanted(store, task)
    if task.in_both:
        kept &= _in_both(labels, kept, splits.values())
    if task.only or task.in_both:
        labels, names = _closed_up(labels, names, kept)
    nothing = np.zeros(0, np.int64)
    whole = TaskData(task, labels, names, nothing, nothing, nothing, int((labelled & ~kept).sum()))
    cuts = [_cut(whole, store, name, parts, kept) for name, parts in splits.items()]
    return cuts[0] if len(cuts) == 1 else _all_folds(whole, store, cuts)


def _split_names(store: Store, split: str | None) -> tuple[str, ...]:
    """The split that is meant, or all folds."""
    if split != FOLDS:
        return (split or store.default_split,)
    available = store.attrs["splits"]["available"]
    names = sorted((name for name in available if _FOLD.fullmatch(name)), key=lambda name: int(name[5:]))
    if len(names) < 2:
        raise InputError(f"{store.path}: has no folds", f"prepare it with folds; it has {', '.join(available)}")
    return tuple(names)


def _cut(whole: TaskData, store: Store, split: str, parts: NDArray[np.uint8], kept: NDArray[np.bool_]) -> TaskData:
    """The labels cut by one split."""
    task = whole.task
    train, val, test = (np.flatnonzero(kept & (parts == code)).astype(np.int64) for code in range(3))
    for word, part in (("training", train), ("validation", val), ("test", test)):
        if not len(part):
            raise InputError(f"{store.path}: split {split} has no {word} sample for task {task.name}", "choose --split")
    _check_groups(store, task, split, train, test)
    return replace(whole, train=train, val=val, test=test)


def _all_folds(whole: TaskData, store: Store, cuts: list[TaskData]) -> TaskData:
    """All folds together; every sample is tested once at most."""
    train, val, test = (np.concatenate([getattr(cut, part) for cut in cuts]) for part in ("train", "val", "test"))
    if len(np.unique(test)) < len(test):
        raise InputError(f"{store.path}: a sample is tested by more than one fold", "choose one fold by --split")
    return replace(whole, train=np.unique(train), val=np.unique(val), test=test, folds=tuple(cuts))


def _in_both(labels: NDArray[Any], kept: NDArray[np.bool_], splits: Iterable[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Which samples are of a class that some split both trains and tests, (samples,)."""
    known = [np.intersect1d(labels[kept & (parts == 0)], labels[kept & (parts == 2)]) for parts in splits]
    return np.isin(labels, np.concatenate(known))


def _wanted(store: Store, task: Task) -> NDArray[np.bool_]:
    """Which samples have the classes that `task.only` asks for, (samples,)."""
    wanted = np.ones(store.samples, dtype=np.bool_)
    for name, classes in task.only.items():
        if name not in store.names:
            known = ", ".join(name for name in store.names if name.startswith("labels/")) or "none"
            raise InputError(f"{store.path}: task {task.name} needs {name}", f"labels of this store: {known}")
        named = [str(word) for word in store.spec(name).attrs.get("classes") or ()]
        numbers = [named.index(word) for word in classes if word in named]
        if not numbers:
            raise InputError(
                f"{store.path}: task {task.name}: {name} has none of the classes {', '.join(classes)}",
                f"its classes: {', '.join(named) or 'without names'}",
            )
        wanted &= np.isin(store.read(name), numbers)
    return wanted


def _closed_up(
    labels: NDArray[Any], names: tuple[str, ...], kept: NDArray[np.bool_]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Class numbers without those that no kept sample has, and the names of the others."""
    if not names:
        return labels, names
    present = np.unique(labels[kept])
    number = np.full(len(names), -1, dtype=np.int64)
    number[present] = np.arange(len(present))
    return np.where(labels >= 0, number[labels], labels), tuple(names[i] for i in present)


def _as_classes(
    store: Store, task: Task, label: str, labels: NDArray[Any], named: Any
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise InputError(f"{store.path}: {label} holds {labels.dtype} {labels.shape[1:]}, not one class per sample")
    labels = labels.astype(np.int64)
    count = task.classes or (len(named) if named else int(labels.max()) + 1)
    if labels.max() >= count:
        raise InputError(
            f"{store.path}: {label} holds class {labels.max()}, task {task.name} has classes 0 to {count - 1}"
        )
    names = [str(name) for name in named] if named and len(named) == count else [str(i) for i in range(count)]
    return labels, tuple(names)


def _check_groups(store: Store, task: Task, split: str, train: Index, test: Index) -> None:
    """Refuse to score labels of a group that has no training sample where labels mean something inside groups alone."""
    if task.within is None or task.within not in store.names:
        return
    groups = store.read(task.within)
    unknown = np.setdiff1d(groups[test], groups[train])
    if unknown.size:
        others = [name for name in store.attrs["splits"]["available"] if name != split]
        hint = f"use another split ({', '.join(others)})" if others else "prepare the store with another split"
        raise InputError(
            f"{store.path}: task {task.name}: {task.within} {unknown[0]} is in the test part of split {split} alone, "
            "and its labels share no frame with training",
            hint,
        )
