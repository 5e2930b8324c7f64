"""Arithmetic of a training: autocast, TF32, threads, determinism, and putting the process back as it was."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from wfm_cli.core.training.dist import Ranks, World

BUSY = 0.5
"""Load per core above which one thread is used: two spinning OpenMP threads on a busy pair of cores take longer than
one alone."""


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 for the linear layers when asked for; weights, gradients and optimiser stay float32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def choose_threads(asked: int | None, ranks: Ranks) -> int:
    """CPU threads of this process: what was asked for, else torch's choice shared by the processes of the machine.

    On a machine that is busy already (load average above half of the cores) the choice is one. The number is part of
    what makes a run repeatable to the bit, so it is written into the run and used again by a resumed one.
    """
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if os.getloadavg()[0] > BUSY * cores:
        return 1
    return max(1, min(torch.get_num_threads(), cores) // ranks.local_size)


@contextmanager
def arithmetic(precision: str, world: World) -> Iterator[None]:
    """Set torch up for a training and restore its global settings, threads and random state afterwards.

    CPU: deterministic kernels (indexed gradients are otherwise added in the order of the threads) and denormals
    flushed (the moments of rarely used weights decay into them, and each costs a hundred normal operations).
    CUDA: float32 products in full precision unless the recipe says tf32.
    """
    cuda = world.device.type == "cuda"
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    deterministic = torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.use_deterministic_algorithms(deterministic or not cuda)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng(devices=[world.device] if cuda else []):
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(before[1])
        torch.set_num_threads(before[0])


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Make dropout a pure function of (seed, step, rank), whatever was drawn before.

    A resumed run thus repeats the run that never stopped, and validating more often does not change the weights.
    Generators are seeded directly: `torch.manual_seed` formats a stack trace at every call on machines without CUDA.
    """
    key = hashlib.blake2b(struct.pack("<qqq", seed, step, rank), digest_size=8).digest()
    value = int.from_bytes(key, "little") >> 1
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
