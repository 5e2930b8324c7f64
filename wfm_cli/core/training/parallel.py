"""One module that holds an objective, alone, replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.training.dist import World

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


class Unit(nn.Module):
    """The objective behind the three calls that a training makes, so that sharded weights are gathered for each."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Any, ids: Tensor, key: StepKey) -> LossParts:
        """Loss sums and counts of a batch."""
        return cast(LossParts, self.objective(batch, ids, key))

    def evaluate(self, batch: Any, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        """Values per sample, (B,) each."""
        return self.objective.evaluate(batch, ids, key)

    def embed(self, batch: Any) -> Tensor:
        """Pooled embeddings (B, D)."""
        return self.objective.embed(batch)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a model: what its module lists hold, outermost lists only."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


class Parallel:
    """The unit as the step calls it, and its weights as whole tensors.

    Every rank calls every method, in the same order.
    """

    def __init__(self, objective: Objective, world: World, kind: str = "ddp", compiled: bool = False) -> None:
        objective.to(world.device)
        self.unit = Unit(objective)
        if compiled:
            # Block by block: the code of one block serves all of its kind.
            for block in blocks(objective):
                block.compile()
        self._sharded = kind == "fsdp2" and world.size > 1
        self.call: nn.Module = self.unit
        if self._sharded:
            _shard(self.unit, world)
        elif world.size > 1:
            # Buffers are equal by construction: every rank derives them from the same weights. torch 2.13 renamed it.
            names = signature(DistributedDataParallel).parameters
            quiet = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
            ids = [world.device.index] if world.device.type == "cuda" else None
            options: dict[str, Any] = {"device_ids": ids, "gradient_as_bucket_view": True, quiet: False}
            self.call = DistributedDataParallel(self.unit, **options)

    @contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """Around one micro-batch: gradients meet across ranks with the `last` one alone."""
        quiet: AbstractContextManager[Any] = nullcontext()
        if self._sharded:
            cast(Any, self.unit).set_requires_gradient_sync(last)
        elif isinstance(self.call, DistributedDataParallel) and not last:
            quiet = self.call.no_sync()
        with quiet:
            yield

    def release(self) -> None:
        """Let go of the replication before the processes part; forward passes are the unit's own from now on.

        Were DDP the last to hold the process group, as when an exception's traceback keeps it, its destructor would
        join the group's threads while it holds Python's lock, for which those threads may wait: every fourth stopped
        run hung at the end of a process.
        """
        if self.call is not self.unit:
            self.call = self.unit
            if (error := sys.exception()) is not None:
                traceback.clear_frames(error.__traceback__)
            gc.collect()

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the objective, whole, by name."""
        return {name: whole(value) for name, value in self.unit.objective.state_dict().items()}

    @torch.no_grad()
    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy whole tensors into parameters and buffers; names and shapes must be those of `weights`."""
        own = self.unit.objective.state_dict()
        if own.keys() != tensors.keys():
            raise KeyError(", ".join(sorted(own.keys() ^ tensors.keys())))
        for name, value in own.items():
            value.copy_(like(tensors[name], value))

    def moments(self, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
        """State of the optimiser, whole, as `<kind>/<parameter>`."""
        return {
            f"{kind}/{name}": whole(value)
            for name, parameter in self.unit.objective.named_parameters()
            for kind, value in optimiser.state.get(parameter, {}).items()
        }

    def load_moments(self, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Give the optimiser the state that `moments` returned."""
        parameters = dict(self.unit.objective.named_parameters())
        for key, tensor in tensors.items():
            kind, name = key.split("/", 1)
            parameter = parameters[name]
            # The step counter is one number, which fused kernels want on the device; moments lie like their parameter.
            counter = parameter.device if optimiser.defaults.get("fused") else torch.device("cpu")
            value = tensor.to(counter).clone() if tensor.ndim == 0 else like(tensor, parameter).clone()
            optimiser.state[parameter][kind] = value


def _shard(unit: Unit, world: World) -> None:
    """Shard the unit's parameters over all ranks, block by block."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks(unit):
        fully_shard(block, mesh=mesh)
    fully_shard(unit, mesh=mesh)
    for method in ("evaluate", "embed"):
        register_fsdp_forward_method(unit, method)


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether `tensor` is spread over ranks; told without importing its class, which takes most of a second."""
    return hasattr(tensor, "placements")


def whole(tensor: Tensor) -> Tensor:
    """The full tensor behind a sharded one."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor placed and, where `pattern` is sharded, sharded like it."""
    placed = tensor.to(pattern.device)
    if not is_sharded(pattern):
        return placed
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(placed, pattern.device_mesh, pattern.placements)
