"""From the rows of a store to tensors on the device."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.models.bundle import Bundle, Samples, move


class BatchLike(Protocol):
    """One batch of this rank, as the loader gives it."""

    step: int
    epoch: int
    ids: NDArray[np.int64]
    data: NDArray[Any]


class Batches(Protocol):
    """Training data: an endless, repeatable sequence of batches, addressed by step."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every sample once."""
        ...

    def iterate(self, start: int, stop: int) -> Iterator[Any]:
        """Batches (`BatchLike`) of the steps [start, stop) of the whole training."""
        ...


class Rows(Protocol):
    """Random access to samples."""

    def take(self, idx: NDArray[np.int64]) -> NDArray[Any]:
        """Samples `idx`, (B, ...)."""
        ...


@dataclass(frozen=True)
class Held:
    """The validation samples: where they are read, their ids in the store, and labels if they are monitored."""

    rows: Rows
    ids: NDArray[np.int64]
    labels: Tensor | None = None
    """(N,) int64 labels of `ids` for the nearest-neighbour monitor."""


@dataclass(frozen=True)
class Fed:
    """One batch on the device. `data` is (B, ...) float32, with a last axis [re, im] for complex samples; of windows a
    bundle of the sensors' tensors in their own types."""

    step: int
    epoch: int
    data: Samples
    ids: Tensor


def as_real(rows: NDArray[Any]) -> Samples:
    """Rows as a float32 tensor, complex64 viewed as [re, im]; shares the memory of `rows` where their type allows.

    Structured rows become a bundle of their fields.
    """
    if rows.dtype.names:
        return Bundle({name: torch.from_numpy(rows[name]) for name in rows.dtype.names})
    tensor = torch.from_numpy(rows if rows.flags.writeable else rows.copy())
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.float()


def to_device(batch: Samples, device: torch.device) -> Samples:
    """A batch on `device`; on CUDA the copy runs beside the computation."""
    if device.type == "cpu":
        return batch
    return move(batch, lambda tensor: tensor.contiguous().pin_memory().to(device, non_blocking=True))


def spread(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of `ids`, evenly spread over their order, so that a store sorted by city gives all cities."""
    if len(ids) <= count:
        return ids
    return ids[np.linspace(0, len(ids) - 1, count).round().astype(np.int64)]


def feed(batches: Batches, start: int, stop: int, device: torch.device) -> Generator[Fed, None, None]:
    """Batches of the steps [start, stop) on the device, on CUDA with the next one already under way."""

    def place(batch: BatchLike) -> Fed:
        ids = cast(Tensor, to_device(torch.from_numpy(np.ascontiguousarray(batch.ids)), device))
        return Fed(batch.step, batch.epoch, to_device(as_real(batch.data), device), ids)

    source = batches.iterate(start, stop)
    if device.type == "cpu":
        for batch in source:
            yield place(batch)
        return
    waiting: Fed | None = None
    for batch in source:
        ready, waiting = waiting, place(batch)
        if ready is not None:
            yield ready
    if waiting is not None:
        yield waiting
