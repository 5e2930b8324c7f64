"""Low-rank adaptation (LoRA, arXiv 2106.09685, eq. 3) of query and value projections, whoever wrote the encoder.

The projections are found by name among the linear layers of `encoder.blocks`: fused ones (`qkv` and the like, whose
output holds queries, keys and values one after the other) and single ones (`q`, `q_proj`, `query` ...). The addition is
a parametrisation of the weight, so code that reads the weight directly sees it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wfm_cli.core.models.base import Encoder
from wfm_cli.errors import InputError

FUSED = ("qkv", "to_qkv", "qkv_proj", "in_proj", "in_proj_weight", "c_attn", "Wqkv")
"""Names of projections that make queries, keys and values in this order."""
SINGLE = ("q", "q_proj", "to_q", "query", "wq", "W_Q", "v", "v_proj", "to_v", "value", "wv", "W_V")
"""Names of projections that make queries or values alone."""


class LowRank(nn.Module):
    """W + factor * B A for each third of rows that is adapted; B starts at zero."""

    def __init__(self, weight: Tensor, parts: tuple[slice, ...], rank: int, factor: float) -> None:
        super().__init__()
        self.parts, self.scale = parts, factor
        heights = [len(range(*part.indices(weight.shape[0]))) for part in parts]
        self.a = nn.ParameterList(nn.Parameter(weight.new_empty(rank, weight.shape[1])) for _ in parts)
        self.b = nn.ParameterList(nn.Parameter(weight.new_zeros(height, rank)) for height in heights)
        for a in self.a:
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, shaped like `weight`."""
        change = torch.zeros_like(weight)
        for part, a, b in zip(self.parts, self.a, self.b, strict=True):
            change[part] = self.scale * (b @ a)
        return weight + change


def projections(encoder: Encoder) -> Iterator[tuple[nn.Module, str, tuple[slice, ...]]]:
    """Query and value projections of all blocks: (module, name of its weight, rows of queries and of values).

    Raises:
        InputError: No block has a projection of a known name.
    """
    found = False
    for path, module in encoder.blocks.named_modules():
        leaf = path.rpartition(".")[2]
        if isinstance(module, nn.Linear) and leaf in (*FUSED, *SINGLE):
            found = True
            yield module, "weight", _thirds(module.weight) if leaf in FUSED else (slice(None),)
        elif isinstance(getattr(module, "in_proj_weight", None), Tensor):  # nn.MultiheadAttention
            found = True
            yield module, "in_proj_weight", _thirds(module.in_proj_weight)
    if not found:
        raise InputError(
            f"lora: no query and value projections in the blocks of encoder '{encoder.kind}'",
            f"name its linear layers one of: {', '.join((*FUSED, *SINGLE))}",
        )


def add_lora(encoder: Encoder, rank: int, factor: float) -> None:
    """Freeze `encoder` and add trainable low-rank terms to its query and value projections, in place.

    Args:
        encoder: What is adapted.
        rank: Rank of the terms.
        factor: What the product of the two factors is multiplied with, alpha / rank as published.

    Raises:
        InputError: There is nothing to adapt.
    """
    encoder.requires_grad_(False)
    for module, name, parts in list(projections(encoder)):
        weight = getattr(module, name)
        parametrize.register_parametrization(module, name, LowRank(weight, parts, rank, factor))


def _thirds(weight: Tensor) -> tuple[slice, ...]:
    third = weight.shape[0] // 3
    return slice(0, third), slice(2 * third, 3 * third)
