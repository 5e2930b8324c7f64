"""Intervals against published tables, closed forms and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfm_cli.core.evaluation.statistics import bootstrap_interval, holm, paired_bootstrap, t_interval


def accuracy(y: np.ndarray, pred: np.ndarray) -> float:
    return float((y == pred).mean())


def batched_accuracy(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return (y.reshape(len(y), *[1] * (pred.ndim - 2), -1) == pred).reshape(len(y), -1).mean(1)


@pytest.mark.parametrize(("n", "table"), [(3, 4.303), (5, 2.776), (10, 2.262), (30, 2.045)])
def test_t_interval_uses_the_printed_t_quantiles(n: int, table: float) -> None:
    values = np.linspace(-1.0, 3.0, n)
    mean, half = t_interval(values)
    assert mean == pytest.approx(1.0)
    assert half == pytest.approx(table * values.std(ddof=1) / math.sqrt(n), rel=2e-4)


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7]])
def test_too_few_seeds_have_no_interval_rather_than_zero(values: list[float]) -> None:
    mean, half = t_interval(values)
    assert mean == pytest.approx(0.7)
    assert math.isnan(half)


def test_equal_seeds_have_zero_width() -> None:
    assert t_interval([0.5, 0.5, 0.5, 0.5]) == (0.5, 0.0)


def test_t_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for sample in rng.normal(2.0, 3.0, size=(2000, 4)):
        mean, half = t_interval(sample, level=0.9)
        hits += abs(mean - 2.0) <= half
    assert hits / 2000 == pytest.approx(0.9, abs=0.02)  # three standard errors


@pytest.mark.parametrize("bad", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_interval([1.0, 2.0, 3.0], level=bad)


def test_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        t_interval([])


def test_bootstrap_of_a_share_matches_the_binomial() -> None:
    n, correct = 400, 300
    y = np.ones(n, dtype=np.int64)
    pred = np.r_[np.ones(correct, dtype=np.int64), np.zeros(n - correct, dtype=np.int64)]
    lo, hi = bootstrap_interval(accuracy, y, pred, 4000, seed=1)
    sd = math.sqrt(0.75 * 0.25 / n)
    assert lo == pytest.approx(0.75 - 1.96 * sd, abs=0.004)
    assert hi == pytest.approx(0.75 + 1.96 * sd, abs=0.004)


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        pred = (rng.random(150) < 0.6).astype(np.int64)
        lo, hi = bootstrap_interval(batched_accuracy, np.ones(150, np.int64), pred, 400, seed=trial, batched=True)
        hits += lo <= 0.6 <= hi
    assert 0.91 <= hits / 300 <= 0.98


def test_batched_and_plain_scores_agree_and_take_seeds() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    pred = rng.integers(0, 3, (5, 60))
    plain = bootstrap_interval(lambda t, p: float((t == p).mean()), y, pred, 200, seed=3)
    assert bootstrap_interval(batched_accuracy, y, pred, 200, seed=3, batched=True) == pytest.approx(plain)


def test_bootstrap_is_a_function_of_its_seed_and_not_of_the_chunking(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y, pred = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    whole = bootstrap_interval(accuracy, y, pred, 100, seed=9)
    monkeypatch.setattr("wfm_cli.core.evaluation.statistics._CHUNK_ELEMENTS", 50 * 7)
    assert bootstrap_interval(accuracy, y, pred, 100, seed=9) == pytest.approx(whole)
    assert bootstrap_interval(accuracy, y, pred, 100, seed=10) != pytest.approx(whole)


def test_scores_that_are_nan_are_left_out_and_none_left_is_nan() -> None:
    y = np.array([0, 1, 1, 1, 1, 1])
    lo, hi = bootstrap_interval(lambda t, p: accuracy(t, p) if 0 in t else math.nan, y, y, 100, seed=0)
    assert (lo, hi) == (1.0, 1.0)
    assert all(map(math.isnan, bootstrap_interval(lambda t, p: math.nan, y, y, 10, seed=0)))
    assert all(map(math.isnan, bootstrap_interval(accuracy, y, y, 0, seed=0)))


@pytest.mark.parametrize(("y", "pred"), [([], []), ([1, 2], [1, 2, 3]), ([[1]], [[1]])])
def test_shapes_that_do_not_pair_are_errors(y: list[int], pred: list[int]) -> None:
    with pytest.raises(ValueError, match=r"samples?"):
        bootstrap_interval(accuracy, y, pred, 10, seed=0)


def test_paired_difference_is_sharper_than_two_intervals() -> None:
    rng = np.random.default_rng(4)
    y = np.ones(500, np.int64)
    base = (rng.random(500) < 0.7).astype(np.int64)
    better = base.copy()
    better[np.flatnonzero(base == 0)[:15]] = 1  # three points better on the same users
    result = paired_bootstrap(accuracy, y, better, base, 1000, seed=0)
    assert result.mean == pytest.approx(0.03)
    assert 0 < result.lo < 0.03 < result.hi
    assert result.p < 0.01
    lo, _ = bootstrap_interval(accuracy, y, better, 1000, seed=0)
    _, hi = bootstrap_interval(accuracy, y, base, 1000, seed=0)
    assert lo < hi  # unpaired intervals overlap


def test_no_difference_has_p_one_and_swapping_flips_the_sign() -> None:
    rng = np.random.default_rng(4)
    y, a, b = rng.integers(0, 2, (3, 80))
    assert paired_bootstrap(accuracy, y, a, a, 100, seed=0).p == 1.0
    forth, back = (paired_bootstrap(accuracy, y, *pair, 300, seed=0) for pair in ((a, b), (b, a)))
    assert forth.mean == pytest.approx(-back.mean)
    assert (forth.lo, forth.p) == (pytest.approx(-back.hi), back.p)
    with pytest.raises(ValueError, match="resample"):
        paired_bootstrap(accuracy, y, a, b, 0, seed=0)


def test_paired_p_values_are_uniform_enough_under_no_difference() -> None:
    rng = np.random.default_rng(11)
    rejected = 0
    for trial in range(200):
        a, b = (rng.random((2, 120)) < 0.6).astype(np.int64)
        rejected += paired_bootstrap(batched_accuracy, np.ones(120), a, b, 300, seed=trial, batched=True).p < 0.05
    assert rejected / 200 <= 0.10


def test_holm_matches_the_worked_example() -> None:
    # Four tests: 0.005*4, 0.01*3, 0.03*2, 0.04*1 -> the last is lifted to the running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).size == 0
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(raw: list[float]) -> None:
    p, adjusted = np.array(raw), holm(raw)
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= np.minimum(1.0, p * p.size) + 1e-15)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(adjusted[order]) >= 0)
