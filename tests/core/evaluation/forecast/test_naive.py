from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.evaluation.forecast import metrics
from wfm_cli.core.evaluation.forecast.kalman import Noise, _advance, predict_ctrv
from wfm_cli.core.evaluation.forecast.naive import (
    PathLoss,
    constant_velocity,
    last_value,
    most_frequent,
    nearest,
    one_hot,
)

T, K = 8, 5


def circle(omega, v=8.0, dt=0.1, steps=T + K, count=3):
    psi = np.linspace(0, 5, count)[:, None] + omega * dt * np.arange(steps)
    if omega:
        x, y = v / omega * np.sin(psi), -v / omega * np.cos(psi)
    else:
        x, y = (v * dt * np.arange(steps) * f(psi) for f in (np.cos, np.sin))
    return np.stack([x, y], -1), np.broadcast_to(dt * np.arange(steps), (count, steps))


def test_constant_velocity_is_exact_on_a_line_and_off_by_the_closed_form_on_a_circle():
    line, time = circle(0.0)
    assert np.allclose(constant_velocity(line[:, :T], K), line[:, T:])
    assert np.allclose(constant_velocity(line[:, :T], K, time), line[:, T:])
    turn, _ = circle(1.0)
    step = turn[:, T - 1] - turn[:, T - 2]
    error = np.linalg.norm(turn[:, T] - (turn[:, T - 1] + step), axis=1)
    assert metrics.displacement(constant_velocity(turn[:, :T], K), turn[:, T:])[:, 0] == pytest.approx(error)


def test_time_counts_in_seconds():
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.uniform(0.05, 0.2, (6, T + K)), 1)
    position = time[..., None] * [3.0, -2.0]
    assert np.allclose(constant_velocity(position[:, :T], K, time), position[:, T:])
    assert not np.allclose(constant_velocity(position[:, :T], K), position[:, T:])
    time[:, T - 2] = time[:, T - 1]  # a stamp given twice
    assert np.allclose(constant_velocity(time[:, :T, None] * [3.0, -2.0], K, time), time[:, T:, None] * [3.0, -2.0])
    still = np.ones((2, T, 2))
    assert np.allclose(constant_velocity(still, K, np.zeros((2, T + K))), 1)


@pytest.mark.parametrize("omega", [0.0, 0.6, -1.2])
def test_the_filter_follows_turns(omega):
    track, time = circle(omega)
    error = metrics.displacement(predict_ctrv(track[:, :T], time, K), track[:, T:])
    straight = metrics.displacement(constant_velocity(track[:, :T], K), track[:, T:])
    assert error.max() < 0.35
    if abs(omega) > 1:
        assert error[:, -1].mean() < 0.5 * straight[:, -1].mean()


def test_the_jacobian_is_the_derivative():
    rng = np.random.default_rng(1)
    dt = np.array([0.1, 0.3])
    for omega in (0.7, 0.0):
        state = rng.normal(size=(2, 5))
        state[:, 4] = omega
        base, spread = _advance(state, np.zeros((2, 5, 5)), dt, Noise(0, 0))
        assert np.allclose(spread, 0)
        numeric = np.zeros((2, 5, 5))
        for i in range(5):
            nudged = state.copy()
            nudged[:, i] += 1e-3
            numeric[:, :, i] = (_advance(nudged, np.zeros((2, 5, 5)), dt, Noise(0, 0))[0] - base) / 1e-3
        _, squared = _advance(state, np.broadcast_to(np.eye(5), (2, 5, 5)), dt, Noise(0, 0))
        assert np.allclose(squared, numeric @ numeric.transpose(0, 2, 1), atol=5e-3)


def test_last_value_and_counts():
    history = np.arange(12.0).reshape(2, 3, 2)
    assert np.array_equal(last_value(history, 2), history[:, [2, 2]])
    scores = one_hot(np.array([[3, 0]]), 6)
    assert scores.argmax(-1).tolist() == [[3, 0]]
    assert np.argsort(-scores[0, 1], kind="stable").tolist() == [0, 1, 2, 3, 4, 5]
    assert most_frequent(np.array([[1, 1], [2, 1]]), 4).tolist() == [0, 3, 1, 0]


def test_nearest_positions():
    rng = np.random.default_rng(2)
    known, seen = rng.normal(size=(50, 2)), rng.normal(size=(50, 3))
    asked = rng.normal(size=(7, 2))
    for neighbours in (1, 4):
        made = nearest(asked, known, seen, neighbours, block=3)
        for row, place in zip(made, asked, strict=True):
            order = np.argsort(np.linalg.norm(known - place, axis=1))[:neighbours]
            assert np.allclose(row, seen[order].mean(0))
    assert nearest(known, known, seen) == pytest.approx(seen)


def test_top_and_power_loss_and_dba():
    scores = np.array([[[0.1, 0.9, 0.5, 0.5]]])
    for beam, rank in ((1, 1), (2, 2), (3, 3), (0, 4)):
        true = np.array([[beam]])
        assert [float(metrics.top(scores, true, n)[0, 0]) for n in (1, 2, 3, 4)] == [
            float(n >= rank) for n in (1, 2, 3, 4)
        ]
    power = np.array([[[-3.0, -5.0, np.nan, -1.0]]])
    assert metrics.power_loss(scores, power)[0, 0] == 4.0
    assert metrics.power_loss(scores[..., ::-1], power)[0, 0] == 4.0  # a beam that was not measured counts as weakest
    order = np.zeros((1, 1, 20))
    order[0, 0, [7, 2, 12]] = [3, 2, 1]
    wanted = np.mean([1 - min(3 / 5, 1), 1 - min(3 / 5, 2 / 5), 1 - min(3 / 5, 2 / 5, 8 / 5)])
    assert metrics.distance_based_accuracy(order, np.array([[4]]))[0, 0] == pytest.approx(wanted)


def test_two_means_of_rmse():
    predicted, true = np.array([[0.0, 0.0], [3.0, 4.0]]), np.zeros((2, 2))
    assert metrics.rmse_of_windows(predicted, true).tolist() == [0, np.sqrt(12.5)]
    assert np.sqrt(np.square(metrics.absolute(predicted, true)).mean()) == 2.5
    assert metrics.rssi(np.array([[-10.0, -20.0, np.nan]])) == pytest.approx(-15.0)


def test_lda_rank_counts_the_directions_that_tell_samples_apart():
    rng = np.random.default_rng(3)
    centre = np.zeros((200, 1, 12))
    centre[:, 0, :3] = 10 * rng.normal(size=(200, 3))
    assert metrics.lda_rank(centre + 0.1 * rng.normal(size=(200, 4, 12))) == pytest.approx(3, abs=0.3)
    assert metrics.lda_rank(np.zeros((5, 4, 3))) == 0


def test_path_loss_finds_the_line_and_stands_on_one_distance() -> None:
    rng = np.random.default_rng(4)
    position = rng.uniform(-60, 60, (50, 3, 2))
    power = -31.0 - 27.5 * np.log10(np.linalg.norm(position, axis=-1).clip(1.0))
    line = PathLoss.of(position, power)
    assert (line.level, line.slope) == pytest.approx((-31.0, -27.5))
    assert np.allclose(line.at(position), power)
    there = np.full((4, 2), 3.0)
    assert PathLoss.of(there, np.arange(4.0)) == PathLoss(1.5, 0.0)
    assert np.isfinite(line.at(np.zeros((1, 2)))).all()
