"""Low-rank completion: exact on low-rank channels, blind to what is hidden, and as strong as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.fakes.cities import CITIES, city_channels
from wfm_cli.core.signal.completion import rank_completion, rank_completions


def paths(batch: int, rank: int, antennas: int = 16, subcarriers: int = 12, seed: int = 0) -> Tensor:
    """Channels of `rank` plane waves with well separated angles and delays."""
    rng = np.random.default_rng(seed)
    spread = np.arange(rank) / max(rank, 2)
    angle = (rng.uniform(0, 0.2, (batch, rank)) + spread)[..., None] * np.arange(antennas)
    delay = (rng.uniform(0, 0.2, (batch, rank)) + spread)[..., None] * np.arange(subcarriers)
    gain = rng.uniform(0.5, 2, (batch, rank)) * np.exp(2j * np.pi * rng.random((batch, rank)))
    return torch.from_numpy(np.einsum("br,bra,brk->bak", gain, np.exp(2j * np.pi * angle), np.exp(-2j * np.pi * delay)))


def holes(h: Tensor, share: float, seed: int = 0) -> Tensor:
    return torch.rand(h.shape, generator=torch.Generator().manual_seed(seed)) < share


def nmse_db(guess: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    error = ((guess - truth).abs().square() * hidden).sum((1, 2))
    return 10 * torch.log10(error / (truth.abs().square() * hidden).sum((1, 2)))


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e6])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_low_rank_channels_are_recovered(rank: int, scale: float) -> None:
    h = paths(20, rank) * scale
    hidden = holes(h, 0.3)
    assert float(nmse_db(rank_completion(h, hidden, rank, 60), h, hidden).max()) < -70
    assert rank_completion(h.to(torch.complex64), hidden, rank).dtype == torch.complex64


def test_real_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(5, 20, 2, generator=generator) @ torch.randn(5, 2, 15, generator=generator)
    hidden = holes(h, 0.3)
    guess = rank_completion(h, hidden, 2, 60)
    assert guess.dtype == torch.float32
    assert float(nmse_db(guess, h, hidden).max()) < -70


@given(st.integers(0, 99), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_hidden_entries_are_never_looked_at(seed: int, rank: int) -> None:
    h = paths(3, 3, 8, 6, seed)
    hidden = holes(h, 0.4, seed)
    poisoned = torch.where(hidden, torch.full_like(h, 1e30), h)
    assert torch.equal(rank_completion(h, hidden, rank), rank_completion(poisoned, hidden, rank))


def test_samples_do_not_feel_each_other() -> None:
    h = paths(6, 3)
    hidden = holes(h, 0.3)
    whole = rank_completion(h, hidden, 2)
    torch.testing.assert_close(rank_completion(h[4:5], hidden[4:5], 2), whole[4:5], rtol=1e-6, atol=1e-6)


def test_fit_is_least_squares_on_visible_entries() -> None:
    """With nothing hidden the fit is the truncated singular value decomposition (Eckart and Young)."""
    h = torch.randn(4, 9, 7, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    u, s, v = torch.linalg.svd(h, full_matrices=False)
    best = (u[..., :2] * s[:, None, :2]) @ v[:, :2]
    guess = rank_completion(h, torch.zeros_like(h, dtype=torch.bool), 2, 200)
    torch.testing.assert_close(guess, best, rtol=0, atol=1e-3)


def test_empty_rows_become_zero_and_nothing_is_nan() -> None:
    h = paths(3, 2)
    hidden = torch.zeros(h.shape, dtype=torch.bool)
    hidden[0, 3] = True
    hidden[1] = True
    h[2] = 0
    guess = rank_completion(h, hidden, 2)
    assert bool(torch.isfinite(torch.view_as_real(guess)).all())
    assert torch.count_nonzero(guess[0, 3]) == 0
    assert torch.count_nonzero(guess[1:]) == 0
    assert float(nmse_db(guess[:1], h[:1], ~hidden[:1]).max()) < -100


def test_all_ranks_at_once() -> None:
    h = paths(5, 3)
    hidden = holes(h, 0.3)
    together = rank_completions(h, hidden, 3)
    assert all(torch.equal(fit, rank_completion(h, hidden, rank)) for rank, fit in enumerate(together, 1))


def test_higher_rank_fits_noiseless_channels_better() -> None:
    h = paths(40, 3)
    hidden = holes(h, 0.15)
    medians = [float(nmse_db(rank_completion(h, hidden, rank), h, hidden).median()) for rank in (1, 2, 3)]
    assert medians[0] > medians[1] + 1
    assert medians[1] > medians[2] + 20


def hide_rows(batch: int) -> Tensor:
    """LWM v1.0: nine of the 64 half antenna rows."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(batch, 64, generator=generator).argsort(1)[:, :9]
    return torch.zeros(batch, 64, dtype=torch.bool).scatter(1, rows, True).repeat_interleave(16, 1).view(-1, 32, 32)


def hide_blocks(batch: int) -> Tensor:
    """LWM v1.1: 40 % of the 4x4 blocks."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand(batch, 64, generator=generator).argsort(1)[:, :25]
    mask = torch.zeros(batch, 64, dtype=torch.bool).scatter(1, blocks, True).view(-1, 8, 8)
    return mask.repeat_interleave(4, 1).repeat_interleave(4, 2)


@pytest.mark.real
def test_published_masks_on_ray_traced_channels(real_data: Path) -> None:
    """The reference figures of the pretext task.

    Measured elsewhere with a plain iterated SVD over six cities, median dB for half rows and blocks: rank one -13.9 and
    -27.7, rank two -22.3 and -44.4. Alternating least squares converges further: rank two must be at least as good.
    """
    h = torch.view_as_complex(torch.cat([city_channels(real_data, city, every=8) for city in CITIES]))
    median = {
        (name, rank): float(nmse_db(rank_completion(h, hidden, rank), h, hidden).median())
        for name, hidden in (("rows", hide_rows(len(h))), ("blocks", hide_blocks(len(h))))
        for rank in (1, 2)
    }
    assert median["rows", 1] == pytest.approx(-13.9, abs=2)
    assert median["blocks", 1] == pytest.approx(-27.7, abs=6)
    assert -35 < median["rows", 2] < -22.3
    assert median["blocks", 2] < -44.4
