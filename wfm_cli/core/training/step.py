"""One optimiser step: sums over micro-batches and ranks, one division, one decision."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wfm_cli.core.models.bundle import split
from wfm_cli.core.objectives.base import LossParts, StepKey
from wfm_cli.core.recipe.pretrain import TrainBlock
from wfm_cli.core.training.batches import Fed
from wfm_cli.core.training.dist import World
from wfm_cli.core.training.parallel import Parallel, whole
from wfm_cli.core.training.precision import autocast, seed_step


@dataclass(frozen=True)
class Outcome:
    """What one step did."""

    loss: float
    """Sum of the loss over all samples of the step divided by its count."""
    count: float
    """The global denominator."""
    grad_norm: float
    """Norm of the gradient of `loss`, before clipping."""
    refused: bool
    """The weights were left as they were: nothing counted, or loss or gradient is not finite."""
    stop: bool
    """Some rank was asked to stop."""
    logs: dict[str, float] = field(default_factory=dict)
    """The objective's own values, each sum divided by its count."""

    @property
    def reason(self) -> str:
        """Why the step was refused."""
        if self.count == 0:
            return "no token was counted by the loss"
        what = "the loss" if not math.isfinite(self.loss) else "the gradient"
        return f"{what} is not finite"


class Stepper:
    """Runs steps on one model."""

    def __init__(
        self,
        model: Parallel,
        optimiser: torch.optim.Optimizer,
        world: World,
        train: TrainBlock,
        seed: int,
        total: int | None = None,
    ) -> None:
        """`total` steps make up the training, for what changes with its progress; None leaves the progress at 0."""
        self.model = model
        self.optimiser = optimiser
        self.world = world
        self.train = train
        self.seed = seed
        self.total = total
        self._parameters = [p for group in optimiser.param_groups for p in group["params"]]

    def __call__(self, batch: Fed, lr: float, stop: bool) -> Outcome:
        """One step on this rank's part of the global batch.

        The gradient of a rank is that of its loss sum. Averaged over the ranks and multiplied with
        world size / global count it is the gradient of the global mean, whatever each rank and micro-batch counted.
        """
        seed_step(self.seed, batch.step, self.world.rank, self.world.device)
        progress = min(1.0, batch.step / self.total) if self.total else 0.0
        sums, names = self._accumulate(batch, StepKey(self.seed, batch.step, batch.epoch, progress))
        sums = self.world.sum(torch.cat([sums, sums.new_tensor([float(stop)])]))
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        # The one point at which the host waits for the device.
        total, count, *logs, stops, raw_norm = torch.cat([sums, norm.double().reshape(1)]).tolist()
        scale = self.world.size / count if count else math.nan
        outcome = Outcome(
            loss=total / count if count else math.nan,
            count=count,
            grad_norm=raw_norm * scale,
            refused=not (count and math.isfinite(total / count) and math.isfinite(raw_norm * scale)),
            stop=stops > 0,
            logs={name: _ratio(*logs[2 * i : 2 * i + 2]) for i, name in enumerate(names)},
        )
        if not outcome.refused:
            self._update(gradients, scale, outcome.grad_norm, lr)
        self.optimiser.zero_grad(set_to_none=True)
        return outcome

    def _accumulate(self, batch: Fed, key: StepKey) -> tuple[Tensor, list[str]]:
        """Gradients of the loss sum; returns float64 [total, count, (sum, count) of every log] and the logs' names."""
        size = self.train.micro_batch or len(batch.ids)
        chunks = list(zip(split(batch.data, size), torch.split(batch.ids, size), strict=True))
        sums: Tensor | None = None
        names: list[str] = []
        for index, (data, ids) in enumerate(chunks):
            with self.model.accumulating(last=index == len(chunks) - 1):
                with autocast(self.train.precision, self.world.device):
                    parts: LossParts = self.model.call(data, ids, key)
                torch.autograd.backward(parts.total)
            names = sorted(parts.logs)
            values = [parts.total, parts.count, *(value for name in names for value in parts.logs[name])]
            flat = torch.stack([value.detach().double().reshape(()) for value in values])
            sums = flat if sums is None else sums + flat
        assert sums is not None, "a loader gives no empty batch"
        return sums, names

    def _update(self, gradients: list[Tensor], scale: float, norm: float, lr: float) -> None:
        """Normalise and clip in one pass, then step."""
        clip = self.train.clip
        factor = scale * (min(1.0, clip / (norm + 1e-6)) if clip else 1.0)
        torch._foreach_mul_(gradients, factor)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()


def _ratio(total: float, count: float) -> float:
    return total / count if count else math.nan
