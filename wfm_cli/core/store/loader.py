"""Batches of a store's rows for training: shuffled, prefetched, resumable at any step."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.memory import fits_in_memory
from wfm_cli.core.store.order import chunk_shuffle, full_shuffle
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.rows import MemoryRows, RowReader, ScaledRows, ZarrRows, aligned_empty
from wfm_cli.errors import InputError, WfmError

_PIECE = 4096
"""Rows read at a time into memory."""


@dataclass
class Batch:
    """One rank's share of one optimiser step."""

    step: int
    """Step of the whole training."""
    epoch: int
    """Pass over the samples, from 0."""
    ids: NDArray[np.int64]
    """(B,) sample numbers in the store."""
    data: NDArray[Any]
    """(B, *row) the rows themselves. The buffer is used again once the next batch but one is asked for."""


class BatchLoader:
    """Serves the rows of one array in batches.

    The order is a pure function of (seed, epoch): all samples once per epoch, the last incomplete batch dropped, and
    rank r of `world` gets every world-th sample of each batch beginning with the r-th. Uncompressed arrays are shuffled
    completely. Arrays that only zarr can decode are shuffled by chunks: blocks in random order, their rows mixed within
    pools of 64 MiB; every rank then decodes every block. Whether the array lies in memory does not change the order.

    Args:
        store: a finished store.
        array: name of the array.
        indices: (n,) sample numbers to visit, for instance `store.indices("train")`.
        batch_size: samples of a step over all ranks together.
        seed: seed of the order, not negative.
        rank: this process.
        world: number of processes.
        shuffle: False visits `indices` in their own order in every epoch.
        in_memory: hold the rows in memory; None does when they fit into a quarter of the free memory.
        prefetch: batches that a background thread prepares ahead; 0 reads in the caller's thread.
        rows: reader in place of the array's own, which sees to memory itself (windows of frames).

    Raises:
        InputError: there are fewer samples than one batch needs, or a batch has fewer samples than there are ranks.
    """

    def __init__(
        self,
        store: Store,
        array: str,
        indices: NDArray[np.integer[Any]],
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        in_memory: bool | None = None,
        prefetch: int = 2,
        rows: RowReader | None = None,
    ) -> None:
        self.indices = np.asarray(indices, np.int64)
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.shuffle, self.prefetch = shuffle, prefetch
        self.steps_per_epoch = len(self.indices) // batch_size
        if not self.steps_per_epoch:
            raise InputError(
                f"{store.path}: {len(self.indices)} samples do not fill one batch of {batch_size}",
                "use a smaller batch size or more data",
            )
        if batch_size < world:
            raise InputError(f"batch size {batch_size} is less than {world} processes", "use a larger batch size")
        reader = rows or store.rows(array)
        stored = reader.inner if isinstance(reader, ScaledRows) else reader
        self._block, self._pool = (stored.block, stored.pool) if isinstance(stored, ZarrRows) else (0, 0)
        self._reader = reader if rows else _into_memory(reader, self.indices, in_memory)
        self._by_position = self._reader is not reader
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def how(self) -> str:
        """Where rows come from: `memory`, `preadv` (straight from the files) or `zarr` (decoded by chunks)."""
        return self._reader.how

    @property
    def why(self) -> str:
        """Why rows are not read straight from the files; empty when they are."""
        return self._reader.why

    def __len__(self) -> int:
        return self.steps_per_epoch

    def positions(self, step: int) -> NDArray[np.int64]:
        """Positions within `indices` of this rank's share of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        start = within * self.batch_size
        if not self.shuffle:
            return np.arange(start + self.rank, start + self.batch_size, self.world)
        known = self._order
        if known is None or known[0] != epoch:
            # Assigned at once: the caller's thread and a prefetching one may both be here.
            self._order = known = (epoch, self._epoch_order(epoch))
        return known[1][start + self.rank : start + self.batch_size : self.world]

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._block:
            return chunk_shuffle(self.indices // self._block, self._pool, self.seed, epoch)
        return full_shuffle(len(self.indices), self.seed, epoch)

    def iterate(self, start: int, stop: int) -> Iterator[Batch]:
        """Batches of the steps [start, stop) of the whole training; epoch = step // steps_per_epoch.

        Starting at any step gives exactly what an uninterrupted iteration would have given there. Closing the iterator
        (or leaving a `for` over it) ends the background thread.

        Raises:
            StoreError: a file is missing, cut off or damaged.
        """
        if self.prefetch:
            return _prefetched(self, start, stop)
        buffers = self._buffer(), self._buffer()
        return (self._batch(step, buffers[step % 2]) for step in range(start, stop))

    def _buffer(self) -> NDArray[Any]:
        rows = len(range(self.rank, self.batch_size, self.world))
        return aligned_empty((rows, *self._reader.shape[1:]), self._reader.dtype)

    def _batch(self, step: int, buffer: NDArray[Any]) -> Batch:
        positions = self.positions(step)
        ids = self.indices[positions]
        data = self._reader.take(positions if self._by_position else ids, buffer)
        return Batch(step, step // self.steps_per_epoch, ids, data)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


def _into_memory(reader: RowReader, indices: NDArray[np.int64], wanted: bool | None) -> RowReader:
    size = len(indices) * int(np.prod(reader.shape[1:], dtype=np.int64)) * reader.dtype.itemsize
    if not (fits_in_memory(size) if wanted is None else wanted):
        return reader
    data = aligned_empty((len(indices), *reader.shape[1:]), reader.dtype)
    order = np.argsort(indices, kind="stable")  # the order of the files
    for start in range(0, len(order), _PIECE):
        piece = order[start : start + _PIECE]
        data[piece] = reader.take(indices[piece])
    reader.close()
    return MemoryRows(data, reader.why)


def _prefetched(loader: BatchLoader, start: int, stop: int) -> Iterator[Batch]:
    """Batches made by a background thread, which waits for a free buffer before each."""
    free: queue.SimpleQueue[NDArray[Any] | None] = queue.SimpleQueue()
    ready: queue.SimpleQueue[tuple[Batch, NDArray[Any]] | BaseException] = queue.SimpleQueue()
    closed = threading.Event()
    for _ in range(loader.prefetch + 2):  # the consumer holds two
        free.put(loader._buffer())

    def work() -> None:
        try:
            for step in range(start, stop):
                buffer = free.get()
                if buffer is None or closed.is_set():
                    return
                ready.put((loader._batch(step, buffer), buffer))
        except BaseException as error:
            ready.put(error)

    owner = os.getpid()
    thread = threading.Thread(target=work, name="wfm-loader", daemon=True)
    thread.start()
    held: deque[NDArray[Any]] = deque()
    try:
        for _ in range(start, stop):
            if os.getpid() != owner:
                raise WfmError("a batch iterator cannot be used after a fork", "call iterate() in the new process")
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            batch, buffer = item
            held.append(buffer)
            yield batch
            if len(held) > 1:
                free.put(held.popleft())
    finally:
        closed.set()
        free.put(None)
        if os.getpid() == owner:
            thread.join()
