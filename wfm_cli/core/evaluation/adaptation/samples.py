"""Samples of a store as an encoder takes them, and the tokens that a frozen encoder makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from wfm_cli.core.evaluation.encoders import ModelSource
    from wfm_cli.core.evaluation.raw import RawSource
    from wfm_cli.core.models.base import Encoder
    from wfm_cli.core.store.reader import Store
    from wfm_cli.core.store.rows import RowReader

Index = NDArray[np.int64]
BATCH = 256
"""Samples per forward pass without gradients."""
KEPT_BYTES = 2 << 30
"""Tokens of a whole store are kept in memory up to this size; larger ones are computed anew for every batch."""


class Samples:
    """Rows of the array that an encoder reads, scaled as it was trained, on its device."""

    def __init__(self, source: ModelSource | RawSource, store: Store) -> None:
        self.source, self.count = source, store.samples
        self._reader: RowReader = store.rows(source.arrays[0])

    def take(self, rows: Index) -> Tensor:
        """Samples (B, *sample_shape) float32."""
        return self.source.prepare(self._reader.take(rows))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


def encoder_of(source: ModelSource | RawSource) -> Encoder:
    """The encoder of a row that has one."""
    encoder = getattr(source, "encoder", None)
    if encoder is None:
        raise ValueError(f"{source.spec} has no encoder")
    return cast("Encoder", encoder)


class Tokens:
    """Hidden vectors of all tokens of the frozen encoder, each sample encoded once as long as memory allows."""

    def __init__(self, samples: Samples, kept_bytes: int = KEPT_BYTES, pooling: str | None = None) -> None:
        """With a `pooling`, one vector per sample (B, D) takes the place of the tokens (B, T, D)."""
        self._samples, self._pooling = samples, pooling
        self._encoder = encoder_of(samples.source)
        one = self._encode(np.zeros(1, dtype=np.int64))
        keep = samples.count * one[0].numel() * one.element_size() <= kept_bytes
        self._table = one.new_empty((samples.count, *one.shape[1:]), device="cpu") if keep else None
        self._known = np.zeros(samples.count, dtype=np.bool_)

    def take(self, rows: Index) -> Tensor:
        """Tokens (B, T, D) of the samples `rows`, on the encoder's device."""
        if self._table is None:
            return self._encode(rows)
        missing = np.unique(rows[~self._known[rows]])
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            self._table[torch.from_numpy(part)] = self._encode(part).cpu()
            self._known[part] = True
        return self._table[torch.from_numpy(rows)].to(self._samples.source.device)

    def _encode(self, rows: Index) -> Tensor:
        encoder = self._encoder
        with torch.no_grad():
            tokens = encoder.encode(encoder.tokenize(self._samples.take(rows)))
            found: Tensor = tokens if self._pooling is None else encoder.pool(tokens, self._pooling)
        return found.float()


class Row:
    """What adaptation needs of one line of a table; files are opened and tokens computed on first use."""

    def __init__(self, source: Any, store: Store) -> None:
        self.source: ModelSource | RawSource = source
        self._store = store
        self._samples: Samples | None = None
        self._tokens: Tokens | None = None
        self._embeddings: Tokens | None = None

    @property
    def samples(self) -> Samples:
        """Samples of the store."""
        if self._samples is None:
            self._samples = Samples(self.source, self._store)
        return self._samples

    @property
    def tokens(self) -> Tokens:
        """Tokens of the frozen encoder."""
        if self._tokens is None:
            self._tokens = Tokens(self.samples)
        return self._tokens

    @property
    def embeddings(self) -> Tokens:
        """Pooled vectors of the frozen encoder."""
        if self._embeddings is None:
            self._embeddings = Tokens(self.samples, pooling=self.source.pooling)
        return self._embeddings

    def close(self) -> None:
        """Close files and forget tokens."""
        if self._samples is not None:
            self._samples.close()
        self._samples = self._tokens = self._embeddings = None
