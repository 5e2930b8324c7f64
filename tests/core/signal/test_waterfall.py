"""Waterfalls: levels of tones, places of bursts, coverage of long recordings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfm_cli.core.signal.waterfall import (
    FLOOR_DBFS,
    coarse,
    colour_range,
    column_powers,
    dbfs,
    frame_starts,
    frames_for,
)


def test_a_full_scale_tone_at_a_bin_is_0_dbfs() -> None:
    tone = np.exp(2j * np.pi * 5 / 64 * np.arange(64 * 12)).reshape(4, 3, 64)
    level = dbfs(column_powers(tone))
    assert level.shape == (4, 64)
    assert level.argmax(1).tolist() == [32 + 5] * 4
    assert level.max(1) == pytest.approx(0, abs=1e-4)
    assert level[:, 0] == pytest.approx(FLOOR_DBFS, abs=1e-3)


def test_what_is_not_finite_counts_as_nothing() -> None:
    assert np.isfinite(column_powers(np.full((2, 1, 8), np.nan + 0j))).all()


@given(st.integers(1, 10**12), st.integers(1, 600))
def test_frames_lie_inside_and_reach_both_ends(samples: int, most: int) -> None:
    columns, frames, bins = frames_for(samples, most)
    bins = min(bins, samples)
    assert 1 <= columns <= most
    assert 1 <= frames <= 8
    starts = frame_starts(samples, columns, frames, bins)
    assert starts.shape == (columns, frames)
    assert starts[0, 0] == 0
    assert (np.diff(starts.ravel()) >= 0).all()
    assert starts[-1, -1] + bins <= samples
    if columns * frames > 1:
        assert starts[-1, -1] + bins == samples


def test_short_frames_where_there_are_few_samples_and_long_ones_where_there_are_many() -> None:
    assert frames_for(100, 400)[2] == 8
    assert frames_for(10**9, 400)[2] == 512
    assert frames_for(10**9, 400)[:2] == (400, 8)


def test_coarse_cells_hold_the_mean_power() -> None:
    fine = dbfs(np.array([[1.0, 3.0, 8.0], [1.0, 3.0, 0.0]]))
    assert 10 ** (coarse(fine, 1, 1) / 10) == pytest.approx(16 / 6, rel=1e-5)
    assert 10 ** (coarse(fine, 2, 3) / 10) == pytest.approx(np.array([[1, 3, 8], [1, 3, 0]]), rel=1e-5, abs=1e-12)
    assert coarse(fine, 50, 50).shape == (2, 3)


def test_colours_span_bulk_and_strong_cells_whatever_is_there() -> None:
    cells = np.full((50, 50), -70, np.float32)
    cells[:5, :5] = -20
    cells[-3:] = FLOOR_DBFS
    assert colour_range(cells) == (-70, -20)
    assert colour_range(cells, span=30) == (-50, -20)
    low, high = colour_range(np.full((4, 4), FLOOR_DBFS, np.float32))
    assert low < high
    low, high = colour_range(np.full((4, 4), -30, np.float32))
    assert low < high == -30
