"""Heads without an encoder: they learn from the position, and know nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np

from tests.core.evaluation.forecast.hand import made
from wfm_cli.core.evaluation.forecast.alone import beams_of_position, rssi_of_position
from wfm_cli.core.evaluation.forecast.given import Given
from wfm_cli.core.evaluation.forecast.metrics import rssi, top
from wfm_cli.core.evaluation.forecast.naive import last_value, most_frequent
from wfm_cli.core.recipe.forecast import ForecastBlock

BLOCK = ForecastBlock(epochs=1, min_steps=120, looks=4, batch_size=28, lr=3e-3)


def test_beams_are_learnt_from_the_position() -> None:
    windows = made()
    scores, count = beams_of_position(Given(windows, BLOCK, 0, None))
    true = windows.ahead(windows.beam)[windows.val]
    frequent = np.broadcast_to(most_frequent(windows.beam[windows.train], windows.beams), scores[windows.val].shape)
    assert top(scores[windows.val], true, 3).mean() > top(frequent, true, 3).mean() + 0.1
    assert count > 1_000_000


def test_only_where_constant_velocity_leads_is_seen() -> None:
    windows = made()
    other = dataclasses.replace(windows, position=windows.position.copy())
    other.position[windows.test, windows.history :] += 100.0
    for predict in (beams_of_position, rssi_of_position):
        mine, others = (predict(Given(each, BLOCK, 0, None))[0][windows.test] for each in (windows, other))
        np.testing.assert_array_equal(mine, others)


def test_powers_start_from_the_last_ones() -> None:
    windows = made()
    nothing = BLOCK.model_copy(update={"min_steps": 1, "epochs": 0.01, "lr": 1e-9, "looks": 1})
    predicted, _ = rssi_of_position(Given(windows, nothing, 0, None))
    np.testing.assert_allclose(predicted, rssi(last_value(windows.seen(windows.power_db), windows.horizon)), atol=1e-3)
