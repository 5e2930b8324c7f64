"""Mask geometries: which tokens of a grid are hidden, as index tensors for a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from wfm_cli.core.masking import rng
from wfm_cli.errors import InputError


def random_tokens(seed: int, step: int, ids: Tensor, tokens: int, ratio: float, stream: int = 0) -> Tensor:
    """Uniform tokens without replacement: floor(ratio * tokens) of them, at least one and never all.

    Args:
        seed: seed of the run.
        step: optimiser step, or `rng.EVERY_STEP`.
        ids: (B,) int64 sample ids.
        tokens: tokens per sample N.
        ratio: share of hidden tokens.
        stream: see `rng.uniform`.

    Returns:
        (B, K) int64 token indices, ascending.
    """
    return rng.choose(seed, step, ids, tokens, count_of(tokens, ratio), stream)


def paired_tokens(seed: int, step: int, ids: Tensor, pairs: Tensor, ratio: float, stream: int = 0) -> Tensor:
    """LWM v1.0: the same random tokens of the real and the imaginary part (arXiv 2411.08872, section III).

    floor(ratio * N / 2) of the N / 2 real tokens are drawn, and their imaginary twins go with them.

    Args:
        seed: seed of the run.
        step: optimiser step, or `rng.EVERY_STEP`.
        ids: (B,) int64 sample ids.
        pairs: (2, N / 2) int64 from `pair_parts`.
        ratio: share of hidden tokens.
        stream: see `rng.uniform`.

    Returns:
        (B, 2 K) int64 token indices: the real ones ascending, then their twins in the same order.
    """
    chosen = rng.choose(seed, step, ids, pairs.shape[1], count_of(pairs.shape[1], ratio), stream)
    return torch.cat([pairs[0][chosen], pairs[1][chosen]], dim=1)


def pair_parts(coords: Tensor, axes: tuple[str, ...]) -> Tensor:
    """Tokens of the real part and their imaginary twins.

    Args:
        coords: (N, A) int64 coordinates of the tokens.
        axes: names of the A axes; one must be `part`.

    Returns:
        (2, N / 2) int64 token indices: real, imaginary.

    Raises:
        InputError: the grid has no axis `part`, or real and imaginary tokens do not pair up.
    """
    if "part" not in axes:
        raise InputError(
            f"masks.kind 'lwm' pairs real and imaginary tokens, but this model's grid has axes {', '.join(axes)}",
            "choose masks.kind=random",
        )
    column = axes.index("part")
    part = coords[:, column]
    real, imaginary = (part == 0).nonzero().squeeze(1), (part == 1).nonzero().squeeze(1)
    others = [i for i in range(len(axes)) if i != column]
    if real.shape != imaginary.shape or not torch.equal(coords[real][:, others], coords[imaginary][:, others]):
        raise InputError("real and imaginary tokens of this grid do not pair up", "choose masks.kind=random")
    return torch.stack([real, imaginary])


def count_of(tokens: int, ratio: float) -> int:
    """Hidden tokens among `tokens`: rounded down as published, but at least one and never all."""
    return max(1, min(int(ratio * tokens), tokens - 1))
