"""In which order samples are visited: a pure function of (seed, epoch), the same in every process and after a resume.

Built on the raw output of a Philox generator, whose stream NumPy guarantees for ever, and on stable sorting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def permutation(n: int, *key: int) -> NDArray[np.int64]:
    """A random permutation of 0..n-1 drawn from the key."""
    raw = np.random.Philox(np.random.SeedSequence(key)).random_raw(n)
    return np.argsort(raw, kind="stable").astype(np.int64, copy=False)


def full_shuffle(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions 0..n-1 in random order."""
    return permutation(n, seed, epoch)


def chunk_shuffle(block: NDArray[np.int64], pool: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Positions in an order that touches few blocks at a time.

    Blocks are visited in random order; `pool` blocks at a time form a pool whose samples are mixed completely.

    Args:
        block: (n,) block of the file that holds the sample at each position.
        pool: blocks per pool.
        seed: seed of the order.
        epoch: epoch.

    Returns:
        (n,) a permutation of 0..n-1.
    """
    _, number = np.unique(block, return_inverse=True)
    blocks = int(number.max()) + 1 if len(number) else 0
    rank = np.empty(blocks, np.int64)
    rank[permutation(blocks, seed, epoch, 1)] = np.arange(blocks)
    mixed = permutation(len(block), seed, epoch)
    return mixed[np.argsort(rank[number[mixed]] // pool, kind="stable")]
