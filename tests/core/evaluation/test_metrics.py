"""Scores against values worked out by hand and against the plain definitions, one class at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.evaluation.forecast import hand
from wfm_cli.core.evaluation.forecast.scores import MEASURES
from wfm_cli.core.evaluation.metrics import METRICS, ClassPredictions, ValuePredictions


def class_scores(labels, guesses, classes, top3=None, weights=None):
    table = ClassPredictions(np.asarray(labels), np.atleast_2d(guesses), top3, classes).scores(weights)
    return {name: values[0] for name, values in table.items()}


def plain(labels: np.ndarray, guesses: np.ndarray, classes: int) -> dict[str, float]:
    """The textbook definitions, class by class."""
    f1, recall, support = [], [], []
    for c in range(classes):
        hits, truths, said = np.sum((labels == c) & (guesses == c)), np.sum(labels == c), np.sum(guesses == c)
        if truths + said:
            precision = hits / said if said else 0.0
            found = hits / truths if truths else 0.0
            f1.append(2 * precision * found / (precision + found) if precision + found else 0.0)
            support.append(truths)
        if truths:
            recall.append(hits / truths)
    return {
        "macro_f1": 100 * np.mean(f1),
        "weighted_f1": 100 * np.sum(np.array(f1) * support) / len(labels),
        "pca": 100 * np.mean(recall),
        "top1": 100 * np.mean(labels == guesses),
    }


def test_class_scores_worked_out_by_hand() -> None:
    # Confusion: class 0: 3 of 4 right, one said 1; class 1: 1 of 2 right, one said 2; class 2 absent from the truth.
    scores = class_scores([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 2], 3)
    f1 = [2 * 3 / (4 + 3), 2 * 1 / (2 + 2), 0.0]
    assert scores["macro_f1"][0] == pytest.approx(100 * sum(f1) / 3)
    assert scores["weighted_f1"][0] == pytest.approx(100 * (4 * f1[0] + 2 * f1[1]) / 6)
    assert scores["pca"][0] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)  # class 2 does not occur
    assert scores["top1"][0] == pytest.approx(100 * 4 / 6)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_class_scores_equal_the_textbook(data: st.DataObject) -> None:
    classes, n, seeds = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    labels, guesses = rng.integers(0, classes, n), rng.integers(0, classes, (seeds, n))
    scores = class_scores(labels, guesses, classes)
    for seed in range(seeds):
        for name, value in plain(labels, guesses[seed], classes).items():
            assert scores[name][seed] == pytest.approx(value)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_a_weight_is_a_repetition_of_the_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    times = rng.integers(0, 4, n)
    times[rng.integers(n)] += 1
    labels, guesses, top3 = rng.integers(0, 5, n), rng.integers(0, 5, (2, n)), rng.random((2, n)) < 0.5
    repeat = np.repeat(np.arange(n), times)
    weighted = ClassPredictions(labels, guesses, top3, 5).scores(times[:, None].astype(np.float32))
    repeated = ClassPredictions(labels[repeat], guesses[:, repeat], top3[:, repeat], 5).scores()
    for name in weighted:
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-6)
    truth, estimate = rng.normal(size=(n, 3)), rng.normal(size=(2, n, 3))
    weighted = ValuePredictions(truth, estimate).scores(times[:, None].astype(np.float32))
    repeated = ValuePredictions(truth[repeat], estimate[:, repeat]).scores()
    for name in weighted:
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-12)


def test_top3_counts_the_truth_among_the_three_best() -> None:
    top3 = np.array([[True, False, True, True]])
    assert class_scores([0, 1, 2, 3], [[0, 0, 0, 0]], 4, top3)["top3"][0] == pytest.approx(75.0)


def test_distances_worked_out_by_hand() -> None:
    truth = np.zeros((4, 2))
    estimate = np.array([[[3.0, 4.0], [0.0, 0.0], [0.0, 1.0], [2.0, 0.0]]])  # distances 5, 0, 1, 2
    scores = {name: float(values[0, 0]) for name, values in ValuePredictions(truth, estimate).scores().items()}
    assert scores["rmse"] == pytest.approx(np.sqrt((25 + 0 + 1 + 4) / 4))
    assert scores["mae"] == pytest.approx((3 + 4 + 1 + 2) / 8)
    assert scores["mean_distance"] == pytest.approx(2.0)
    assert scores["median_distance"] == pytest.approx(1.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32))
def test_the_median_is_numpys(n: int, seed: int) -> None:
    error = np.abs(np.random.default_rng(seed).normal(size=(2, n, 1)))
    scores = ValuePredictions(np.zeros((n, 1)), error).scores()
    np.testing.assert_allclose(scores["median_distance"][0], np.median(error[..., 0], axis=1))


def test_perfect_guesses_are_perfect_in_every_metric() -> None:
    labels = np.array([0, 1, 2, 3, 3])
    scores = class_scores(labels, labels, 16, np.ones((1, 5), bool))
    assert {name: float(v[0]) for name, v in scores.items()} == dict.fromkeys(scores, 100.0)
    values = ValuePredictions(np.ones((3, 3)), np.ones((1, 3, 3))).scores()
    assert all(float(v[0, 0]) == 0 for v in values.values())


def test_every_score_has_a_meaning() -> None:
    names = set(class_scores([0, 1, 2, 3], [0, 1, 2, 3], 4, np.ones((1, 4), bool)))
    names |= set(ValuePredictions(np.ones((3, 3)), np.ones((1, 3, 3))).scores())
    windows = hand.made()
    shape = (1, len(windows.test), hand.HORIZON)
    for task, ends in (("localisation", (2,)), ("beam_prediction", (hand.BEAMS,)), ("rssi_prediction", ())):
        names |= set(MEASURES[task](np.zeros((*shape, *ends)), windows))
    assert names | {"rank_me", "lda_rank", "parameters_k"} == set(METRICS)
