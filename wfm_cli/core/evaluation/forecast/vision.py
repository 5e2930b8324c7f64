"""RSSI from the last picture and the position: the baseline [38] of JEPA-MSAC, after arXiv 2510.25936 (Yan et al.).

RSSI is path loss plus shadow fading. The path loss is a closed form, the least-squares line over the logarithm of the
distance at which constant velocity puts the vehicle in a future step; what it leaves over is the shadow fading, which a
network of the last picture and of that same extrapolated position learns. The network starts at zero, so the row is on
validation never worse than `path_loss`, and the difference of the two is what picture and place tell. Past powers are
not seen, as in the paper. Bounding boxes, which the data do not have, are left out, as in JEPA-MSAC.

Sizes are those that give Table IV: the picture is looked at and projected once, the rest runs for each of five steps;
1.01 million parameters and 121.90 million operations at 224 x 224 pixels. Dropout of the features is our addition:
without it the network learns the training pictures by heart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.evaluation.forecast.data import Index, Windows
from wfm_cli.core.evaluation.forecast.given import Given, Pictures, Predicted
from wfm_cli.core.evaluation.forecast.metrics import rssi
from wfm_cli.core.evaluation.forecast.mobilenet import FEATURES, RANDOM, MobileNetV3Small, load
from wfm_cli.core.evaluation.forecast.naive import PathLoss, Values, straight_on
from wfm_cli.core.evaluation.forecast.training import Budget, train
from wfm_cli.core.models.counting import parameters
from wfm_cli.core.recipe.forecast import ForecastBlock, Motion
from wfm_cli.core.training.batches import spread
from wfm_cli.errors import InputError

PICTURE, PLACE, PLACED, FUSED = 128, 32, 24, 48
"""Widths of the projected picture, inside and behind the position's perceptron, and behind the fusion."""
DROPOUT = 0.5
SLOWER = 30.0
"""The second stage takes a rate that is so many times smaller."""
SETTLING = 128
"""Training pictures that give batch norms of fresh weights their statistics."""


class ShadowFading(nn.Module):
    """The network: MobileNetV3-Small, picture projection, position perceptron, fusion, regression; starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.network = MobileNetV3Small()
        self.project = nn.Linear(FEATURES, PICTURE)
        self.place = nn.Sequential(nn.Linear(2, PLACE), nn.ReLU(), nn.Linear(PLACE, PLACED), nn.ReLU())
        self.fuse = nn.Linear(PICTURE + PLACED, FUSED)
        self.leave = nn.Linear(FUSED, 1)
        self.mean = nn.Buffer(torch.zeros(FEATURES))
        self.deviation = nn.Buffer(torch.ones(FEATURES))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def scale_to(self, features: Tensor) -> None:
        """Features (N, 576) are seen around their means here and in units of their deviations."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp_min(1e-6))

    def forward(self, pictures: Tensor, place: Tensor) -> Tensor:
        """(B, 3, H, W) pictures of the last frames and (B, K, 2) positions ahead in units -> (B, K) in units."""
        return self.fading(self.network(pictures), place)

    def fading(self, features: Tensor, place: Tensor) -> Tensor:
        """The same from features (B, 576) of pictures."""
        scaled = F.dropout((features - self.mean) / self.deviation, DROPOUT, self.training)
        seen = F.relu(self.project(scaled))
        both = torch.cat([seen.unsqueeze(1).expand(-1, place.shape[1], -1), self.place(place)], -1)
        made: Tensor = self.leave(F.relu(self.fuse(both))).squeeze(-1)
        return made


