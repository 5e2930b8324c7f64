"""Blocks of the Large Wireless Model family, and how its three published networks are wired.

The published files use nearly equal parameter names for three different networks:

               attention residual   norms per block          heads x d     token
    v1.0       a = N(x + A)         1, after attention       12 x 5        16 numbers of one part of one antenna row
    v1.1       a = N1(2x + A)       2, after each half       8 x 16        4x4 channel entries, 32 numbers
    Spectro    a = N1(x + A)        2, after each half       8 x 16        4x4 spectrogram bins, 16 numbers

with A the attention of x (for v1.1 the residual is added inside the attention and once more around it), then
x = a + FFN(a), normed by N2 in v1.1 and Spectro. N is `StdNorm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.attention import SelfAttention
from wfm_cli.core.models.blocks.dropout import dropout
from wfm_cli.core.models.blocks.norms import StdNorm
from wfm_cli.core.models.blocks.uniform import HeadPlan
from wfm_cli.errors import InputError


@dataclass(frozen=True)
class Wiring:
    """What sets a published wiring apart, and its published sizes."""

    element: int
    """Numbers per token P."""
    residual: int
    """How often the block's input is added to its attention."""
    second_norm: bool
    """Whether the feed-forward half is normed too."""
    width: int
    heads: int
    rows: int
    """Rows of the position table, CLS included."""
    parameters: int
    """Published size in parameters, head and unused norms included."""


WIRINGS = {
    "v1.0": Wiring(16, 1, False, 64, 12, 129, 603_712),
    "v1.1": Wiring(32, 2, True, 128, 8, 513, 2_470_304),
    "spectro": Wiring(16, 1, True, 128, 8, 1025, 2_531_728),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of one encoder, all known; the names are those of the recipe block."""

    layers: int
    width: int
    heads: int
    ffn: int
    max_tokens: int
    """Rows of the position table, CLS included."""

    def __post_init__(self) -> None:
        if self.heads > self.width:
            raise InputError(f"model.heads: {self.heads} heads do not fit into width {self.width}", "use fewer heads")


class FeedForward(nn.Module):
    """fc2(dropout(relu(fc1 x)))."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        hidden = dropout(F.relu(self.fc1(x), inplace=True), self.dropout, self.training)
        result: Tensor = self.fc2(hidden)
        return result

    def radius(self, radius: float) -> float:
        """Upper bound of the output's norm for inputs with norms up to `radius`."""
        first, second = self.fc1.weight.detach().double(), self.fc2.weight.detach().double()
        hidden = first.norm(dim=1) * radius + self.fc1.bias.detach().double().abs()
        return float(second.norm(dim=0) @ hidden + self.fc2.bias.detach().double().norm())


class Block(nn.Module):
    """One block of the family; `wiring` decides residuals and norms."""

    def __init__(self, wiring: Wiring, sizes: Sizes, dropout: float, backend: str) -> None:
        super().__init__()
        width = sizes.width
        self.residual = wiring.residual
        self.dropout = dropout
        self.attention = SelfAttention(width, sizes.heads, width // sizes.heads, backend)
        self.norm1 = StdNorm(width)
        self.ffn = FeedForward(width, sizes.ffn, dropout)
        self.norm2 = StdNorm(width) if wiring.second_norm else None
        if not wiring.second_norm:
            # v1.0 stores two norms per block that its forward pass never uses. They are kept so that official files
            # load strictly and parameter counts agree; frozen, so that data-parallel training does not wait for them.
            self.stored_norms = nn.ModuleList([StdNorm(width), StdNorm(width)]).requires_grad_(False)

    def forward(self, x: Tensor, plan: HeadPlan | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); `plan` stands in for the attention at inference."""
        mixed = self.attention(x) if plan is None else plan.apply(x, self.attention.backend)
        mixed = dropout(mixed, self.dropout, self.training)
        a = self.norm1(mixed + x if self.residual == 1 else torch.add(mixed, x, alpha=self.residual))
        x = a + dropout(self.ffn(a), self.dropout, self.training)
        return x if self.norm2 is None else self.norm2(x)

    def radius(self) -> float:
        """Upper bound of the norm of an output token."""
        if self.norm2 is not None:
            return self.norm2.radius()
        first = self.norm1.radius()
        return first + self.ffn.radius(first)


class Embedding(nn.Module):
    """Linear projection of tokens plus a learned position, normed."""

    def __init__(self, element: int, width: int, rows: int) -> None:
        super().__init__()
        self.proj = nn.Linear(element, width)
        self.position = nn.Parameter(torch.randn(rows, width) * 0.02)
        self.norm = StdNorm(width)

    def forward(self, values: Tensor, position: Tensor) -> Tensor:
        """(B, S, P) tokens and the (S, D) or (B, S, D) rows of the position table -> (B, S, D)."""
        embedded: Tensor = self.norm(self.proj(values) + position)
        return embedded


class Head(nn.Module):
    """Masked channel modelling head: decoder(N(relu(dense h))) + bias."""

    def __init__(self, element: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = StdNorm(width)
        self.decoder = nn.Linear(width, element)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, P)."""
        result: Tensor = self.decoder(self.norm(F.relu(self.dense(hidden))))
        return result
