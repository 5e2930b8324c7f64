"""Counter-based random numbers: every number is a pure function of where it is used.

A generator with state would give other masks to two ranks than to one process, and others again after a resume. Here
a number depends on (seed, step, stream, sample id, position) alone: the first three are mixed into a key, key and id
start a SplitMix64 sequence (Steele, Lea and Flood, OOPSLA 2014), and the position is its counter. Integer arithmetic
wraps identically on every device, so CPU and GPU agree bit by bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

EVERY_STEP = -1
"""Step of numbers that stay the same throughout training."""

_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def uniform(seed: int, step: int, ids: Tensor, n: int, stream: int, start: Tensor | None = None) -> Tensor:
    """Uniform numbers in [0, 1).

    Args:
        seed: seed of the run.
        step: optimiser step, or `EVERY_STEP`.
        ids: (B,) int64, sample ids.
        n: numbers per sample.
        stream: what the numbers are for; different streams are independent.
        start: (B,) int64, first position in each sample's sequence; 0 by default.

    Returns:
        (B, n) float32, multiples of 2^-24.
    """
    return _upper_bits(bits(seed, step, ids, n, stream, start), 24).to(torch.float32).mul_(2.0**-24)


def bits(seed: int, step: int, ids: Tensor, n: int, stream: int, start: Tensor | None = None) -> Tensor:
    """The 64-bit words behind `uniform`: (B, n) int64, every bit random, the sign included."""
    key = 0
    for part in (seed, step, stream):
        key = _mix_int((key + _GAMMA + part) & _WORD)
    if ids.device.type == "cpu":
        return _bits_on_cpu(key, ids, n, start)
    state = _mix(ids.to(torch.int64) * _signed(_GAMMA) + _signed(key))
    if start is not None:
        state = state + start * _signed(_GAMMA)
    counter = torch.arange(1, n + 1, device=ids.device) * _signed(_GAMMA)
    return _mix(state.unsqueeze(1) + counter)


def _bits_on_cpu(key: int, ids: Tensor, n: int, start: Tensor | None) -> Tensor:
    """`bits` by numpy, whose unsigned shifts spare the masks: half the time."""
    gamma = np.uint64(_GAMMA)
    state = _mix_on_cpu(ids.to(torch.int64).numpy().view(np.uint64) * gamma + np.uint64(key))
    if start is not None:
        state += start.numpy().view(np.uint64) * gamma
    words = _mix_on_cpu(np.add(state[:, None], np.arange(1, n + 1, dtype=np.uint64) * gamma))
    return torch.from_numpy(words.view(np.int64))


def _mix_on_cpu(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`_mix` of unsigned words, in place."""
    high = x >> np.uint64(30)
    for shift, factor in ((27, _FIRST), (31, _SECOND)):
        x ^= high
        x *= np.uint64(factor)
        np.right_shift(x, np.uint64(shift), out=high)
    x ^= high
    return x


def choose(seed: int, step: int, ids: Tensor, n: int, k: int, stream: int) -> Tensor:
    """k of n positions without replacement, every subset equally likely.

    Each position gets a random key with its own index in the lowest bits; the k smallest keys win. On CPU numpy's
    vectorised partition finds them, elsewhere `topk`; both find the same set.

    Returns:
        (B, k) int64 positions in ascending order.
    """
    width = max(1, (n - 1).bit_length())
    keys = bits(seed, step, ids, n, stream)
    keys.bitwise_right_shift_(width).bitwise_left_shift_(width).bitwise_or_(torch.arange(n, device=ids.device))
    mask = (1 << width) - 1
    if keys.device.type == "cpu":
        plain = keys.numpy()
        if 0 < k < n:
            plain.partition(k - 1, axis=1)
        chosen = plain[:, :k] & mask
        chosen.sort(axis=1)
        return torch.from_numpy(chosen)
    return (keys.topk(k, dim=1, largest=False, sorted=False).values & mask).sort(dim=1).values


def shuffle(seed: int, step: int, ids: Tensor, n: int, k: int, stream: int) -> tuple[Tensor, Tensor]:
    """k of n positions without replacement, and the others.

    As `choose`, with keys of half a word where they suffice: at up to 1024 positions at least 22 random bits remain.

    Returns:
        (B, k) and (B, n - k) int64 positions, in the same random order on every device.
    """
    if n > 1024:
        return smallest(bits(seed, step, ids, n, stream), k)
    return smallest(bits(seed, step, ids, (n + 1) // 2, stream).view(torch.int32)[:, :n].contiguous(), k)


def smallest(keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Where the k smallest of every row stand, and where the others do.

    Args:
        keys: (B, n) int32 or int64, overwritten: the lowest bits that count to n make way for the position, which
            therefore breaks ties.
        k: how many, 0 < k < n.

    Returns:
        (B, k) and (B, n - k) int64 positions, in the order of their keys.
    """
    n = keys.shape[1]
    width = (n - 1).bit_length()
    keys.bitwise_and_(-1 << width).bitwise_or_(torch.arange(n, device=keys.device, dtype=keys.dtype))
    if keys.device.type == "cpu":
        # A vectorised sort of short rows costs no more than the partition, and orders them alike on every device.
        keys.numpy().sort(axis=1)
    else:
        keys = keys.sort(dim=1).values
    places = keys.bitwise_and_((1 << width) - 1).long()
    return places[:, :k], places[:, k:]


def integers(seed: int, step: int, ids: Tensor, n: int, high: int, stream: int) -> Tensor:
    """(B, n) int64 uniform whole numbers in [0, high), for high far below 2^32."""
    return _upper_bits(bits(seed, step, ids, n, stream), 31).mul_(high).bitwise_right_shift_(31)


def common(seed: int, step: int, n: int, stream: int) -> list[float]:
    """n uniform numbers in [0, 1) that a whole step shares, without a tensor and so without waiting for a device."""
    key = 0
    for part in (seed, step, stream):
        key = _mix_int((key + _GAMMA + part) & _WORD)
    return [(_mix_int((key + _GAMMA * (position + 1)) & _WORD) >> 11) * 2.0**-53 for position in range(n)]


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's output function, in place; torch shifts int64 arithmetically, hence the masks."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        x.bitwise_xor_((x >> shift).bitwise_and_((1 << (64 - shift)) - 1)).mul_(_signed(factor))
    return x.bitwise_xor_((x >> 31).bitwise_and_((1 << 33) - 1))


def _upper_bits(x: Tensor, count: int) -> Tensor:
    return (x >> (64 - count)).bitwise_and_((1 << count) - 1)


def _mix_int(x: int) -> int:
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        x = (x ^ (x >> shift)) * factor & _WORD
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
