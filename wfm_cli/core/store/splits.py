"""Splits into training, validation and test samples, and how much of the test set a split gives away.

Neighbouring users of a ray-traced scenario see nearly the same channel, so a random split measures memory rather than
skill. Three splits are made wherever they are possible: `random` over single users, `spatial` over square blocks of
users, and `city` with one place held out. A *place* is a set of user positions: two scenarios on the same positions
(two carrier frequencies, say) are one place, which the latter two never tear apart. `leak` puts a number on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wfm_cli.core.store.finish import PARTS
from wfm_cli.core.store.schema import ArraySpec

TRAIN, VAL, TEST = 0, 1, 2
NEAR_M = 5.0
"""Test users closer than this to a training user count as leaked."""

Split = NDArray[np.uint8]
Fractions = tuple[float, float, float]
Seed = int | Sequence[int]


def column(name: str) -> ArraySpec:
    """What a store says about the column of one split."""
    attrs = {"classes": list(PARTS)}
    return ArraySpec(f"split/{name}", "uint8", (), ("sample",), "1", f"part of the {name} split", attrs)


def sizes(split: Split) -> dict[str, Any]:
    """Samples of every part, by its name."""
    return {name: int((split == number).sum()) for number, name in enumerate(PARTS)}


def whole(made: Mapping[str, Split]) -> dict[str, Split]:
    """Of several splits those in which no part is empty."""
    return {name: split for name, split in made.items() if np.bincount(split, minlength=3).all()}


def random_split(n: int, fractions: Fractions, seed: Seed) -> Split:
    """Every sample on its own.

    Args:
        n: Number of samples.
        fractions: Shares of train, validation and test; they sum to 1.
        seed: Seed of the shuffle.

    Returns:
        Part of every sample, (n,), uint8: 0 train, 1 validation, 2 test.
    """
    bounds = np.rint(np.cumsum(fractions) * n).astype(np.int64)
    split = np.empty(n, np.uint8)
    split[np.random.default_rng(seed).permutation(n)] = np.searchsorted(bounds, np.arange(n), side="right").clip(max=2)
    return split


def spatial_split(
    position_m: NDArray[np.floating], place: NDArray[np.integer], fractions: Fractions, block_m: float, seed: Seed
) -> Split:
    """Square blocks of users, each whole in one part.

    Place after place the blocks are shuffled, and each goes to the part that lacks most users so far; a place with as
    many blocks as there are parts has users in every part.

    Args:
        position_m: User positions (n, 2 or 3); the first two coordinates count, metres.
        place: Place of every user (n,).
        fractions: Shares of train, validation and test; a share of zero leaves a part empty.
        block_m: Edge of a block in metres.
        seed: Seed of the shuffle.

    Returns:
        Part of every sample, (n,), uint8.
    """
    split = np.empty(len(place), np.uint8)
    lacking = np.zeros(3)
    for number in np.unique(place):
        mine = np.flatnonzero(place == number)
        xy = position_m[mine, :2].astype(np.float64)
        cells = np.floor((xy - xy.min(axis=0)) / block_m).astype(np.int64)
        _, block, sizes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        order = np.random.default_rng([*np.atleast_1d(seed), int(number)]).permutation(len(sizes))
        lacking += np.asarray(fractions) * len(mine)
        split[mine] = _fill(sizes[order], np.asarray(fractions) > 0, lacking)[np.argsort(order)][block.ravel()]
    return split


def group_split(group: NDArray[np.integer], stratum: NDArray[np.integer], fractions: Fractions, seed: Seed) -> Split:
    """Whole groups (positions, recordings, files ...) in one part, with the same mixture of strata in every part.

    Args:
        group: Group of every sample (n,).
        stratum: Class or the like of every sample (n,); a group belongs to the stratum of its first sample.
        fractions: Shares of train, validation and test; a share of zero leaves a part empty.
        seed: Seed of the shuffle.

    Returns:
        Part of every sample, (n,), uint8.
    """
    _, first, member, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    part = np.empty(len(sizes), np.uint8)
    lacking = np.zeros(3)
    for number in np.unique(stratum[first]):
        mine = np.flatnonzero(stratum[first] == number)
        order = np.random.default_rng([*np.atleast_1d(seed), int(number)]).permutation(mine)
        lacking += np.asarray(fractions) * sizes[mine].sum()
        part[order] = _fill(sizes[order], np.asarray(fractions) > 0, lacking)
    split: Split = part[member.ravel()]
    return split


def group_leak(group: NDArray[np.integer], split: Split, name: str) -> dict[str, Any]:
    """How many test samples belong to a group of which training has seen other samples.

    Args:
        group: Group of every sample (n,).
        split: Part of every sample (n,).
        name: What a group is, in one word.

    Returns:
        `share` of the test samples, and `group`, the name.
    """
    tested = group[split == TEST]
    share = float(np.isin(tested, group[split == TRAIN]).mean()) if len(tested) else 0.0
    return {"share": share, "group": name}


def describe_groups(group: NDArray[np.integer], split: Split, name: str) -> dict[str, Any]:
    """Sizes of the three parts and the leak between groups, as stored in a store's attributes; see `group_leak`."""
    return sizes(split) | {"leak": group_leak(group, split, name)}


