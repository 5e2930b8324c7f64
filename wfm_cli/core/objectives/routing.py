"""Training of a mixture's router, and what is worth knowing about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.moe import Routing, one_of
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.recipe.objectives import RoutingBlock
from wfm_cli.errors import RecipeError

Logs = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Routed:
    """A batch on its way to the experts."""

    routing: Routing
    target: Tensor | None
    """(B,) int64 expert of each sample's label, -1 where it has none; None without labels."""
    warm: bool
    """The labels decide, and the router learns them."""


class RouterTraining(nn.Module):
    """Routes samples and adds what trains the router: cross-entropy on the label, and a pull towards equal use.

    Both are published (weights 0.05). The mean gates are those of the micro-batch of a device.
    """

    def __init__(self, block: RoutingBlock, encoder: LWMSpectroMoE) -> None:
        super().__init__()
        self.block, self.names = block, encoder.names
        self.target: Tensor | None
        self.register_buffer("target", None, persistent=False)

    def take_labels(self, labels: Tensor, classes: tuple[str, ...]) -> None:
        """Labels of all samples of the store, (samples,) int64, and the names of their classes.

        Raises:
            RecipeError: no class is named like an expert.
        """
        places = {name.lower(): i for i, name in enumerate(self.names)}
        expert = torch.tensor([places.get(name.lower(), -1) for name in classes])
        missing = [name for name in self.names if name.lower() not in {c.lower() for c in classes}]
        if missing:
            raise RecipeError(
                f"model.experts: {self.block.label} has no class {', '.join(missing)}",
                f"name the experts after its classes: {', '.join(classes)}",
            )
        self.target = torch.where(labels >= 0, expert[labels.clamp_min(0)], -1)

    def decide(self, routing: Routing, ids: Tensor, key: StepKey) -> Routed:
        """Where the samples `ids` (B,) go: as the router says, or where their labels say while it warms up."""
        target = None if self.target is None else self.target[ids]
        if target is None or not self.training or key.progress >= self.block.warmup:
            return Routed(routing, target, False)
        return Routed(one_of(routing.logits, target, routing.index.shape[1]), target, True)

    def loss(self, routed: Routed) -> tuple[Tensor, Logs]:
        """Sum over the samples, and logs."""
        routing, block = routed.routing, self.block
        count = routing.logits.new_tensor(float(len(routing.logits)))
        gates = routing.gates
        uneven = (gates.mean(0) - 1.0 / len(self.names)).square().mean()
        total = block.balance * uneven * count
        logs: Logs = {"router_uneven": (uneven.detach() * count, count)}
        logs["router_entropy"] = (routing.entropy.detach().sum(), count)
        for name, share in zip(self.names, routing.shares.detach().sum(0), strict=True):
            logs[f"expert_{name}"] = (share, count)
        if routed.target is not None:
            known = routed.target >= 0
            errors = F.cross_entropy(routing.logits.float(), routed.target, reduction="sum", ignore_index=-1)
            total = total + (1.0 if routed.warm else block.cross_entropy) * errors
            right = ((routing.logits.argmax(1) == routed.target) & known).sum().float()
            logs["router_loss"] = (errors.detach(), known.sum().float())
            logs["router_accuracy"] = (right, known.sum().float())
        return total, logs

    def by_expert(self, routed: Routed, values: Tensor, name: str) -> Logs:
        """A value per sample (B,) as logs of every expert, weighted by its share in the sample."""
        shares = routed.routing.shares.detach().float()
        sums = (shares * values.detach().float().unsqueeze(1)).sum(0)
        pairs = zip(self.names, sums, shares.sum(0), strict=True)
        return {f"{name}_{expert}": (total, share) for expert, total, share in pairs}

    def figures(self, routed: Routed) -> dict[str, Tensor]:
        """Values per sample at validation: `share_...` (B,) each, and the entropy of the gates."""
        routing = routed.routing
        found = {f"share_expert_{name}": routing.shares[:, i].float() for i, name in enumerate(self.names)}
        found["share_router_entropy"] = routing.entropy
        if routed.target is not None:
            right = (routing.logits.argmax(1) == routed.target).float()
            found["share_router_accuracy"] = torch.where(routed.target >= 0, right, torch.nan)
        return found
