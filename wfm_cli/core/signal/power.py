"""Power of channels and its normalisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOOR_DB = -400.0
"""What a channel of zeros is given instead of minus infinity; far below any physical path gain."""


def mean_power(h: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Mean of |h|^2 over all elements of each sample, (U,), linear, summed in double precision.

    Args:
        h: Channels (U, ...), complex.
    """
    flat = np.ascontiguousarray(h).reshape(len(h), -1)
    parts = flat.view(flat.real.dtype)
    power: NDArray[np.float64] = np.einsum("ui,ui->u", parts, parts, dtype=np.float64) / flat.shape[1]
    return power


def log_power_db(h: NDArray[np.complexfloating]) -> NDArray[np.float32]:
    """Mean power per element in dB, (U,), float32: 10 log10 mean |h|^2; never below `FLOOR_DB`.

    Args:
        h: Channels (U, ...), complex, in the scale whose power is wanted.
    """
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(mean_power(h), 10 ** (FLOOR_DB / 10)))
    return level.astype(np.float32)


def normalise_power(h: NDArray[np.complex64], out: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
    """Channels with unit mean power per element; a channel of zeros stays zero.

    Args:
        h: Channels (U, ...), complex64.
        out: Where to write; may be `h` itself.
    """
    power = mean_power(h)
    scale = (1 / np.sqrt(np.where(power > 0, power, 1.0))).astype(np.float32)
    scaled: NDArray[np.complex64] = np.multiply(h, scale.reshape(-1, *[1] * (h.ndim - 1)), out=out)
    return scaled
