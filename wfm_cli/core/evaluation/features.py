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
    return _extract((source,), store, indices, batch, show)[0]


def _extract(
    sources: Sequence[FeatureSource], store: Store, indices: NDArray[np.int64], batch: int, show: bool
) -> list[NDArray[np.float32]]:
    """Features (n, D) of each of several sources that differ in their pooling alone, in one pass."""
    first, poolings = sources[0], [source.pooling for source in sources]
    features: list[NDArray[np.float32]]
    features = [np.empty((len(indices), source.dim), dtype=np.float32) for source in sources]
    readers = [first.reader(store, name) for name in first.arrays]
    starts = range(0, len(indices), batch)
    show = show and first.dear
    try:
        with no_denormals():
            for start in progress(starts, total=len(starts), unit="step", label=first.name, enabled=show):
                rows = indices[start : start + batch]
                found = first.extract_all(poolings, *(reader.take(rows) for reader in readers))
                for table, part in zip(features, found, strict=True):
                    table[start : start + batch] = part
    finally:
        for reader in readers:
            reader.close()
    for source, table in zip(sources, features, strict=True):
        if not np.isfinite(table).all():
            row = int(indices[np.flatnonzero(~np.isfinite(table).all(1))[0]])
            raise WfmError(
                f"{source.spec}: features of sample {row} of {store.path} are not finite", "check both inputs"
            )
    return features


def cache_name(source: str, store: str, arrays: Sequence[str], indices: NDArray[np.int64]) -> str:
    """Name under which a run keeps features: a digest of what they depend on (digests of source and store, rows)."""
    return digest([source, store, list(arrays), digest(indices.tolist())])[:32]


def cached(
    run: Run,
    source: FeatureSource,
    store: Store,
    indices: NDArray[np.int64],
    *,
    beside: Sequence[FeatureSource] = (),
    show: bool = False,
) -> NDArray[np.float32]:
    """Like `extract`, but features that are dear to compute are stored in the run and read back the next time.

    Features of the sources `beside`, which differ from `source` in their pooling alone, are stored on the way.
    """
    if not source.dear:
        return extract(source, store, indices, show=show)
    made: dict[str, NDArray[np.float32]] = {}

    def make() -> NDArray[np.float32]:
        sources = (source, *beside)
        names = [cache_name(s.digest, store.digest, s.arrays, indices) for s in sources]
        made.update(zip(names, _extract(sources, store, indices, BATCH, show), strict=True))
        return made.pop(names[0])

    values = run.cached(cache_name(source.digest, store.digest, source.arrays, indices), make)
    for name, others in made.items():
        run.cached(name, lambda others=others: others)  # type: ignore[misc]
    return np.asarray(values, dtype=np.float32)


@contextmanager
def no_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero: published weights are full of them, and the CPU is slow on them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
