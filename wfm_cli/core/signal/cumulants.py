"""Higher-order cumulants of complex baseband: the classical features of a modulation.

Definitions: Swami and Sadler, Hierarchical digital modulation classification using cumulants, IEEE Transactions on
Communications 48(3), 2000, equations 1 to 6; sixth order from the general moment-to-cumulant formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
ORDERS = ((2, 0), (2, 1), (4, 0), (4, 1), (4, 2), (6, 0), (6, 1), (6, 2), (6, 3))
"""(p, q) of every cumulant, in the order of the results: p factors, q of them conjugated."""


def cumulants(samples: NDArray[Any]) -> NDArray[np.complex128]:
    """Cumulants C_pq of zero-mean samples, each divided by C_21 to the power p / 2.

    BPSK has C_20 1, C_40 -2, C_42 -2, C_60 16, C_63 16; QPSK (1, j, -1, -j) C_40 1, C_42 -1, C_63 4; Gaussian noise
    has nothing beyond order 2. A turn of the phase by a turns C_pq by (p - 2 q) a.

    Args:
        samples: (..., time) complex; the mean over time, a leaking carrier, is taken off first.

    Returns:
        (..., 9) complex128: C_20, C_21 (1, or 0 of silence), C_40, C_41, C_42, C_60, C_61, C_62, C_63.
    """
    x = np.asarray(samples, np.complex64)
    x = x - x.mean(-1, keepdims=True)
    power = np.square(np.abs(x)).mean(-1, keepdims=True)
    x = x / np.sqrt(np.maximum(power, np.finfo(np.float32).tiny))
    s, p = x * x, np.square(np.abs(x))
    m20, m21, m40, m41, m42 = _mean(s), _mean(p), _mean(s * s), _mean(s * p), _mean(p * p)
    m60, m61, m62, m63 = _mean(s * s * s), _mean(s * s * p), _mean(s * p * p), _mean(p * p * p)
    m02, m43 = m20.conj(), m41.conj()
    found = (
        m20,
        m21,
        m40 - 3 * m20**2,
        m41 - 3 * m20 * m21,
        m42 - m20 * m02 - 2 * m21**2,
        m60 - 15 * m20 * m40 + 30 * m20**3,
        m61 - 5 * m21 * m40 - 10 * m20 * m41 + 30 * m20**2 * m21,
        m62 - 6 * m20 * m42 - 8 * m21 * m41 - m02 * m40 + 6 * m20**2 * m02 + 24 * m21**2 * m20,
        m63 - 9 * m21 * m42 - 3 * m20 * m43 - 3 * m02 * m41 + 18 * m20 * m21 * m02 + 12 * m21**3,
    )
    return np.stack(found, -1)


def cumulant_features(samples: NDArray[Any]) -> Features:
    """What a turn of the phase leaves of the cumulants, and the power.

    Args:
        samples: (B, channel, time) complex.

    Returns:
        (B, 9) float32, averaged over channels: log power (dB), |C_20|, |C_40|, |C_41|, C_42, |C_60|, |C_61|, |C_62|,
        C_63.
    """
    found = cumulants(samples)
    power = np.square(np.abs(np.asarray(samples, np.complex64))).mean(-1, dtype=np.float64)
    level = 10 * np.log10(np.maximum(power, np.finfo(np.float32).tiny))
    # Conjugated as often as not, the phase cancels and the number is real: its sign says something.
    kept = [found[..., i].real if p == 2 * q else np.abs(found[..., i]) for i, (p, q) in enumerate(ORDERS) if p > 2]
    made = np.stack([level, np.abs(found[..., 0]), *kept], -1).mean(1)
    return np.asarray(made, np.float32)


def _mean(values: NDArray[Any]) -> NDArray[np.complex128]:
    wide = np.complex128 if np.iscomplexobj(values) else np.float64
    return np.asarray(values.mean(-1, dtype=wide), np.complex128)
