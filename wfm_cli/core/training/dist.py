"""Several processes that train as one: who am I, sums over all, and work of the first alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from wfm_cli.errors import InputError, RecipeError, WfmError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Place of this process among all: `rank` of `size`, and the same within its own machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def ranks_from(env: Mapping[str, str]) -> Ranks | None:
    """The place that torchrun or SLURM gave this process; None when it runs by itself.

    A batch script of SLURM carries SLURM_PROCID as well, without being one of several tasks; only a step started by
    `srun` has SLURM_STEP_ID, so both are asked for.
    """
    try:
        if "RANK" in env and "WORLD_SIZE" in env:
            size = int(env["WORLD_SIZE"])
            return Ranks(
                int(env["RANK"]), size, int(env.get("LOCAL_RANK", 0)), int(env.get("LOCAL_WORLD_SIZE", min(size, 1)))
            )
        if "SLURM_STEP_ID" in env and "SLURM_PROCID" in env and int(env.get("SLURM_NTASKS", 1)) > 1:
            local = int(re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", "1")).group())  # type: ignore[union-attr]
            return Ranks(int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(env.get("SLURM_LOCALID", 0)), local)
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"environment of torchrun or SLURM: {error}", "start the processes with torchrun or srun"
        ) from None
    return None


def first_host(nodes: str) -> str:
    """First host of a SLURM node list: `gpu[03-07,12],cpu1` -> `gpu03`."""
    match = re.match(r"([^\[,]+)(?:\[(\d+)[^\]]*\])?([^\[,]*)", nodes)
    return "127.0.0.1" if match is None else match[1] + (match[2] or "") + (match[3] or "")


@dataclass(frozen=True)
class World:
    """All processes of a training and the device of this one."""

    ranks: Ranks
    device: torch.device

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.ranks.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.ranks.size

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.ranks.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum `values` over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Values of every process, interleaved: element i of rank r lands at row i * size + r.

        This is the inverse of `everything[rank::size]`. All ranks give the same shape.
        """
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    def together(self, work: Callable[[], T]) -> T:
        """Run `work` on every rank and meet at its end.

        An error of any rank ends all; the lowest rank that failed reports it, the others leave with its exit code.
        """
        if self.size == 1:
            return work()
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        codes: list[int | None] = [None] * self.size
        dist.all_gather_object(codes, None if failure is None else getattr(failure, "exit_code", 1))
        for rank, code in enumerate(codes):
            if code is not None:
                if failure is not None and rank == self.rank:
                    raise failure
                raise SystemExit(code)
        return result

    def first(self, work: Callable[[], T]) -> T | None:
        """Run `work` on rank 0 while the others wait; they get None. Errors as in `together`."""
        return self.together(lambda: work() if self.main else None)

    def agree(self, value: T) -> T:
        """The value of rank 0, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def pick_device(choice: str, ranks: Ranks) -> torch.device:
    """Device for `train.device`: `auto` takes a GPU where there is one.

    Raises:
        RecipeError: CUDA is asked for and absent, or there are more processes than GPUs.
    """
    count = torch.cuda.device_count() if choice != "cpu" and torch.cuda.is_available() else 0
    if choice == "cuda" and count == 0:
        raise RecipeError("train.device: cuda, but torch sees no GPU", "set train.device=cpu or see `wfm doctor`")
    if count == 0:
        return torch.device("cpu")
    if ranks.local_rank >= count:
        raise RecipeError(
            f"train.device: process {ranks.local_rank} of this machine has no GPU, torch sees {count}",
            f"use --devices {count}",
        )
    return torch.device("cuda", ranks.local_rank)


@contextmanager
def connect(choice: str) -> Iterator[World]:
    """Join the processes of this training: gloo on CPU, nccl on CUDA; a lone process joins nobody."""
    ranks = ranks_from(os.environ) or Ranks()
    device = pick_device(choice, ranks)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    ours = ranks.size > 1 and not dist.is_initialized()
    if ours:
        if "MASTER_ADDR" not in os.environ and "SLURM_JOB_ID" in os.environ:
            os.environ["MASTER_ADDR"] = first_host(os.environ.get("SLURM_STEP_NODELIST", ""))
            # Every task computes the same free-range port, and two jobs on one machine rarely the same.
            os.environ.setdefault("MASTER_PORT", str(20000 + int(os.environ["SLURM_JOB_ID"]) % 40000))
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=ranks.rank, world_size=ranks.size)
        except (ValueError, RuntimeError) as error:
            raise WfmError(f"process {ranks.rank} of {ranks.size} cannot join the others: {error}") from None
    try:
        yield World(ranks, device)
    finally:
        if ours:
            dist.destroy_process_group()
