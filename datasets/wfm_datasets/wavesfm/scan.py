"""What every reader of the package answers, and the array descriptions that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.core.store.schema import ArraySpec

Column = tuple[ArraySpec, NDArray[Any]]


@dataclass(frozen=True)
class Scan:
    """What a reader finds out before the first row is made."""

    kind: str
    """What the samples are: `csi`, `spectrogram`, `iq`, `cir`."""
    array: ArraySpec
    """The input array, which `Reader.rows` makes."""
    columns: tuple[Column, ...]
    """Labels and metadata."""
    sources: tuple[Mapping[str, Any], ...]
    """The raw files."""
    stratum: NDArray[np.int64]
    """Group splits keep the mixture of these numbers (classes, usually) in every part, (n,)."""
    groups: Mapping[str, NDArray[np.int64]]
    """Group of every sample by name of the group, (n,): what a split by that name never tears apart. First: default."""
    held_out: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Test samples of splits that the data fix themselves (another day, the authors' test folder), (n,)."""
    default: str | None = None
    """Preferred split, if not that of the first group."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Conventions, in words and numbers."""
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What `Reader.rows` needs."""


class Reader(Protocol):
    """Reads one raw layout."""

    def __init__(self, source: WavesFMSource) -> None: ...

    def scan(self) -> Scan:
        """Look at the files; the large values are not kept.

        Raises:
            InputError: a file is missing, damaged, of another layout, or holds values that make no sense.
        """
        ...

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Input rows [start, stop); only their part of the files is read."""
        ...


def label(name: str, classes: list[str], description: str) -> ArraySpec:
    """A column of classes."""
    return ArraySpec(f"labels/{name}", "int16", (), ("sample",), "1", description, {"classes": classes})


def number(name: str, dtype: str, units: str, description: str, classes: list[str] | None = None) -> ArraySpec:
    """A column of scalars below `meta/`."""
    attrs = {"classes": classes} if classes else {}
    return ArraySpec(f"meta/{name}", dtype, (), ("sample",), units, description, attrs)


def position(description: str) -> ArraySpec:
    """The column of coordinates in metres."""
    return ArraySpec("meta/position", "float32", (3,), ("sample", "xyz"), "m", description)


def iq(antennas: int, length: int, units: str, description: str, attrs: Mapping[str, Any]) -> ArraySpec:
    """Complex baseband samples."""
    axes = ("sample", "antenna", "time")
    return ArraySpec("iq", "complex64", (antennas, length), axes, units, description, attrs)


def scale_iq(values: NDArray[np.complex64], std: tuple[float, float], source: WavesFMSource) -> NDArray[np.complex64]:
    """I and Q divided by WavesFM's standard deviations, or left as they are."""
    if source.normalise == "wavesfm":
        values.real /= np.float32(std[0])
        values.imag /= np.float32(std[1])
    return values
