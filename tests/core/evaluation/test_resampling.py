"""The fast bootstrap resamples and scores exactly like the general one."""

from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.evaluation.metrics import ClassPredictions, ValuePredictions
from wfm_cli.core.evaluation.resampling import bootstrap, resampled_weights
from wfm_cli.core.evaluation.statistics import bootstrap_interval


@pytest.fixture
def predictions() -> ClassPredictions:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 80)
    guesses = np.where(rng.random((3, 80)) < 0.6, labels, rng.integers(0, 5, (3, 80)))
    return ClassPredictions(labels, guesses, None, 5)


@pytest.mark.parametrize("name", ["macro_f1", "weighted_f1", "pca", "top1"])
def test_intervals_equal_the_general_bootstrap(predictions: ClassPredictions, name: str) -> None:
    def score(y, pred):
        return float(ClassPredictions(y, pred, None, 5).scores()[name].mean())

    slow = bootstrap_interval(score, predictions.labels, predictions.guesses, 200, 7)
    assert bootstrap(predictions, 200, 7)[name] == pytest.approx(slow)


def test_weights_are_whole_test_sets_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resampled_weights(30, 50, 3)), axis=1)
    monkeypatch.setattr("wfm_cli.core.evaluation.resampling._CHUNK_ELEMENTS", 100)
    chunks = list(resampled_weights(30, 50, 3))
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks, axis=1), whole)
    np.testing.assert_array_equal(whole.sum(0), np.full(50, 30))


def test_the_interval_of_a_mean_distance_is_the_normal_one() -> None:
    distance = np.random.default_rng(0).exponential(size=(1, 4000, 1))
    lo, hi = bootstrap(ValuePredictions(np.zeros((4000, 1)), distance), 1000)["mean_distance"]
    error = 1.96 * distance.std() / np.sqrt(4000)
    assert (hi - lo) / 2 == pytest.approx(error, rel=0.1)
    assert lo < distance.mean() < hi


def test_no_resamples_give_no_intervals(predictions: ClassPredictions) -> None:
    assert bootstrap(predictions, 0) == {}
