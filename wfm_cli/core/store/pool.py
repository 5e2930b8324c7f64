"""Many jobs: in this process or in a pool of them, always by the same function."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from wfm_cli.errors import WfmError

Job = TypeVar("Job")
Made = TypeVar("Made")


def run_all(
    start: Callable[[], Callable[[Job], Made]], jobs: Sequence[Job], workers: int, *, share: int = 1
) -> Iterator[Made]:
    """Do every job; what comes of them is yielded as it is done, in any order.

    Args:
        start: Called once in every process that works; returns what does a job there. Pickled for a pool, as the jobs
            are. Keep them small: a process that dies while a long message is on its way to it is never missed.
        jobs: What to do.
        workers: Processes; with one, or no more jobs than a share, they are done in this process and in order.
        share: Jobs that a process is handed at once.

    Raises:
        WfmError: a process died.
        Exception: whatever `start` or a job raises; jobs that have not begun are dropped.
    """
    if workers > 1 and len(jobs) > share:
        yield from _in_pool(start, [jobs[low : low + share] for low in range(0, len(jobs), share)], workers)
    elif jobs:
        yield from map(start(), jobs)


def _in_pool(
    start: Callable[[], Callable[[Job], Made]], shares: Sequence[Sequence[Job]], workers: int
) -> Iterator[Made]:
    # spawn: neither HDF5 readers nor torch survive a fork.
    pool = ProcessPoolExecutor(min(workers, len(shares)), get_context("spawn"), _begin, (start,))
    try:
        # Processes start with Ctrl-C held back: interrupted while importing, they would print a traceback each.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = [pool.submit(_do, share) for share in shares]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in as_completed(futures):
            yield from future.result()
    except BrokenProcessPool as error:
        hint = "often too little memory: use fewer workers; the same command goes on where it stopped"
        raise WfmError("a worker process of the build died", hint) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Callable[[Any], Any] | Exception = RuntimeError("the pool has not been initialised")


def _begin(start: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches the whole group: leave without a traceback
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        _work = start()
    except Exception as error:  # raised again where the parent can see it
        _work = error


def _do(jobs: Sequence[Any]) -> list[Any]:
    if isinstance(_work, Exception):
        raise _work
    return [_work(job) for job in jobs]
