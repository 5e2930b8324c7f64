"""Dropout that does not wait for the random generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 1 << 16


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero elements with chance `p` and scale the others by 1 / (1 - p).

    torch's CPU dropout draws one number of the Mersenne twister per element, a fifth of a training step of LWM. Here
    one 64-bit word serves four elements, so `p` is rounded to multiples of 2^-16 (and the scale with it). Other devices
    use torch's own.

    Args:
        x: any shape and float dtype.
        p: chance of zero, in [0, 1).
        training: without effect when False.
    """
    level = round(p * _LEVELS)
    if not training or level == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= level - _LEVELS // 2
    return x * keep.to(x.dtype).mul_(_LEVELS / (_LEVELS - level))
