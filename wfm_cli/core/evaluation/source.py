"""What the evaluation knows of an encoder: rows of a store in, one vector per row out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from wfm_cli.core.store.reader import Store
    from wfm_cli.core.store.rows import RowReader

Role = Literal["encoder", "control", "supervised", "baseline", "reference"]
"""`encoder`: under test; `control`: the same with random weights; `supervised`: a network trained
from scratch on labels alone; `baseline`: raw or classical features that need no training; `reference`: the naive
predictor."""


class FeatureSource(ABC):
    """A frozen map from samples to features.

    Attributes:
        spec: how the source was named, `RUN.zarr@cls`, `random:RECIPE`, `baseline:raw`.
        name: words for tables.
        role: which kind of row it is.
        pooling: pooling of an encoder, empty for others.
        digest: SHA-256 of everything that the features depend on besides the samples (weights, pooling, scaling).
        weights: SHA-256 of everything but the pooling; sources that share it can share a pass. Empty for others.
        dim: number of features D.
        arrays: arrays of the store whose rows `extract` takes, in this order; may be empty.
        dear: whether features are worth keeping on disk.
    """

    spec: str
    name: str
    role: Role
    pooling: str = ""
    digest: str
    weights: str = ""
    dim: int
    arrays: tuple[str, ...]
    dear: bool = False

    def reader(self, store: Store, array: str) -> RowReader:
        """Reader of the rows of one of `arrays`."""
        return store.rows(array)

    @abstractmethod
    def extract(self, batch: NDArray[Any], *more: NDArray[Any]) -> NDArray[np.float32]:
        """Features (B, D) of the rows (B, ...) of each of `arrays`."""

    def extract_all(
        self, poolings: Sequence[str], batch: NDArray[Any], *more: NDArray[Any]
    ) -> list[NDArray[np.float32]]:
        """Features of each of several poolings of the same weights; here of the only one there is."""
        return [self.extract(batch, *more)]
