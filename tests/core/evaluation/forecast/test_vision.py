"""The baseline of vision and position: its sizes, where it starts, what it learns, and stores without pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.evaluation.forecast.hand import BEAMS, made
from wfm_cli.core.evaluation.forecast.beside import BESIDE
from wfm_cli.core.evaluation.forecast.data import Windows
from wfm_cli.core.evaluation.forecast.given import Pictures
from wfm_cli.core.evaluation.forecast.metrics import rssi
from wfm_cli.core.evaluation.forecast.mobilenet import MobileNetV3Small
from wfm_cli.core.evaluation.forecast.vision import Fading, ShadowFading
from wfm_cli.core.models.counting import operations, parameters
from wfm_cli.core.recipe.forecast import ForecastBlock
from wfm_cli.errors import InputError

ROW = BESIDE["rssi_prediction"]["vision_position"]
BLOCK = ForecastBlock(vision_frozen_steps=120, vision_steps=0, looks=6, batch_size=28)


class Shown(Pictures):
    """One picture where the vehicle is shadowed and another where it is not; counts how often a network looks."""

    def __init__(self, shadowed: np.ndarray) -> None:
        two = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
        self.pictures = torch.from_numpy(two[shadowed]).float()
        self.looks = 0
        self._store, self._cached = "hand", self._kept
        self._made: dict[str, np.ndarray] = {}

    def take(self, frames):
        self.looks += len(frames)
        return self.pictures[torch.from_numpy(frames)]

    def _kept(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def fading() -> tuple[Windows, Shown]:
    """RSSI falls with the distance, and by 6 dB more in windows whose last picture shows a shadow."""
    windows = made()
    shadowed = np.random.default_rng(1).integers(0, 2, int(windows.index.max()) + 1)
    level = -20 * np.log10(np.linalg.norm(windows.position + 1.0, axis=-1)) - 40
    level[:, windows.history :] -= 6.0 * shadowed[windows.index[:, windows.history - 1], None]
    power_db = np.repeat(level[..., None], BEAMS, -1).astype(np.float32)
    return replace(windows, power_db=power_db, power=10 ** (power_db / 10)), Shown(shadowed)


def wrong(windows: Windows, predicted: np.ndarray, rows: np.ndarray) -> float:
    left = predicted[rows] - rssi(windows.ahead(windows.power_db))[rows]
    return float(np.sqrt(np.square(left).mean()))


def test_sizes_are_those_of_table_iv():
    model = ShadowFading()
    assert round(parameters(model) / 1e6, 2) == 1.01
    assert round(operations(model, torch.zeros(1, 3, 224, 224), torch.zeros(1, 5, 2)) / 1e6, 2) == 121.90


def test_it_starts_from_the_path_loss():
    windows, pictures = fading()
    nothing = BLOCK.model_copy(update={"vision_frozen_steps": 1, "vision_lr": 1e-12})
    made, trained = ROW.predict(windows, nothing, 0, pictures)
    line, two = BESIDE["rssi_prediction"]["path_loss"].predict(windows, nothing, 0)
    np.testing.assert_allclose(made, line, atol=1e-4)
    assert (trained, two) == (parameters(ShadowFading()) - 927_008 + 2, 2)


def test_shadows_are_learnt_from_pictures_that_are_looked_at_once():
    windows, pictures = fading()
    line, _ = BESIDE["rssi_prediction"]["path_loss"].predict(windows, BLOCK, 0)
    predicted, _ = ROW.predict(windows, BLOCK, 0, pictures)
    for rows in (windows.val, windows.test):
        assert wrong(windows, predicted, rows) < 0.6 * wrong(windows, line, rows)
    frames = len(np.unique(windows.index[:, windows.history - 1]))
    settled = len(np.unique(windows.seen(windows.index)[windows.train]))
    assert pictures.looks == frames + settled
    ROW.predict(windows, BLOCK, 0, pictures)
    assert pictures.looks == frames + 2 * settled  # the same weights: the features are there


def test_the_second_stage_trains_all():
    windows, pictures = fading()
    both = BLOCK.model_copy(update={"vision_frozen_steps": 20, "vision_steps": 3, "joint_batch": 8, "looks": 1})
    predicted, trained = ROW.predict(windows, both, 0, pictures)
    assert trained == parameters(ShadowFading()) + 2
    line, _ = BESIDE["rssi_prediction"]["path_loss"].predict(windows, both, 0)
    assert wrong(windows, predicted, windows.val) <= wrong(windows, line, windows.val) + 1e-6
    again, _ = ROW.predict(windows, both, 0, pictures)
    np.testing.assert_array_equal(again, predicted)


def test_titles_say_what_weights_there_are(tmp_path: Path):
    torch.save(fake_weights(), tmp_path / "w.pth")
    loaded = BLOCK.model_copy(update={"vision_weights": str(tmp_path / "w.pth"), "vision_steps": 1})
    assert ROW.titled(ForecastBlock()) == "vision and position (no ImageNet weights)"
    assert ROW.titled(BLOCK) == "vision and position (no ImageNet weights, image network frozen)"
    assert ROW.titled(loaded) == "vision and position"
    windows, pictures = fading()
    quick = loaded.model_copy(update={"vision_frozen_steps": 1, "vision_steps": 0, "looks": 1})
    ROW.predict(windows, quick, 0, pictures)
    assert pictures.looks == len(np.unique(windows.index[:, windows.history - 1]))  # nothing to settle


def fake_weights() -> dict[str, torch.Tensor]:
    from tests.core.evaluation.forecast.test_mobilenet import fake

    return fake(of_timm=False)


def test_distances_are_those_where_constant_velocity_leads():
    windows, _ = fading()
    problem = Fading(windows, "second")
    assert problem.coarse.shape == (len(windows.index), windows.horizon)
    left = (problem.true - problem.coarse)[windows.train]
    far = np.log10(np.linalg.norm(windows.ahead(windows.position), axis=-1).clip(1.0))[windows.train]
    assert left.mean() == pytest.approx(0, abs=1e-6)  # least squares: nothing left along the line
    assert (left * (far - far.mean())).mean() == pytest.approx(0, abs=1e-6)
    assert isinstance(ShadowFading().network, MobileNetV3Small)


def test_without_pictures_there_is_no_such_row():
    windows, _ = fading()
    with pytest.raises(InputError, match="there are no pictures"):
        ROW.predict(windows, BLOCK, 0)
