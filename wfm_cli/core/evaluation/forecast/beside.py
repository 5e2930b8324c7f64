"""Rows that stand beside every encoder in predictive tasks: naive predictions, and networks on one sensor's history
or on the last picture and position.

Table II of JEPA-MSAC (arXiv 2603.29796) names the trained ones. M2BeamLLM (arXiv 2506.14532) is not among them: it is a
pretrained language model behind four sensor networks, 50.58 million parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.forecast.alone import beams_of_position, rssi_of_position
from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.given import Given, Pictures, Predict, Predicted
from wfm_cli.core.evaluation.forecast.history import network
from wfm_cli.core.evaluation.forecast.kalman import Noise, predict_ctrv
from wfm_cli.core.evaluation.forecast.metrics import displacement, rssi
from wfm_cli.core.evaluation.forecast.naive import PathLoss, last_value, most_frequent, nearest, one_hot, straight_on
from wfm_cli.core.evaluation.forecast.sequence_models import (
    Autoregression,
    BeamAutoregression,
    RecurrentForecast,
    TransformerForecast,
)
from wfm_cli.core.evaluation.forecast.vision import predict_vision, remark
from wfm_cli.core.recipe.forecast import ForecastBlock, Motion

NEIGHBOURS = 5
FASTER = 10.0
"""Linear predictors have few parameters and take ten times the rate."""


@dataclass(frozen=True)
class Beside:
    """One such row of one task."""

    title: str
    make: Predict
    role: Literal["baseline", "reference"] = "reference"
    seeds: bool = False
    """Whether repeats differ."""
    sees: bool = False
    """Whether it needs pictures."""
    remark: Callable[[ForecastBlock], str] | None = None
    """What of the settings belongs into the title."""

    def titled(self, block: ForecastBlock) -> str:
        """The title under some settings."""
        more = self.remark(block) if self.remark else ""
        return f"{self.title} ({more})" if more else self.title

    def predict(self, windows: Windows, block: ForecastBlock, seed: int, pictures: Pictures | None = None) -> Predicted:
        """Predictions for all windows (W, K, ...) in the order of `windows`, and the number of trained parameters."""
        return self.make(Given(windows, block, seed, pictures))


def _naive(title: str, make: Callable[[Windows], NDArray[Any]]) -> Beside:
    return Beside(title, lambda given: (make(given.windows), 0))


def _placed(title: str, make: Callable[[Windows, Motion], NDArray[Any]], learnt: int = 0) -> Beside:
    """A prediction from where constant velocity leads, counted as the heads count it."""
    return Beside(title, lambda given: (make(given.windows, given.block.motion), learnt))


def _path_loss(windows: Windows, motion: Motion) -> NDArray[Any]:
    """RSSI by the logarithm of the distance at which constant velocity puts the vehicle; the line is fitted there."""
    place, train = straight_on(windows, motion), windows.train
    return PathLoss.of(place[train], rssi(windows.ahead(windows.power_db)[train])).at(place)


def _nearest_power(windows: Windows, motion: Motion) -> NDArray[Any]:
    """Mean powers at the training frames that are nearest to where constant velocity leads, (W, K, beams)."""
    first = np.unique(windows.index[windows.train], return_index=True)[1]
    steps = windows.index.shape[1]
    rows, columns = windows.train[first // steps], first % steps
    known, power = windows.position[rows, columns], windows.power_db[rows, columns]
    asked = straight_on(windows, motion)
    made = nearest(asked.reshape(-1, 2), known, power, neighbours=NEIGHBOURS)
    return made.reshape(*asked.shape[:2], -1)


def _frequent(windows: Windows) -> NDArray[Any]:
    scores = most_frequent(windows.beam[windows.train], windows.beams)
    return np.broadcast_to(scores, (len(windows.index), windows.horizon, windows.beams))


def _mean_rssi(windows: Windows) -> NDArray[Any]:
    mean = rssi(windows.power_db[windows.train]).mean()
    return np.full((len(windows.index), windows.horizon), mean)


def _kalman(given: Given) -> Predicted:
    """CTRV with true time steps; validation chooses the deviation of the measured positions."""
    windows, noise, val = given.windows, given.block.noise, given.windows.val

    def predict(rows: Index, deviation: float) -> NDArray[Any]:
        seen = windows.seen(windows.position)[rows]
        return predict_ctrv(seen, windows.time_s[rows], windows.horizon, Noise(position=deviation))

    true = windows.ahead(windows.position)[val]
    errors = [float(displacement(predict(val, deviation), true).mean()) for deviation in noise]
    chosen = noise[int(np.argmin(errors))]
    return predict(np.arange(len(windows.index)), chosen), 1


def _trained(title: str, predict: Predict) -> Beside:
    return Beside(title, predict, "baseline", seeds=True)


BESIDE: Mapping[str, Mapping[str, Beside]] = {
    "localisation": {
        "constant_velocity": _naive("constant velocity per frame", lambda w: straight_on(w, "frame")),
        "constant_velocity_s": _naive("constant velocity per second", lambda w: straight_on(w, "second")),
        "last_position": _naive("last position", lambda w: last_value(w.seen(w.position), w.horizon)),
        "ar": _trained("AR", network(lambda w: Autoregression(2), "position", FASTER)),
        "gru": _trained("GRU", network(lambda w: RecurrentForecast(2), "position")),
        "transformer": _trained("Transformer", network(lambda w: TransformerForecast(2), "position")),
        "kalman": Beside("Kalman filter (CTRV)", _kalman, "baseline"),
    },
    "beam_prediction": {
        "last_beam": _naive(
            "last beam", lambda w: one_hot(last_value(w.seen(w.beam), w.horizon), w.beams)
        ),
        "last_power": _naive("last powers", lambda w: last_value(w.seen(w.power_db), w.horizon)),
        "most_frequent": _naive("most frequent beam", _frequent),
        "nearest_position": _placed("powers at nearest positions", _nearest_power),
        "ar": _trained("AR", network(lambda w: BeamAutoregression(w.beams), "beam", FASTER)),
        "gru": _trained("GRU", network(lambda w: RecurrentForecast(1, w.beams), "beam")),
        "transformer": _trained("Transformer", network(lambda w: TransformerForecast(1, w.beams), "beam")),
        "position_head": _trained("the head on the position alone", beams_of_position),
    },
    "rssi_prediction": {
        "last_power": _naive("last power", lambda w: rssi(last_value(w.seen(w.power_db), w.horizon))),
        "mean_power": _naive("mean power of training", _mean_rssi),
        "nearest_position": _placed("powers at nearest positions", lambda w, motion: rssi(_nearest_power(w, motion))),
        "path_loss": _placed("path loss of distance", _path_loss, learnt=2),
        "ar": _trained("AR", network(lambda w: Autoregression(1), "rssi", FASTER)),
        "gru": _trained("GRU", network(lambda w: RecurrentForecast(1), "rssi")),
        "transformer": _trained("Transformer", network(lambda w: TransformerForecast(1), "rssi")),
        "position_head": _trained("the head on the position alone", rssi_of_position),
        "vision_position": Beside("vision and position", predict_vision, "baseline", True, sees=True, remark=remark),
    },
}  # fmt: skip
"""By the task and the name in its file."""
