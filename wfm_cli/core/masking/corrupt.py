"""What stands in hidden tokens: the MASK constant, random numbers, or the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from wfm_cli.core.masking import rng


def corrupt(
    values: Tensor,
    index: Tensor,
    shares: tuple[float, float, float],
    mask_value: float,
    *,
    seed: int,
    step: int,
    ids: Tensor,
    stream: int = 1,
) -> Tensor:
    """Replace hidden tokens as BERT does, each on its own (published shares 80/10/10).

    Args:
        values: (B, N, P) tokens.
        index: (B, K) int64 hidden tokens.
        shares: chances of the MASK constant, of uniform random numbers in [0, 1), and of the unchanged token.
        mask_value: the MASK constant.
        seed: seed of the run.
        step: optimiser step, or `rng.EVERY_STEP`.
        ids: (B,) int64 sample ids.
        stream: first of two streams, see `rng.uniform`.

    Returns:
        (B, N, P), a new tensor.
    """
    tokens, patch = values.shape[1:]
    _, random, _ = shares
    draw = rng.uniform(seed, step, ids, index.shape[1], stream)
    result = values.clone(memory_format=torch.contiguous_format)
    flat = result.view(-1, patch)
    rows = index + tokens * _arange(index)
    fill = draw < random
    flat[rows[(draw < random + shares[0]) & ~fill]] = mask_value
    if random > 0:
        sample, slot = fill.nonzero(as_tuple=True)
        # The numbers of a token depend on its sample and slot, not on how many other tokens are filled.
        flat[rows[fill]] = rng.uniform(seed, step, ids[sample], patch, stream + 1, slot * patch).to(values.dtype)
    return result


def _arange(index: Tensor) -> Tensor:
    """(B, 1) row numbers on the same device."""
    return index.new_ones(index.shape[0]).cumsum(0).sub_(1).unsqueeze(1)
