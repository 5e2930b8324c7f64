"""What the rows beside encoders are given: windows, settings, and pictures for those that look at any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.evaluation.encoders import weights_digest
from wfm_cli.core.evaluation.forecast.data import Frames, Index, Windows
from wfm_cli.core.evaluation.forecast.mobilenet import MobileNetV3Small
from wfm_cli.core.models.jepa_msac import IMAGE_MEAN, IMAGE_STD
from wfm_cli.core.provenance import digest
from wfm_cli.core.recipe.forecast import ForecastBlock
from wfm_cli.core.store.reader import Store

CHUNK = 64
"""Pictures looked at at once."""


class Pictures:
    """The pictures of a store's frames; a network sees each of them once, however many windows end with it."""

    def __init__(self, store: Store, cached: Callable[[str, Callable[[], NDArray[Any]]], NDArray[Any]]) -> None:
        self._frames, self._store, self._cached = Frames(store, ("image",)), store.digest, cached

    def take(self, frames: Index) -> Tensor:
        """(N, 3, H, W) float32 pictures of frames (N,), normalised as ImageNet's."""
        pictures = self._frames.take(frames[:, None])["image"].squeeze(1).float()
        mean, deviation = (pictures.new_tensor(row).view(3, 1, 1) for row in (IMAGE_MEAN, IMAGE_STD))
        return (pictures / 255 - mean) / deviation

    def look(self, network: MobileNetV3Small, frames: Index) -> Tensor:
        """(N, 576) features of frames, piece by piece, without gradients."""
        with torch.inference_mode():
            pieces = [network(self.take(frames[start : start + CHUNK])) for start in range(0, len(frames), CHUNK)]
        return torch.cat(pieces)

    def features(self, network: MobileNetV3Small, frames: Index) -> Tensor:
        """The same, kept in the run for later trainings with the same weights."""
        name = digest(["pictures", weights_digest(network), self._store, frames.tolist()])[:32]
        return torch.from_numpy(np.asarray(self._cached(name, lambda: self.look(network, frames).numpy())))


@dataclass(frozen=True)
class Given:
    """What a row predicts from."""

    windows: Windows
    block: ForecastBlock
    seed: int
    pictures: Pictures | None = None


Predicted = tuple[NDArray[Any], int]
"""Predictions for all windows, and the number of trained parameters."""
Predict = Callable[[Given], Predicted]
