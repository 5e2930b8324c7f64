"""Samples of several sensors: named tensors that share their leading axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor


class Bundle(Mapping[str, Tensor]):
    """A batch of B samples as one tensor per sensor, (B, ...) each; what a tensor is to encoders of one array.

    Raises:
        ValueError: there is no tensor, or their numbers of samples differ.
    """

    def __init__(self, parts: Mapping[str, Tensor]) -> None:
        self._parts = dict(parts)
        sizes = {len(part) for part in self._parts.values()}
        if len(sizes) != 1:
            raise ValueError(f"a bundle needs tensors of one length, not {sorted(sizes)}")

    def __getitem__(self, name: str) -> Tensor:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        """Tensors, as for any mapping; `samples` counts the samples."""
        return len(self._parts)

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return len(next(iter(self._parts.values())))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self._parts.values())).device

    def map(self, function: Callable[[Tensor], Tensor]) -> Bundle:
        """The bundle of the results of a function of each tensor."""
        return Bundle({name: function(part) for name, part in self._parts.items()})

    def rows(self, index: slice | Tensor) -> Bundle:
        """Some of the samples."""
        return self.map(lambda part: part[index])


Samples = Tensor | Bundle
"""A batch, of one array or of several sensors."""


def count(batch: Samples) -> int:
    """Number of samples."""
    return batch.samples if isinstance(batch, Bundle) else len(batch)


def rows(batch: Samples, index: slice | Tensor) -> Samples:
    """Some of the samples of a batch."""
    return batch.rows(index) if isinstance(batch, Bundle) else batch[index]


def split(batch: Samples, size: int) -> list[Samples]:
    """Consecutive pieces of at most `size` samples."""
    return [rows(batch, slice(start, start + size)) for start in range(0, count(batch), size)]


def move(batch: Samples, function: Callable[[Tensor], Tensor]) -> Samples:
    """A function of every tensor of a batch."""
    return batch.map(function) if isinstance(batch, Bundle) else function(batch)
