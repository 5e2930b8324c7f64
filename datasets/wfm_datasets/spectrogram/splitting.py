"""Splits of windows: whole recordings, single windows, held-out values of a field, and folds of recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import SpectrogramSource
from wfm_cli.core.store import splits
from wfm_cli.errors import InputError
from wfm_datasets.spectrogram.fields import LABEL, Field, show
from wfm_datasets.spectrogram.windows import Cuts

Index = NDArray[np.int64]
RECORDING, RANDOM = "recording", "random"
_BLOCK = 100
"""Consecutive examples of a set that stay together: they are often cut from one stream."""


@dataclass
class Splits:
    """Every split that can be made, and what is to be said about them."""

    default: str
    made: dict[str, splits.Split]
    described: dict[str, dict[str, Any]]
    """Sizes of the parts and the leak, by name."""
    notes: list[str] = field(default_factory=list)


def groups(examples: Index, cuts: Cuts, label: Index) -> Index:
    """What splits keep whole, (n,): a recording, or a block of consecutive examples of one class in a set of them."""
    is_set = examples[cuts.recording] > 1
    if not is_set.any():
        return cuts.recording.astype(np.int64)
    change = (np.diff(cuts.recording) != 0) | (np.diff(label) != 0) & is_set[1:]
    run = np.concatenate([[0], np.cumsum(change)])
    first = np.flatnonzero(np.concatenate([[True], change]))
    last = np.append(first[1:], len(run)) - 1
    span = cuts.example[last] - cuts.example[first] + 1
    size = np.clip(span // 20, 1, _BLOCK)
    block = np.where(is_set, (cuts.example - cuts.example[first][run]) // size[run], 0)
    _, number = np.unique(run * (int(block.max()) + 1) + block, return_inverse=True)
    return np.asarray(number.reshape(-1), np.int64)


def make(source: SpectrogramSource, group: Index, fields: Mapping[str, Field], seed: int) -> Splits:
    """All splits.

    Raises:
        InputError: `hold_out` names what no recording has, or the default asked for cannot be made.
    """
    label = fields[LABEL].codes if LABEL in fields else np.zeros(len(group), np.int64)
    seeds = [seed, source.split_seed]
    notes = _lone(fields.get(LABEL), group)
    made = {RECORDING: _by_recording(group, label, source.fractions, seeds)}
    for name, values in source.hold_out.items():
        made[name] = _held_out(name, values, fields, group, label, source, seeds)
    for fold in range(source.folds or 0):
        made[f"fold_{fold}"] = _fold(group, label, fold, source.folds or 1, source.fractions)
    made[RANDOM] = splits.random_split(len(group), source.fractions, seeds)
    whole = splits.whole(made)
    for name in made:
        if name not in whole and name != RANDOM:
            notes.append(f"split {name} is left out: too few recordings for train, validation and test")
    default = _default(source, whole)
    if default == RANDOM and source.split is None:
        notes.append("the default split is random: windows of one recording lie in training and test")
    described = {name: splits.describe_groups(group, split, RECORDING) for name, split in whole.items()}
    return Splits(default, whole, described, notes)


def _default(source: SpectrogramSource, whole: Mapping[str, splits.Split]) -> str:
    possible = ", ".join(whole) or "none"
    if source.split is not None and source.split not in whole:
        raise InputError(f"split: '{source.split}' cannot be made of these recordings", f"possible: {possible}")
    if not whole:
        raise InputError("windows: too few for train, validation and test", "give more recordings, or a smaller stride")
    return source.split or next(iter(whole))


def _lone(label: Field | None, group: Index) -> list[str]:
    """A sentence for the classes that have one recording: training and test cannot both see them."""
    if label is None:
        return []
    pairs = np.unique(np.stack([label.codes, group]), axis=1)[0]
    counts = np.bincount(pairs[pairs >= 0], minlength=len(label.values))
    lone = [name for name, count in zip(label.names, counts, strict=True) if count == 1]
    if not lone:
        return []
    who = f"class {lone[0]} has" if len(lone) == 1 else f"classes {', '.join(lone)} have"
    return [f"{who} one recording, which is in training alone: splits by recording say nothing of such a class"]


def _by_recording(group: Index, label: Index, fractions: splits.Fractions, seeds: list[int]) -> splits.Split:
    """Whole groups, stratified. A class of two goes to train and test, one of one to training."""
    split = np.zeros(len(group), np.uint8)
    stratum = _stratum(group, label)
    many = np.ones(len(group), bool)
    for number in np.unique(stratum):
        mine = stratum == number
        names = np.unique(group[mine])
        if len(names) <= 2:
            order = np.random.default_rng([*seeds, int(number) + 1]).permutation(names)
            split[mine] = np.where(group[mine] == order[0], splits.TRAIN, splits.TEST)
            many &= ~mine
    if many.any():
        split[many] = splits.group_split(group[many], stratum[many] + 1, fractions, seeds)
    return _with_validation(split, group, fractions)


def _held_out(
    name: str, values: Any, fields: Mapping[str, Field], group: Index, label: Index, source: SpectrogramSource,
    seeds: list[int],
) -> splits.Split:  # fmt: skip
    if name not in fields or name in (RECORDING, RANDOM):
        raise InputError(f"hold_out.{name}: no recording has such a field", f"fields: {', '.join(fields) or 'none'}")
    known = fields[name].names
    wanted = [show(v) for v in (values if isinstance(values, tuple) else (values,))]
    for value in wanted:
        if value not in known:
            some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise InputError(f"hold_out.{name}: no recording has the value '{value}'", f"values: {some}")
    test = np.isin(fields[name].codes, [known.index(value) for value in wanted])
    if test.all():
        raise InputError(f"hold_out.{name}: nothing is left to train on", "hold out fewer values")
    split = splits.hold_out(
        test,
        source.fractions,
        lambda rest, inner: splits.group_split(group[rest], _stratum(group[rest], label[rest]) + 1, inner, seeds),
    )
    return _with_validation(split, group, source.fractions)


def _fold(group: Index, label: Index, fold: int, folds: int, fractions: splits.Fractions) -> splits.Split:
    """Of every class the recordings fold, fold + n ... are tested; the others' last windows validate.

    The recording of a class that has no other one is always in training.
    """
    stratum = _stratum(group, label)
    split = np.zeros(len(group), np.uint8)
    for number in np.unique(stratum):
        mine = stratum == number
        names, place = np.unique(group[mine], return_inverse=True)
        tested = (place.reshape(-1) % folds == fold) & (len(names) > 1)
        split[mine] = np.where(tested, splits.TEST, splits.TRAIN)
    return _with_validation(split, group, fractions)


def _with_validation(split: splits.Split, group: Index, fractions: splits.Fractions) -> splits.Split:
    """Where whole recordings leave no validation part, the last windows of every training recording become it."""
    if (split == splits.VAL).any():
        return split
    share = fractions[1] / (fractions[0] + fractions[1])
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    tail = place >= sizes[group] - np.maximum(1, np.rint(share * sizes[group]))
    made: splits.Split = np.where((split == splits.TRAIN) & tail & (sizes[group] > 1), splits.VAL, split)
    return made.astype(np.uint8)


def _stratum(group: Index, label: Index) -> Index:
    """Class of the first window of a row's group."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return label[first][inverse.reshape(-1)]
