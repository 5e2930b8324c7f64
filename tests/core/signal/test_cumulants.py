"""Cumulants against closed forms of ideal constellations and against the sum over all partitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import factorial

import numpy as np
import pytest

from wfm_cli.core.signal.cumulants import ORDERS, cumulant_features, cumulants


def qam(side: int) -> np.ndarray:
    axis = np.arange(1 - side, side, 2)
    return (axis[:, None] + 1j * axis).ravel()


def square(side: int) -> tuple[float, ...]:
    """Closed form: the cumulants of the two axes add up, those of `side` levels 2 apart are the Bernoulli numbers'."""
    second, fourth, sixth = (side**2 - 1) / 3, -2 * (side**4 - 1) / 15, 16 * (side**6 - 1) / 63
    c42, c63 = 2 * fourth / (2 * second) ** 2, 2 * sixth / (2 * second) ** 3
    return (0, c42, 0, c42, 0, c63, 0, c63)


# C20, C40, C41, C42, C60, C61, C62, C63; orders 2 and 4 as in Swami and Sadler 2000, Table I.
IDEAL = {
    "bpsk": (np.array([1, -1]), (1, -2, -2, -2, 16, 16, 16, 16)),
    "qpsk": (1j ** np.arange(4), (0, 1, 0, -1, 0, -4, 0, 4)),
    "16qam": (qam(4), square(4)),
    "64qam": (qam(8), square(8)),
    "256qam": (qam(16), square(16)),
    "8psk": (np.exp(2j * np.pi * np.arange(8) / 8), (0, 0, 0, -1, 0, 0, 0, 4)),
}


def test_published_values() -> None:
    assert [round(square(side)[3], 4) for side in (2, 4, 8)] == [-1, -0.68, -0.619]


@pytest.mark.parametrize("name", IDEAL)
def test_ideal_constellations(name: str) -> None:
    points, expected = IDEAL[name]
    c20, c21, *higher = cumulants(3.7 * np.tile(points, 2))
    np.testing.assert_allclose([c20, *higher], expected, atol=1e-4)
    assert c21 == pytest.approx(1)


def partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        for i, block in enumerate(partition):
            yield [*partition[:i], [first, *block], *partition[i + 1 :]]
        yield [[first], *partition]


def slow(x: np.ndarray, p: int, q: int) -> complex:
    """Sum over all partitions of p factors, q of them conjugated; odd moments are those of the samples."""
    factors = [x] * (p - q) + [x.conj()] * q
    total = 0j
    for partition in partitions(range(p)):
        sign = (-1) ** (len(partition) - 1) * factorial(len(partition) - 1)
        total += sign * np.prod([np.prod([factors[i] for i in block], axis=0).mean() for block in partition])
    return complex(total)


def test_every_order_is_the_sum_over_partitions() -> None:
    rng = np.random.default_rng(0)
    x = rng.gamma(0.7, 1.0, (3, 40)) * np.exp(2j * np.pi * rng.beta(0.8, 2.0, (3, 40)))
    x = np.concatenate([x, -x], 1)  # symmetric: odd moments vanish, as the formulas take for granted
    found = cumulants(x)
    for row, values in zip(x, found, strict=True):
        power = slow(row, 2, 1).real
        for (p, q), value in zip(ORDERS, values, strict=True):
            assert value == pytest.approx(slow(row, p, q) / power ** (p / 2), rel=2e-4, abs=2e-4)


def test_noise_has_nothing_beyond_order_two() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=200_000) + 1j * rng.normal(size=200_000)
    assert np.abs(cumulants(noise)[2:]).max() < 0.15


def test_features_turn_with_no_phase_and_know_the_level() -> None:
    rng = np.random.default_rng(2)
    symbols = rng.choice(qam(4), (2, 1, 500)).astype(np.complex64)
    plain, turned = cumulant_features(symbols), cumulant_features(0.1 * np.exp(0.4j) * symbols)
    np.testing.assert_allclose(turned[:, 1:], plain[:, 1:], atol=1e-4)
    np.testing.assert_allclose(plain[:, 0] - turned[:, 0], 20, atol=1e-4)
    assert plain.shape == (2, len(ORDERS))
    two = cumulant_features(np.concatenate([symbols[:1], symbols[1:]], 1))
    np.testing.assert_allclose(two[0], plain.mean(0), rtol=1e-5)
    silence = cumulant_features(np.zeros((1, 1, 16), np.complex64))
    assert np.isfinite(silence).all()
    assert (silence[:, 1:] == 0).all()