def hold_out(
    test: NDArray[np.bool_], fractions: Fractions, split_rest: Callable[[NDArray[np.intp], Fractions], Split]
) -> Split:
    """Known samples are the test set; the others are divided into training and validation.

    Args:
        test: The samples held out (n,).
        fractions: Only the ratio of train to validation counts.
        split_rest: Divides the samples of these numbers by these fractions.

    Returns:
        Part of every sample, (n,), uint8.
    """
    split = np.full(len(test), TEST, np.uint8)
    rest = np.flatnonzero(~test)
    known = fractions[0] + fractions[1]
    split[rest] = split_rest(rest, (fractions[0] / known, fractions[1] / known, 0.0))
    return split


def _fill(sizes: NDArray[np.integer], wanted: NDArray[np.bool_], lacking: NDArray[np.float64]) -> Split:
    """Part of every block of a place, in order: the one that lacks most users. `lacking` (3,) is updated."""
    part = np.empty(len(sizes), np.uint8)
    empty = wanted.copy() if len(sizes) >= np.count_nonzero(wanted) else np.zeros(3, bool)
    for number, size in enumerate(sizes):
        may = empty if np.count_nonzero(empty) >= len(sizes) - number else wanted
        chosen = int(np.argmax(np.where(may, lacking, -np.inf)))
        lacking[chosen] -= size
        empty[chosen] = False
        part[number] = chosen
    return part


def city_split(
    position_m: NDArray[np.floating],
    place: NDArray[np.integer],
    test_place: int,
    fractions: Fractions,
    block_m: float,
    seed: Seed,
) -> Split:
    """One place is the test set; validation users are spatial blocks of the others.

    Args:
        position_m: User positions (n, 2 or 3), metres.
        place: Place of every user (n,).
        test_place: The place held out.
        fractions: Only the ratio of train to validation counts.
        block_m: Edge of a block in metres.
        seed: Seed of the shuffle.

    Returns:
        Part of every sample, (n,), uint8.
    """
    return hold_out(
        place == test_place,
        fractions,
        lambda rest, inner: spatial_split(position_m[rest], place[rest], inner, block_m, seed),
    )


def available_splits(
    position_m: NDArray[np.floating],
    place: NDArray[np.integer],
    *,
    test_place: int,
    fractions: Fractions,
    block_m: float,
    seed: Seed,
) -> dict[str, Split]:
    """Every split in which no part is empty, by name, in order of preference: city, spatial, random."""
    made = {}
    if len(np.unique(place)) > 1:
        made["city"] = city_split(position_m, place, test_place, fractions, block_m, seed)
    made["spatial"] = spatial_split(position_m, place, fractions, block_m, seed)
    made["random"] = random_split(len(place), fractions, seed)
    return whole(made)


def leak(position_m: NDArray[np.floating], place: NDArray[np.integer], split: Split) -> dict[str, Any]:
    """How near the test users are to training users of the same place.

    Args:
        position_m: User positions (n, 2 or 3), metres.
        place: Place of every user (n,).
        split: Part of every user (n,).

    Returns:
        `share`: share of the test users whose nearest training user is nearer than `below_m`; `median_m`: median
        distance to the nearest training user, None where most test users have none in their place.
    """
    distance = np.full(len(place), np.inf)
    for number in np.unique(place[split == TEST]):
        train = np.flatnonzero((place == number) & (split == TRAIN))
        test = np.flatnonzero((place == number) & (split == TEST))
        if len(train):
            distance[test] = cKDTree(position_m[train]).query(position_m[test])[0]
    tested = distance[split == TEST]
    middle = float(np.median(tested)) if len(tested) else np.inf
    return {
        "share": float(np.mean(tested < NEAR_M)) if len(tested) else 0.0,
        "below_m": NEAR_M,
        "median_m": round(middle, 3) if np.isfinite(middle) else None,
    }


def describe(position_m: NDArray[np.floating], place: NDArray[np.integer], split: Split) -> dict[str, Any]:
    """Sizes of the three parts and the leak, as stored in a store's attributes."""
    return sizes(split) | {"leak": leak(position_m, place, split)}
