"""Heads on latents: what they start from, that they learn, and what a missing history does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.evaluation.forecast.hand import dropped, made
from wfm_cli.core.evaluation.forecast.fit import (
    BeamTask,
    Latents,
    PositionTask,
    PowerTask,
    fit_guided,
    fit_position,
)
from wfm_cli.core.evaluation.forecast.guide import Guide
from wfm_cli.core.evaluation.forecast.metrics import displacement, top
from wfm_cli.core.recipe.forecast import ForecastBlock

BLOCK = ForecastBlock(epochs=1, min_steps=120, looks=4, batch_size=28, lr=3e-3)


def unguided(windows):
    return Guide.of(windows, 8, 1.0).rows(None, len(windows.index))


NOTHING = ForecastBlock(epochs=0.01, min_steps=1, looks=1, lr=1e-9)


def telling(windows) -> Latents:
    """Latents that say where the vehicle will be, beside noise."""
    ahead = windows.ahead(windows.position)
    noise = np.random.default_rng(0).standard_normal((*ahead.shape[:2], 6))
    return Latents(np.concatenate([ahead, noise], -1).astype(np.float32), windows.train)


def blind(windows) -> Latents:
    noise = np.random.default_rng(1).standard_normal((len(windows.index), windows.horizon, 8))
    return Latents(noise.astype(np.float32), windows.train)


def error(windows, predicted) -> float:
    return float(displacement(predicted[windows.val], windows.ahead(windows.position)[windows.val]).mean())


def test_a_known_history_is_continued_at_constant_velocity_from_the_start():
    windows = made()
    predicted = fit_position(blind(windows), PositionTask(windows, known=True), NOTHING, 0)
    np.testing.assert_allclose(predicted, windows.ahead(windows.position), atol=1e-4)


def test_dropped_frames_spoil_velocities_per_frame_and_not_those_per_second():
    windows = dropped()
    for motion, least, most in (("second", 0.0, 1e-9), ("frame", 0.3, 9.0)):
        task = PositionTask(windows, True, motion)
        assert least <= error(windows, task.coarse) <= most
        assert error(windows, fit_position(blind(windows), task, NOTHING, 0)) == pytest.approx(
            error(windows, task.coarse), abs=1e-3
        )


def test_without_a_history_the_latents_have_to_tell():
    windows = made()
    task = PositionTask(windows, known=False)
    told = error(windows, fit_position(telling(windows), task, BLOCK, 0))
    untold = error(windows, fit_position(blind(windows), task, BLOCK, 0))
    assert told < 0.6 * untold


def test_beams_are_learnt_from_latents_and_from_the_guide():
    windows = made()
    task, true = BeamTask(windows), windows.ahead(windows.beam)
    none = unguided(windows)
    guide = Guide.of(windows, 8, 1.0).rows(windows.ahead(windows.position), len(windows.index))
    silent = Latents(np.zeros((*guide.shape[:2], 8), np.float32), windows.train)
    hits = {}
    for name, latents, given in (
        ("told", telling(windows), none), ("guided", silent, guide), ("blind", silent, none),
    ):  # fmt: skip
        scores = fit_guided(latents, task, given, BLOCK, 0)
        hits[name] = top(scores[windows.val], true[windows.val], 3).mean()
    assert min(hits["told"], hits["guided"]) > hits["blind"] + 0.1
    assert not none.any()


def test_powers_start_from_the_last_ones():
    windows = made()
    predicted = fit_guided(blind(windows), PowerTask(windows, known=True), unguided(windows), NOTHING, 0)
    last = np.repeat(windows.seen(windows.power_db)[:, -1:], windows.horizon, 1)
    np.testing.assert_allclose(predicted, last, atol=1e-3)
    alone = fit_guided(telling(windows), PowerTask(windows, known=False), unguided(windows), BLOCK, 0)
    true = windows.ahead(windows.power_db)
    assert np.abs(alone - true)[windows.val].mean() < np.abs(true - true[windows.train].mean())[windows.val].mean()


def test_latents_are_standardised_over_the_training_windows():
    windows = made()
    latents = telling(windows)
    rows = latents.values.numpy()[windows.train]
    assert rows.mean((0, 1)) == pytest.approx(np.zeros(8), abs=1e-5)
    assert rows.std((0, 1)) == pytest.approx(np.ones(8), abs=1e-4)


def test_the_guide_has_so_many_times_the_deviation_of_all_latents():
    windows = made()
    true = windows.ahead(windows.position)
    told = Guide.of(windows, 32, 3.0).rows(true, len(windows.index))[windows.train].numpy()
    np.testing.assert_allclose(told.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(told.std((0, 1)) ** 2, 9 * 32 / 2, rtol=1e-3)
    # a metre stays a metre: differences are those of the positions
    step = (told[1] - told[0]) / (true[windows.train][1] - true[windows.train][0])
    np.testing.assert_allclose(step, np.broadcast_to(step[0], step.shape), rtol=1e-2)
