"""Sending every sample of a batch to a few of several networks, without a loop over samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Routing:
    """Where the samples of a batch go."""

    logits: Tensor
    """(B, E) scores of the experts."""
    index: Tensor
    """(B, k) int64, chosen experts, the best first."""
    weights: Tensor
    """(B, k), their weights; they add up to one."""

    @property
    def gates(self) -> Tensor:
        """(B, E) softmax of the scores: what the router would give each expert were all of them run."""
        return self.logits.float().softmax(1)

    @property
    def shares(self) -> Tensor:
        """(B, E) weights that the experts have in the result; zero where they are not chosen."""
        return torch.zeros_like(self.logits).scatter(1, self.index, self.weights.to(self.logits.dtype))

    @property
    def entropy(self) -> Tensor:
        """(B,) entropy of the gates over its largest value: 0 certain, 1 undecided."""
        gates = self.gates
        return -(gates * gates.clamp_min(1e-12).log()).sum(1) / torch.tensor(float(gates.shape[1])).log()

    def part(self, rows: Tensor) -> Routing:
        """The same for some samples of the batch."""
        return Routing(self.logits[rows], self.index[rows], self.weights[rows])


def top_k(logits: Tensor, k: int) -> Routing:
    """The k best experts of every sample, their softmax gates divided by their sum (arXiv 2601.08780, section III).

    With k = 1 the weight is one, so no loss behind the experts reaches the router through it.
    """
    gates, index = logits.float().softmax(1).topk(k, dim=1)
    return Routing(logits, index, gates / gates.sum(1, keepdim=True))


def one_of(logits: Tensor, chosen: Tensor, k: int) -> Routing:
    """The same, but samples whose `chosen` (B,) is not negative go to that expert alone."""
    routing = top_k(logits, k)
    given = (chosen >= 0).unsqueeze(1)
    first = torch.zeros_like(routing.weights)
    first[:, 0] = 1.0
    # The k experts of a sample are distinct; the others of a sample with a given expert have no weight.
    others = routing.index.clone()
    others[:, 0] = chosen
    if k > 1:
        others[:, 1] = torch.where(routing.index[:, 0] == chosen, routing.index[:, 1], routing.index[:, 0])
    index = torch.where(given, others, routing.index)
    return Routing(logits, index, torch.where(given, first, routing.weights))


def dispatch(routing: Routing, experts: int, run: Callable[[int, Tensor], Tensor], *, every: bool = False) -> Tensor:
    """Weighted sum of what the chosen experts make of every sample.

    Pairs of sample and expert are sorted by expert; each expert then runs once, on all of its samples.

    Args:
        routing: choices for B samples.
        experts: number of experts E.
        run: called with an expert and the (n,) rows of the batch that go through it; returns (n, ...).
        every: call experts without samples too, with no rows. Their weights then have gradients of zero instead of
            none, as optimiser, replication and sharding need, whatever a batch happens to hold.

    Returns:
        (B, ...) float32 or as the experts return it.
    """
    batch, k = routing.index.shape
    chosen = routing.index.reshape(-1)
    order = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=experts).tolist()
    rows = torch.split(torch.div(order, k, rounding_mode="floor"), counts)
    results = [run(expert, part) for expert, part in enumerate(rows) if every or len(part)]
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(batch * k, device=order.device)
    joined = torch.cat(results).index_select(0, inverse)
    joined = joined.view(batch, k, *joined.shape[1:])
    weights = routing.weights.to(joined.dtype).view(batch, k, *[1] * (joined.ndim - 2))
    return (joined * weights).sum(1)
