"""The heads of beams and powers without an encoder: what they make of the position alone."""

from __future__ import annotations

import numpy as np

from wfm_cli.core.evaluation.forecast.fit import BeamTask, Latents, PowerTask, fit_guided
from wfm_cli.core.evaluation.forecast.given import Given, Predicted
from wfm_cli.core.evaluation.forecast.guide import Guide
from wfm_cli.core.evaluation.forecast.metrics import rssi
from wfm_cli.core.evaluation.forecast.naive import straight_on
from wfm_cli.core.models.counting import parameters


def beams_of_position(given: Given) -> Predicted:
    """Scores (W, K, beams) of the beam head where constant velocity leads; what an encoder adds is above this."""
    return _fit(given, BeamTask(given.windows))


def rssi_of_position(given: Given) -> Predicted:
    """RSSI (W, K) of the power head, from the last powers and where constant velocity leads."""
    powers, count = _fit(given, PowerTask(given.windows, known=True))
    return rssi(powers), count


def _fit(given: Given, task: BeamTask | PowerTask) -> Predicted:
    windows, block = given.windows, given.block
    silent = Latents(np.zeros((len(windows.index), windows.horizon, 1), np.float32), windows.train)
    guide = Guide.of(windows, silent.dim, block.guide_weight)
    told = guide.rows(straight_on(windows, block.motion), len(windows.index))
    return fit_guided(silent, task, told, block, given.seed), parameters(task.head(silent.dim))
