"""What a data set builder is, and how builders are found by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.store.schema import DTYPES, JSON, ArraySpec
from wfm_cli.errors import InputError, MissingExtraError

BUILDERS: dict[str, str] = {
    "deepmimo": "wfm_datasets.deepmimo:DeepMIMOBuilder",
    "wavesfm": "wfm_datasets.wavesfm:WavesFMBuilder",
    "deepsense": "wfm_datasets.deepsense:DeepSenseBuilder",
    "spectrogram": "wfm_datasets.spectrogram:SpectrogramBuilder",
}
"""The builders that come with wfm, by the `kind` of their source. Others use the entry-point group `wfm.datasets`."""

ENTRY_POINTS = "wfm.datasets"


@dataclass(frozen=True)
class BuildPlan:
    """Everything that is known before the first row is made.

    Raises:
        InputError: there are no samples.
        ValueError: the plan contradicts itself (a mistake of the builder).
    """

    kind: str
    """What the samples are: `channel`, `spectrogram` ..."""
    samples: int
    """Number of rows of every array."""
    arrays: tuple[ArraySpec, ...]
    """Arrays that `Builder.rows` makes part by part."""
    columns: tuple[tuple[ArraySpec, np.ndarray[Any, Any]], ...] = ()
    """Small arrays known whole now, with their values (samples, *shape): splits, metadata, labels. Tables, whose first
    axis is not `sample`, have a length of their own."""
    sources: tuple[Mapping[str, JSON], ...] = ()
    """The input files: path, bytes, sha256 ..."""
    attrs: Mapping[str, JSON] = field(default_factory=dict)
    """Conventions, counts, splits and leaks; merged into the store's attributes."""
    state: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    """Private to the builder: saved beside the plan and handed back to `Builder.rows`."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError("the source holds no sample", "check the source block of the recipe")
        if not self.arrays:
            raise ValueError("a plan needs at least one array made by rows()")
        names = [spec.name for spec in self.arrays] + [spec.name for spec, _ in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"array names are not unique: {names}")
        if any(spec.is_table for spec in self.arrays):
            raise ValueError("arrays made by rows() have one row per sample; tables belong to columns")
        for spec, values in self.columns:
            check_rows(spec, values, max(1, len(values)) if spec.is_table else self.samples)


class Builder(Protocol):
    """Makes the rows of a store. Built once per process from the source block of the recipe.

    A builder whose source model is not one of `PrepareRecipe.source` names it as the class attribute `source_model`.
    """

    def __init__(self, source: Strict, seed: int) -> None: ...

    def plan(self) -> BuildPlan:
        """Look at the source; decide how many samples and which arrays there are. The same answer every time."""
        ...

    def rows(self, start: int, stop: int, state: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Rows [start, stop) of every array of `plan().arrays`: a pure function of its arguments and the source."""
        ...


def check_rows(spec: ArraySpec, values: np.ndarray[Any, Any], rows: int) -> None:
    """Refuse what a builder made when it is not what its plan promised.

    Raises:
        ValueError: wrong shape or dtype (a mistake of the builder).
    """
    wanted = (rows, *spec.shape)
    if values.shape != wanted or values.dtype != DTYPES[spec.dtype]:
        raise ValueError(
            f"builder: array {spec.name} has shape {values.shape} and dtype {values.dtype}, "
            f"its plan says {wanted} and {spec.dtype}"
        )


def builder_target(kind: str) -> str:
    """`module:Class` of the builder of a source kind.

    Raises:
        InputError: nobody provides that kind.
    """
    if kind in BUILDERS:
        return BUILDERS[kind]
    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if kind in others:
        return others[kind]
    known = sorted({*BUILDERS, *others})
    close = difflib.get_close_matches(kind, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    raise InputError(f"source.kind: no builder is called '{kind}'", hint)


def import_builder(target: str) -> type[Builder]:
    """Import a builder class from `module:Class`."""
    module, _, name = target.partition(":")
    try:
        return cast("type[Builder]", getattr(import_module(module), name))
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"builder {target} cannot be imported: there is no module '{error.name}'",
            "install the package that provides it",
        ) from error


def load_builder(kind: str) -> type[Builder]:
    """The builder class of a source kind.

    Raises:
        InputError: nobody provides that kind (the hint names a close match).
        MissingExtraError: its package, or one that it needs, is not installed.
    """
    return import_builder(builder_target(kind))