class Fading:
    """Shadow fading ahead: what the path loss leaves over, in units of its size over the training windows."""

    def __init__(self, windows: Windows, motion: Motion) -> None:
        place, train = straight_on(windows, motion), windows.train
        self.true: Values = rssi(windows.ahead(windows.power_db)).astype(np.float64)
        self.coarse = PathLoss.of(place[train], self.true[train]).at(place)
        left = self.true - self.coarse
        self.unit = max(float(np.sqrt(np.square(left[train]).mean())), 1e-6)
        middle, spread = place[train].mean((0, 1)), place[train].std((0, 1)).clip(1e-6)
        self.place = torch.from_numpy((place - middle) / spread).float()
        self._wanted = torch.from_numpy(left / self.unit).float()

    def loss(self, output: Tensor, rows: Index) -> Tensor:
        """Smooth L1; its bend is at one unit."""
        return F.smooth_l1_loss(output, self._wanted[torch.from_numpy(rows)])

    def decibels(self, output: Tensor, rows: Index) -> Values:
        """RSSI (B, K) in dB."""
        made: Values = output.double().numpy() * self.unit + self.coarse[rows]
        return made

    def judge(self, output: Tensor, rows: Index) -> float:
        """RMSE in dB."""
        return float(np.sqrt(np.square(self.decibels(output, rows) - self.true[rows]).mean()))


def remark(block: ForecastBlock) -> str:
    """What of the settings belongs into the row's title."""
    words = ["no ImageNet weights"] * (block.vision_weights == RANDOM)
    return ", ".join([*words, *["image network frozen"] * (block.vision_steps == 0)])


def predict_vision(given: Given) -> Predicted:
    """Train in two stages: what follows the frozen image network, whose features are made once, and then all of it.

    Raises:
        InputError: there are no pictures, or no such weights.
    """
    if given.pictures is None:
        raise InputError("vision and position: there are no pictures", "take a store with frames/image")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)  # of fresh weights, and of the dropout
        return _predicted(given.windows, given.block, given.seed, given.pictures)


def _predicted(windows: Windows, block: ForecastBlock, seed: int, pictures: Pictures) -> Predicted:
    last, local = np.unique(windows.index[:, windows.history - 1], return_inverse=True)
    model, problem = _fresh(windows, block, pictures), Fading(windows, block.motion)
    features = pictures.features(model.network, last)
    model.scale_to(features[torch.from_numpy(np.unique(local[windows.train]))])
    model.network.requires_grad_(False)

    def frozen(rows: Index) -> Tensor:
        return model.fading(features[torch.from_numpy(local[rows])], problem.place[torch.from_numpy(rows)])

    _fit(model, frozen, frozen, problem, windows, _stage(block, first=True), seed)
    trained = parameters(model) - parameters(model.network) + 2  # and the line of the path loss
    if block.vision_steps:
        trained += parameters(model.network)
        model.network.requires_grad_(True)
        frames = windows.index[:, windows.history - 1]

        def looking(rows: Index) -> Tensor:
            made: Tensor = model(pictures.take(frames[rows]), problem.place[torch.from_numpy(rows)])
            return made

        def judged(rows: Index) -> Tensor:
            return model.fading(pictures.look(model.network, frames[rows]), problem.place[torch.from_numpy(rows)])

        _fit(model, looking, judged, problem, windows, _stage(block, first=False), seed)
        features = pictures.look(model.network, last)
    rows = np.arange(len(windows.index))
    with torch.inference_mode():
        return problem.decibels(frozen(rows), rows), trained


def _fresh(windows: Windows, block: ForecastBlock, pictures: Pictures) -> ShadowFading:
    """A new model with weights of ImageNet, or with random ones that have seen some training pictures."""
    model = ShadowFading().eval()
    if block.vision_weights == RANDOM:
        model.network.settle(pictures.take(spread(np.unique(windows.seen(windows.index)[windows.train]), SETTLING)))
    else:
        load(model.network, block.vision_weights)
    return model


def _stage(block: ForecastBlock, first: bool) -> Budget:
    steps, batch = (block.vision_frozen_steps, block.batch_size) if first else (block.vision_steps, block.joint_batch)
    rate = block.vision_lr if first else block.vision_lr / SLOWER
    return Budget(steps, batch, rate, block.weight_decay, block.warmup, block.clip, block.looks)


def _fit(
    model: nn.Module,
    output: Callable[[Index], Tensor],
    judged: Callable[[Index], Tensor],
    problem: Fading,
    windows: Windows,
    budget: Budget,
    seed: int,
) -> None:
    """Train what is not frozen; `judged` gives the output of many windows at once."""

    def judge() -> float:
        with torch.inference_mode():
            return problem.judge(judged(windows.val), windows.val)

    train(model, lambda rows: problem.loss(output(rows), rows), judge, windows.train, budget, seed)
