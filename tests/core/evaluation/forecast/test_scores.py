"""Numbers of predictions on windows made by hand, and intervals that count drives rather than windows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.evaluation.forecast.hand import made
from wfm_cli.core.evaluation.forecast import BESIDE_NAMES
from wfm_cli.core.evaluation.forecast.beside import BESIDE
from wfm_cli.core.evaluation.forecast.scores import (
    Resampled,
    measure_beams,
    measure_positions,
    measure_rssi,
    summarise,
)
from wfm_cli.core.recipe.forecast import ForecastBlock

FEW = ForecastBlock(epochs=1, min_steps=2, looks=1, batch_size=8)


def means(measured):
    return {name: one["mean"] for name, one in summarise(measured, Resampled(np.zeros(4, int), 0)).items()}


def test_positions():
    windows = made()
    predicted = windows.ahead(windows.position)[windows.test] + np.array([[3.0, 4.0], [0.0, 1.0]])
    found = summarise(measure_positions(predicted[None], windows), Resampled(windows.sequence[windows.test], 50))
    assert found["ade"]["mean"] == pytest.approx(3.0)
    assert found["fde"]["mean"] == pytest.approx(1.0)
    assert found["ade"]["horizon"]["mean"] == pytest.approx([5.0, 1.0])
    assert found["ade"]["boot"] == pytest.approx([3.0, 3.0])  # every window errs alike
    assert found["ade"]["half_width"] is None


def test_beams():
    windows = made()
    true = windows.ahead(windows.beam)[windows.test]
    right = np.eye(windows.beams)[true]
    assert means(measure_beams(right[None], windows)) == pytest.approx(
        {"top1": 100, "top3": 100, "power_loss": 0, "dba": 100}, rel=0.2, abs=1e-6
    )
    beside = -np.abs(np.arange(windows.beams) - (true[..., None] + 0.6))  # the next beam first, then the true one
    found = means(measure_beams(beside[None], windows))
    assert found["top1"] == 0
    assert found["top3"] == 100
    assert found["power_loss"] == pytest.approx(1.0)  # powers fall by 1 dB per beam


def test_rssi_states_both_means():
    windows = made()
    true = windows.ahead(windows.power_db)[windows.test].mean(-1)
    wrong = np.zeros_like(true)
    wrong[0] = [3.0, 4.0]
    found = means(measure_rssi((true + wrong)[None], windows))
    count = len(true)
    assert found["rssi_mae"] == pytest.approx(7 / (2 * count), rel=1e-5)
    assert found["rssi_rmse"] == pytest.approx((25 / (2 * count)) ** 0.5, rel=1e-5)
    assert found["rssi_rmse_window"] == pytest.approx(12.5**0.5 / count, rel=1e-5)


def test_intervals_resample_drives_and_trainings():
    values = np.repeat([0.0, 1.0], 50)[None]  # two drives of fifty windows each
    low, high = Resampled(np.repeat([0, 1], 50), 400).interval(values, root=False)
    assert (low, high) == (0.0, 1.0)  # as if there were two samples, not a hundred
    low, high = Resampled(np.arange(100), 400).interval(values, root=False)
    assert 0.35 < low < 0.5 < high < 0.65
    two = np.stack([np.zeros(100), np.ones(100)])  # two trainings that differ, windows that do not
    low, high = Resampled(np.arange(100), 400).interval(two, root=False)
    assert (low, high) == (0.0, 1.0)


def test_every_name_has_a_row():
    assert {task: tuple(rows) for task, rows in BESIDE.items()} == BESIDE_NAMES


@pytest.mark.parametrize(
    ("task", "name", "metric", "value"),
    [
        ("localisation", "constant_velocity", "ade", 0.0),
        ("localisation", "constant_velocity_s", "ade", 0.0),
        ("localisation", "last_position", "ade", 1.5 * 5**0.5),
        ("localisation", "last_position", "fde", 2 * 5**0.5),
        ("beam_prediction", "last_beam", "top1", 0.0),
        ("beam_prediction", "last_beam", "power_loss", 1.5),
        ("beam_prediction", "last_power", "top1", 0.0),
        ("rssi_prediction", "last_power", "rssi_mae", 0.0),
    ],
)
def test_naive_rows_on_a_straight_drive(task, name, metric, value):
    windows = made()
    predicted, trained = BESIDE[task][name].predict(windows, FEW, 0)
    measure = {"localisation": measure_positions, "beam_prediction": measure_beams, "rssi_prediction": measure_rssi}
    found = means(measure[task](predicted[None, windows.test], windows))
    assert found[metric] == pytest.approx(value, abs=2e-2 if task == "rssi_prediction" else 1e-9)
    assert trained == 0


def test_the_kalman_filter_finds_a_straight_drive():
    windows = made()
    predicted, _ = BESIDE["localisation"]["kalman"].predict(windows, FEW, 0)
    assert means(measure_positions(predicted[None, windows.test], windows))["ade"] < 0.05


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in BESIDE for name in ("ar", "gru", "transformer")])
def test_trained_rows_predict_every_window(task, name):
    windows = made()
    predicted, trained = BESIDE[task][name].predict(windows, FEW, 0)
    shape = {"localisation": (2,), "beam_prediction": (windows.beams,), "rssi_prediction": ()}[task]
    assert predicted.shape == (len(windows.index), windows.horizon, *shape)
    assert np.isfinite(predicted).all()
    assert trained > 0


def test_training_starts_at_the_coarse_estimate_and_keeps_the_best():
    """Numbers are never worse on validation than before the first step."""
    windows = made()
    for task, kind in (("localisation", "ar"), ("rssi_prediction", "gru")):
        predicted, _ = BESIDE[task][kind].predict(windows, FEW.model_copy(update={"baseline_lr": 100.0}), 0)
        assert np.isfinite(predicted).all()
