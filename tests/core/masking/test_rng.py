"""Random numbers that depend on (seed, step, sample, position, stream) and on nothing else."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from wfm_cli.core.masking import rng

WORD = (1 << 64) - 1
seeds = st.integers(-(2**63), 2**63 - 1)
steps = st.integers(-1, 2**40)


def splitmix(seed: int, step: int, stream: int, sample: int, n: int) -> list[int]:
    """The generator in plain integers."""

    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
        return x ^ (x >> 31)

    gamma, key = 0x9E3779B97F4A7C15, 0
    for part in (seed, step, stream):
        key = mix((key + gamma + part) & WORD)
    start = mix((key + gamma * sample) & WORD)
    return [mix((start + gamma * (j + 1)) & WORD) for j in range(n)]


@given(seeds, steps, st.integers(0, 9), st.lists(st.integers(0, 2**40), min_size=1, max_size=5), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_equals_the_plain_integer_generator(seed: int, step: int, stream: int, ids: list[int], n: int) -> None:
    got = rng.bits(seed, step, torch.tensor(ids), n, stream)
    assert [[int(x) & WORD for x in row] for row in got] == [splitmix(seed, step, stream, i, n) for i in ids]
    uniform = rng.uniform(seed, step, torch.tensor(ids), n, stream)
    want = [[(x >> 40) / 2**24 for x in splitmix(seed, step, stream, i, n)] for i in ids]
    assert uniform.tolist() == want


@given(seeds, steps, st.permutations(range(12)), st.integers(1, 11))
@settings(max_examples=40, deadline=None)
def test_a_sample_does_not_feel_its_batch(seed: int, step: int, order: list[int], cut: int) -> None:
    ids = torch.tensor(order)
    whole = rng.uniform(seed, step, ids, 7, 0)
    assert torch.equal(torch.cat([rng.uniform(seed, step, part, 7, 0) for part in (ids[:cut], ids[cut:])]), whole)
    assert torch.equal(rng.uniform(seed, step, torch.arange(12), 7, 0)[ids], whole)
    chosen = rng.choose(seed, step, ids, 20, 6, 0)
    assert torch.equal(rng.choose(seed, step, torch.arange(12), 20, 6, 0)[ids], chosen)


def test_start_skips_numbers() -> None:
    ids, start = torch.arange(4), torch.tensor([0, 3, 1, 7])
    whole = rng.uniform(1, 2, ids, 12, 0)
    want = torch.stack([whole[i, start[i] : start[i] + 5] for i in range(4)])
    assert torch.equal(rng.uniform(1, 2, ids, 5, 0, start), want)


def test_every_argument_matters() -> None:
    ids = torch.arange(200)
    draws = [
        rng.uniform(seed, step, ids + offset, 50, stream)
        for seed, step, offset, stream in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1000, 0), (0, 0, 0, 1)]
    ]
    flat = torch.stack(draws).flatten(1).double()
    correlation = torch.corrcoef(flat) - torch.eye(len(draws))
    assert float(correlation.abs().max()) < 5 / flat.shape[1] ** 0.5


def test_numbers_are_uniform_and_uncorrelated() -> None:
    x = rng.uniform(3, 5, torch.arange(4000), 32, 0)
    assert float(x.min()) >= 0.0
    assert float(x.max()) < 1.0
    counts = np.bincount((x.numpy() * 64).astype(int).ravel(), minlength=64)
    assert stats.chisquare(counts).pvalue > 1e-4
    flat = x.double() - 0.5
    along, across = (flat[:, 1:] * flat[:, :-1]).mean(), (flat[1:] * flat[:-1]).mean()
    assert max(abs(float(along)), abs(float(across))) < 5 / 12 / x.numel() ** 0.5
    assert abs(float((flat**2).mean()) - 1 / 12) < 5e-4


def test_low_and_high_bits_are_fair() -> None:
    words = rng.bits(0, 0, torch.arange(2000), 8, 0)
    share = torch.stack([((words >> bit) & 1).float().mean() for bit in range(64)])
    assert float((share - 0.5).abs().max()) < 5 * 0.5 / words.numel() ** 0.5


@given(st.integers(1, 300), st.data(), seeds)
@settings(max_examples=60, deadline=None)
def test_choose_gives_distinct_positions(n: int, data: st.DataObject, seed: int) -> None:
    k = data.draw(st.integers(1, n))
    chosen = rng.choose(seed, 0, torch.arange(5), n, k, 0)
    assert chosen.shape == (5, k)
    assert chosen.dtype == torch.int64
    assert int(chosen.min()) >= 0
    assert int(chosen.max()) < n
    assert bool((chosen[:, 1:] > chosen[:, :-1]).all())


def test_choose_takes_the_smallest_keys() -> None:
    """The vectorised partition against a full sort of the same keys, with the index as tie-break."""
    ids = torch.arange(50)
    keys = rng.bits(9, 4, ids, 100, 2)
    order = ((keys >> 7 << 7) | torch.arange(100)).argsort(1)[:, :13].sort(1).values
    assert torch.equal(rng.choose(9, 4, ids, 100, 13, 2), order)


def test_every_position_and_pair_is_equally_likely() -> None:
    n, k, draws = 10, 4, 30_000
    chosen = rng.choose(1, 0, torch.arange(draws), n, k, 0)
    hits = torch.zeros(draws, n).scatter_(1, chosen, 1.0)
    assert stats.chisquare(hits.sum(0).numpy()).pvalue > 1e-4
    together = (hits.T @ hits / draws)[~torch.eye(n, dtype=torch.bool)]
    want = k * (k - 1) / (n * (n - 1))
    assert float((together - want).abs().max()) < 5 * (want * (1 - want) / draws) ** 0.5


def test_consecutive_samples_and_steps_have_unrelated_masks() -> None:
    def overlap(a: Tensor, b: Tensor) -> float:
        return float((a.unsqueeze(2) == b.unsqueeze(1)).sum((1, 2)).double().mean())

    masks = rng.choose(0, 7, torch.arange(5000), 64, 9, 0)
    want, sigma = 81 / 64, 1.0 / 5000**0.5
    assert abs(overlap(masks[1:], masks[:-1]) - want) < 5 * sigma
    assert abs(overlap(masks, rng.choose(0, 8, torch.arange(5000), 64, 9, 0)) - want) < 5 * sigma
    assert abs(overlap(masks, rng.choose(1, 7, torch.arange(5000), 64, 9, 0)) - want) < 5 * sigma
