"""Networks on the history of one sensor: positions, beams, or the mean power."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.given import Given, Predict, Predicted
from wfm_cli.core.evaluation.forecast.metrics import rssi, top
from wfm_cli.core.evaluation.forecast.training import Budget, train


def network(make: Callable[[Windows], nn.Module], kind: str, faster: float = 1.0) -> Predict:
    """A network on the history of `position`, `beam` or `rssi`, and how many times faster than the others it learns."""

    def predict(given: Given) -> Predicted:
        windows, seed = given.windows, given.seed
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

        budget = Budget.of(given.block, len(windows.train), given.block.baseline_lr * faster)
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
