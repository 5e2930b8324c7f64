"""Health of the representation: effective rank, spread and neighbourhoods of pooled embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 8192
LOW_RANK = 0.02
"""Share of the largest possible RankMe below which a representation counts as collapsed, but at least `ONE_RANK`.
Fresh encoders of channels start at some five per cent, as the mean of all embeddings is the largest direction."""
ONE_RANK = 2.0
LOW_STD = 1e-3
"""Mean standard deviation of a feature below which a representation counts as constant."""
HIGH_COSINE = 0.999
"""Mean cosine of two embeddings above which they count as one direction."""
WIDE_GAP = 0.5
"""Distance of target and context encoder, over the length of the target's weights, that counts as apart."""
EXPERT = "val_expert_"
"""How the columns of the shares of experts begin; the one of their entropy ends in `entropy`."""
DEAD = 0.05
"""Share of the validation samples, times the number of experts, below which an expert counts as dead."""
NEIGHBOURS = 20
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Health:
    """Monitors of (N, D) embeddings."""

    rankme: float
    """Effective number of directions, 1 to min(N, D); NaN when an embedding is not finite."""
    feature_std: float
    """Standard deviation over the samples, mean over the dimensions."""
    rows: int
    """N: RankMe from few rows is too low, so it is compared at equal N alone."""
    dim: int
    cosine: float = 0.0
    """Mean cosine of two different embeddings; 1 when all point the same way."""
    knn: float | None = None
    """Share of samples whose label their nearest neighbours tell, each left out of its own; None without labels."""
    more: Mapping[str, float] = field(default_factory=dict)
    """What the objective adds about its weights, such as `ema_gap`."""

    @property
    def alarm(self) -> str | None:
        """What is wrong and its likely cause, in one sentence; None when nothing is."""
        if not self.rankme >= max(ONE_RANK, LOW_RANK * min(self.rows, self.dim)):  # NaN alarms as well
            return (
                f"the representation has collapsed: RankMe {self.rankme:.2f} of {min(self.rows, self.dim)} "
                f"({self.rows} embeddings of {self.dim}); likely cause: {self._cause()}"
            )
        if self.feature_std < LOW_STD:
            return (
                f"the representation is nearly constant: mean feature std {self.feature_std:.1e}; "
                f"likely cause: {self._cause()}"
            )
        return self._dead_experts()

    def _dead_experts(self) -> str | None:
        """Experts of a mixture that hardly any sample goes to."""
        shares = {
            name.removeprefix(EXPERT): share
            for name, share in self.more.items()
            if name.startswith(EXPERT) and name != f"{EXPERT}entropy"
        }
        dead = [f"{name} ({100 * share:.1f} %)" for name, share in shares.items() if share < DEAD / len(shares)]
        if not dead:
            return None
        return (
            f"hardly any sample goes to expert {', '.join(dead)}; likely cause: a router that has settled too early "
            "(raise objective.routing.balance or warmup) or samples of one kind alone"
        )

    def columns(self) -> dict[str, float]:
        """The monitors in a row of the curves."""
        row = {
            "rankme": self.rankme,
            "rankme_rows": float(self.rows),
            "feature_std": self.feature_std,
            "feature_cosine": self.cosine,
        }
        return row | ({} if self.knn is None else {"knn": self.knn}) | dict(self.more)

    def _cause(self) -> str:
        """The most likely reason for an alarm."""
        gap = self.more.get("ema_gap")
        if self.rankme != self.rankme:
            return "weights or samples that are not finite (lower train.lr, verify the store)"
        if self.feature_std < LOW_STD or self.cosine > HIGH_COSINE:
            if gap is not None and gap > WIDE_GAP:
                return "targets that the encoder has left behind (lower objective.momentum or train.lr)"
            if gap is not None:
                return (
                    "encoder and target agreeing on a constant (raise objective.momentum, lower train.lr, or take "
                    "objective.kind=jepa_sigreg)"
                )
            return "every sample looks alike to the encoder (bring samples to one scale, lower train.lr)"
        return (
            "few directions carry everything, often the power of the samples or too easy masks (bring samples to one "
            "scale, raise the masks' ratio, train longer)"
        )


def rankme(embeddings: Tensor) -> float:
    """exp of the entropy of the normalised singular values of (N, D) embeddings (Garrido et al. 2023, equation 1).

    The singular values come from the float64 Gram matrix, summed in chunks: as exact as an SVD (1e-10) at half its
    time and constant memory.
    """
    gram = embeddings.new_zeros(embeddings.shape[1], embeddings.shape[1], dtype=torch.float64)
    for rows in torch.split(embeddings, CHUNK):
        gram.addmm_(rows.T.double(), rows.double())
    if not torch.isfinite(gram).all():
        return float("nan")
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    shares = values / values.sum().clamp_min(torch.finfo(torch.float64).tiny) + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum()))


def mean_cosine(embeddings: Tensor) -> float:
    """Mean cosine over all pairs of different rows of (N, D), from the length of their sum; 0 if N = 1."""
    count = len(embeddings)
    total = F.normalize(embeddings.double(), dim=1).sum(0).square().sum()
    return float((total - count) / max(1, count * (count - 1)))


def knn_accuracy(embeddings: Tensor, labels: Tensor, k: int = NEIGHBOURS, temperature: float = TEMPERATURE) -> float:
    """Share of rows whose label wins among their k nearest others, votes weighted with exp(cosine / temperature).

    Args:
        embeddings: (N, D) float, N > 1.
        labels: (N,) integers, any values.
    """
    classes = torch.unique(labels, return_inverse=True)[1]
    points = F.normalize(embeddings.float(), dim=1)
    cosines = points @ points.T
    cosines.fill_diagonal_(-torch.inf)
    near, index = cosines.topk(min(k, len(points) - 1), dim=1)
    votes = cosines.new_zeros(len(points), int(classes.max()) + 1)
    votes.scatter_add_(1, classes[index], (near / temperature).exp())
    return float((votes.argmax(1) == classes).float().mean())


def examine(embeddings: Tensor, labels: Tensor | None = None, more: Mapping[str, float] | None = None) -> Health:
    """Monitors of float (N, D) embeddings, N >= 1, with (N,) integer labels where there are some."""
    embeddings = embeddings.float()
    spread = embeddings.double().std(dim=0, unbiased=False).mean()
    return Health(
        rankme(embeddings),
        float(spread),
        embeddings.shape[0],
        embeddings.shape[1],
        mean_cosine(embeddings),
        None if labels is None or len(embeddings) < 2 else knn_accuracy(embeddings, labels.to(embeddings.device)),
        more or {},
    )
