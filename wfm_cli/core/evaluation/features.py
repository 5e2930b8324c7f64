"""Features of the samples of a store: extracted once, in batches, kept in the run by digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.source import FeatureSource
from wfm_cli.core.progress import progress
from wfm_cli.core.provenance import digest
from wfm_cli.errors import WfmError

if TYPE_CHECKING:
    from wfm_cli.core.store.reader import Store
    from wfm_cli.core.store.run import Run

BATCH = 256
"""Samples per forward pass: large enough for the matrix products, small enough for the caches."""


def extract(
    source: FeatureSource, store: Store, indices: NDArray[np.int64], *, batch: int = BATCH, show: bool = False
) -> NDArray[np.float32]:
    """Features of samples.

    Args:
        source: Where features come from.
        store: Where samples come from.
        indices: Samples, (n,).
        batch: Samples per call of the source.
        show: Whether progress is reported.

    Returns:
        (n, D) float32.

    Raises:
        WfmError: A feature is not finite.
    """
    features = np.empty((len(indices), source.dim), dtype=np.float32)
    readers = [store.rows(name) for name in source.arrays]
    starts = range(0, len(indices), batch)
    show = show and source.dear
    try:
        with no_denormals():
            for start in progress(starts, total=len(starts), unit="step", label=source.name, enabled=show):
                rows = indices[start : start + batch]
                features[start : start + batch] = source.extract(*(reader.take(rows) for reader in readers))
    finally:
        for reader in readers:
            reader.close()
    if not np.isfinite(features).all():
        row = int(indices[np.flatnonzero(~np.isfinite(features).all(1))[0]])
        raise WfmError(f"{source.spec}: features of sample {row} of {store.path} are not finite", "check both inputs")
    return features


def cache_name(source: str, store: str, arrays: Sequence[str], indices: NDArray[np.int64]) -> str:
    """Name under which a run keeps features: a digest of what they depend on (digests of source and store, rows)."""
    return digest([source, store, list(arrays), digest(indices.tolist())])[:32]


def cached(
    run: Run, source: FeatureSource, store: Store, indices: NDArray[np.int64], *, show: bool = False
) -> NDArray[np.float32]:
    """Like `extract`, but features that are dear to compute are stored in the run and read back the next time."""
    if not source.dear:
        return extract(source, store, indices, show=show)
    name = cache_name(source.digest, store.digest, source.arrays, indices)
    values = run.cached(name, lambda: extract(source, store, indices, show=show))
    return np.asarray(values, dtype=np.float32)


@contextmanager
def no_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero: published weights are full of them, and the CPU is slow on them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
