"""Which samples of a store are trained on, and the labels that an objective asks for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.objectives.base import Objective
from wfm_cli.core.recipe.pretrain import DataBlock
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import RecipeError


def select(store: Store, data: DataBlock, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of `indices` that `data.where` admits, in their order.

    Raises:
        RecipeError: no such array, no such class, or nothing is left.
    """
    for name, wanted in data.where.items():
        values = _column(store, name)
        classes = store.spec(name).attrs.get("classes")
        choices = wanted if isinstance(wanted, tuple) else (wanted,)
        numbers = [_number(choice, name, None if classes is None else [str(c) for c in classes]) for choice in choices]
        kept = indices[np.isin(values[indices], numbers)]
        if not len(kept) and len(indices):
            raise RecipeError(
                f"data.where: none of {len(indices)} samples of {store.path} has {name} = "
                f"{', '.join(map(str, choices))}",
                "choose values that occur in the train and val parts of the split",
            )
        indices = kept
    return indices


def give_labels(objective: Objective, store: Store) -> None:
    """Hand the objective the labels of all samples, where it asks for them.

    Raises:
        RecipeError: the store has no such label with named classes.
    """
    if objective.label is None:
        return
    labels = whole_numbers(store, objective.label, "objective.routing.label")
    classes = store.spec(objective.label).attrs.get("classes")
    if classes is None:
        raise RecipeError(
            f"objective.routing.label: the classes of '{objective.label}' have no names", "choose another label"
        )
    objective.take_labels(labels, tuple(str(name) for name in classes))


def whole_numbers(store: Store, name: str, field: str) -> Tensor:
    """(samples,) int64 label of all samples.

    Raises:
        RecipeError: there is none of this name; `field` of the recipe asked for it.
    """
    if name not in store.names or store.spec(name).shape or np.dtype(store.spec(name).dtype).kind not in "iu":
        known = [n for n in store.names if n.startswith("labels/")]
        raise RecipeError(f"{field}: {store.path} has no whole-number label '{name}'", f"one of: {', '.join(known)}")
    return torch.from_numpy(store.read(name).astype(np.int64))


def _column(store: Store, name: str) -> NDArray[np.generic]:
    if name not in store.names or store.spec(name).shape:
        known = [n for n in store.names if n.startswith(("labels/", "meta/")) and not store.spec(n).shape]
        raise RecipeError(f"data.where: {store.path} has no column '{name}'", f"one of: {', '.join(known)}")
    return store.read(name)


def _number(choice: str | float, name: str, classes: list[str] | None) -> float:
    """The number that stands for a choice in the array."""
    if classes is None:
        if isinstance(choice, str):
            raise RecipeError(f"data.where: '{name}' holds numbers, not '{choice}'", "give a number")
        return choice
    lower = [known.lower() for known in classes]
    wanted = str(choice).lower()
    if wanted not in lower:
        raise RecipeError(f"data.where: '{name}' has no class '{choice}'", f"one of: {', '.join(classes)}")
    return lower.index(wanted)
