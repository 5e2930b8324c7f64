"""Rows that stand beside every encoder in predictive tasks: naive predictions, and networks on one sensor's history.

Table II of JEPA-MSAC (arXiv 2603.29796) names the trained ones. Its vision-position RSSI network and M2BeamLLM are not
among them: both need pretrained image or language models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.fit import Budget, train
from wfm_cli.core.evaluation.forecast.kalman import Noise, predict_ctrv
from wfm_cli.core.evaluation.forecast.metrics import displacement, rssi, top
from wfm_cli.core.evaluation.forecast.naive import constant_velocity, last_value, most_frequent, nearest, one_hot
from wfm_cli.core.evaluation.forecast.sequence_models import (
    Autoregression,
    BeamAutoregression,
    RecurrentForecast,
    TransformerForecast,
)
from wfm_cli.core.recipe.forecast import ForecastBlock

Predict = Callable[[Windows, ForecastBlock, int], tuple[NDArray[Any], int]]
"""Predictions for all windows and the number of trained parameters, from windows, settings and seed."""
NEIGHBOURS = 5
FASTER = 10.0
"""Linear predictors have few parameters and take ten times the rate."""


@dataclass(frozen=True)
class Beside:
    """One such row of one task."""

    title: str
    predict: Predict
    role: Literal["baseline", "reference"] = "reference"
    seeds: bool = False
    """Whether repeats differ."""


def _naive(title: str, make: Callable[[Windows], NDArray[Any]]) -> Beside:
    return Beside(title, lambda windows, block, seed: (make(windows), 0))


def _straight(windows: Windows) -> NDArray[Any]:
    return constant_velocity(windows.seen(windows.position), windows.horizon)


def _nearest_power(windows: Windows) -> NDArray[Any]:
    """Mean powers at the training frames that are nearest to where constant velocity leads, (W, K, beams)."""
    first = np.unique(windows.index[windows.train], return_index=True)[1]
    steps = windows.index.shape[1]
    rows, columns = windows.train[first // steps], first % steps
    known, power = windows.position[rows, columns], windows.power_db[rows, columns]
    asked = _straight(windows)
    made = nearest(asked.reshape(-1, 2), known, power, neighbours=NEIGHBOURS)
    return made.reshape(*asked.shape[:2], -1)


def _frequent(windows: Windows) -> NDArray[Any]:
    scores = most_frequent(windows.beam[windows.train], windows.beams)
    return np.broadcast_to(scores, (len(windows.index), windows.horizon, windows.beams))


def _mean_rssi(windows: Windows) -> NDArray[Any]:
    mean = rssi(windows.power_db[windows.train]).mean()
    return np.full((len(windows.index), windows.horizon), mean)


def _kalman(windows: Windows, block: ForecastBlock, seed: int) -> tuple[NDArray[Any], int]:
    """CTRV with true time steps; validation chooses the deviation of the measured positions."""
    val = windows.val

    def predict(rows: Index, deviation: float) -> NDArray[Any]:
        seen = windows.seen(windows.position)[rows]
        return predict_ctrv(seen, windows.time_s[rows], windows.horizon, Noise(position=deviation))

    true = windows.ahead(windows.position)[val]
    errors = [float(displacement(predict(val, deviation), true).mean()) for deviation in block.noise]
    chosen = block.noise[int(np.argmin(errors))]
    return predict(np.arange(len(windows.index)), chosen), 1


def _network(make: Callable[[Windows], nn.Module], kind: str, faster: float = 1.0) -> Predict:
    """A network on the history of `position`, `beam` or `rssi`."""

    def predict(windows: Windows, block: ForecastBlock, seed: int) -> tuple[NDArray[Any], int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make(windows)
        problem = _PROBLEMS[kind](windows)

        def output(rows: Index) -> Tensor:
            made: Tensor = model(problem.history[torch.from_numpy(rows)], windows.horizon)
            return made

        def judge() -> float:
            with torch.inference_mode():
                return problem.judge(output(windows.val), windows.val)

        budget = Budget.of(block, len(windows.train), block.baseline_lr * faster)
        train(model, lambda rows: problem.loss(output(rows), rows), judge, windows.train, budget, seed)
        with torch.inference_mode():
            found = problem.answer(output(np.arange(len(windows.index))))
        return found, sum(parameter.numel() for parameter in model.parameters())

    return predict


class _Numbers:
    """Positions or RSSI around the last observed one, in units of their changes over a window."""

    def __init__(self, windows: Windows, values: NDArray[np.float64]) -> None:
        self._last = windows.seen(values)[:, -1:]
        self._true = windows.ahead(values)
        moved = (self._true - self._last)[windows.train]
        self._unit = max(float(np.sqrt(np.square(moved).mean())), 1e-6)
        self.history = torch.from_numpy((windows.seen(values) - self._last) / self._unit).float()
        self._wanted = torch.from_numpy((self._true - self._last) / self._unit).float()

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        return F.smooth_l1_loss(output, self._wanted[torch.from_numpy(rows)])

    def judge(self, output: Tensor, rows: Index) -> float:
        wrong = output.numpy() * self._unit + self._last[rows] - self._true[rows]
        distance = np.linalg.norm(wrong, axis=-1)
        return float(distance.mean() if wrong.shape[-1] > 1 else np.sqrt(np.square(distance).mean()))

    def answer(self, output: Tensor) -> NDArray[Any]:
        made: NDArray[Any] = output.double().numpy() * self._unit + self._last
        return made[..., 0] if made.shape[-1] == 1 else made


class _Beams:
    def __init__(self, windows: Windows) -> None:
        self.history = torch.from_numpy(windows.seen(windows.beam))
        self._true = windows.ahead(windows.beam)

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), torch.from_numpy(self._true[rows]).flatten())

    def judge(self, output: Tensor, rows: Index) -> float:
        return 1 - float(top(output.numpy(), self._true[rows], 1).mean())

    def answer(self, output: Tensor) -> NDArray[Any]:
        made: NDArray[Any] = output.numpy()
        return made


_PROBLEMS: Mapping[str, Callable[[Windows], _Numbers | _Beams]] = {
    "position": lambda windows: _Numbers(windows, windows.position),
    "rssi": lambda windows: _Numbers(windows, rssi(windows.power_db)[..., None]),
    "beam": _Beams,
}


def _trained(title: str, predict: Predict) -> Beside:
    return Beside(title, predict, "baseline", seeds=True)


BESIDE: Mapping[str, Mapping[str, Beside]] = {
    "localisation": {
        "constant_velocity": _naive("constant velocity per frame", _straight),
        "constant_velocity_s": _naive(
            "constant velocity per second",
            lambda w: constant_velocity(w.seen(w.position), w.horizon, w.time_s),
        ),
        "last_position": _naive("last position", lambda w: last_value(w.seen(w.position), w.horizon)),
        "ar": _trained("AR", _network(lambda w: Autoregression(2), "position", FASTER)),
        "gru": _trained("GRU", _network(lambda w: RecurrentForecast(2), "position")),
        "transformer": _trained("Transformer", _network(lambda w: TransformerForecast(2), "position")),
        "kalman": Beside("Kalman filter (CTRV)", _kalman, "baseline"),
    },
    "beam_prediction": {
        "last_beam": _naive(
            "last beam", lambda w: one_hot(last_value(w.seen(w.beam), w.horizon), w.beams)
        ),
        "last_power": _naive("last powers", lambda w: last_value(w.seen(w.power_db), w.horizon)),
        "most_frequent": _naive("most frequent beam", _frequent),
        "nearest_position": _naive("powers at nearest positions", _nearest_power),
        "ar": _trained("AR", _network(lambda w: BeamAutoregression(w.beams), "beam", FASTER)),
        "gru": _trained("GRU", _network(lambda w: RecurrentForecast(1, w.beams), "beam")),
        "transformer": _trained("Transformer", _network(lambda w: TransformerForecast(1, w.beams), "beam")),
    },
    "rssi_prediction": {
        "last_power": _naive("last power", lambda w: rssi(last_value(w.seen(w.power_db), w.horizon))),
        "mean_power": _naive("mean power of training", _mean_rssi),
        "nearest_position": _naive("powers at nearest positions", lambda w: rssi(_nearest_power(w))),
        "ar": _trained("AR", _network(lambda w: Autoregression(1), "rssi", FASTER)),
        "gru": _trained("GRU", _network(lambda w: RecurrentForecast(1), "rssi")),
        "transformer": _trained("Transformer", _network(lambda w: TransformerForecast(1), "rssi")),
    },
}  # fmt: skip
"""By the task and the name in its file."""
NAMES = frozenset(name for rows in BESIDE.values() for name in rows)
