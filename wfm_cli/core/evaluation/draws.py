"""Few-label draws: which training samples a probe may see the labels of."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Budget = int | str
"""So many labels in all (10), so many of every class (`5 per class`), or every training label (`all`)."""
_PER_CLASS = re.compile(r"([1-9]\d*) per class")


def per_class(budget: Budget) -> int | None:
    """Labels of every class that a budget grants; None of a budget of another kind."""
    found = _PER_CLASS.fullmatch(budget) if isinstance(budget, str) else None
    return int(found[1]) if found else None


def budget_words(budget: Budget) -> str:
    """A budget in words: `1,180 labels`, `5 labels per class`, `all labels`, `10 % of the labels`."""
    if isinstance(budget, int):
        return f"{budget:,} labels"
    each = per_class(budget)
    if each is not None:
        return f"{each:,} label{'' if each == 1 else 's'} per class"
    return "all labels" if budget == "all" else f"{budget} of the labels"


def draw_balanced(labels: NDArray[np.int64], budget: int, seed: int) -> NDArray[np.int64]:
    """Draw `budget` samples as evenly over the classes as the classes allow.

    Every class gets budget // classes labels; what is left over goes to classes chosen at random. A class that runs
    out hands its share to the others. With a budget below the number of classes, that many classes get one label.
    A pure function of its arguments.

    Args:
        labels: Classes of the training samples, (n,).
        budget: Labels in all; capped at n.
        seed: Seed of the draw.

    Returns:
        Ascending positions in `labels`, (min(budget, n),) int64.
    """
    rng = np.random.default_rng([seed, budget])
    order = rng.permutation(len(labels))
    _, group, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    take = _shares(sizes, min(budget, len(labels)), rng)
    by_class = np.argsort(group, kind="stable")
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[by_class[rank < take[group[by_class]]]])


def draw_per_class(labels: NDArray[np.int64], each: int, seed: int) -> NDArray[np.int64]:
    """Draw `each` samples of every class, or all of a class that has fewer. A pure function of its arguments.

    Args:
        labels: Classes of the training samples, (n,).
        each: Labels of a class.
        seed: Seed of the draw.

    Returns:
        Ascending positions in `labels`, int64; as many for every seed.
    """
    rng = np.random.default_rng([seed, each, 1])
    order = rng.permutation(len(labels))
    _, group, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(group, kind="stable")
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[by_class[rank < each]])


def draw_uniform(samples: int, budget: int, seed: int) -> NDArray[np.int64]:
    """Draw `budget` of `samples` positions without regard to labels; ascending, capped at `samples`."""
    rng = np.random.default_rng([seed, budget])
    return np.sort(rng.permutation(samples)[:budget])


def _shares(sizes: NDArray[np.int64], budget: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels per class: level with one another up to one label, never more than the class has."""
    take = np.zeros_like(sizes)
    while (left := budget - int(take.sum())) > 0:
        room = np.flatnonzero(take < sizes)
        each = left // len(room)
        if each == 0:
            take[rng.permutation(room)[:left]] += 1
        else:
            take[room] = np.minimum(sizes[room], take[room] + each)
    return take
