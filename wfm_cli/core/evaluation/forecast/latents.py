"""What a frozen encoder makes of the future of every window, and how many directions that has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.evaluation.features import no_denormals
from wfm_cli.core.evaluation.forecast.data import Frames, Index, Windows
from wfm_cli.core.evaluation.forecast.metrics import lda_rank
from wfm_cli.core.models.jepa_msac import AXES, JEPAMSACEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.progress import progress
from wfm_cli.core.training.batches import spread
from wfm_cli.core.training.monitors import rankme

FRAMES, BATCH = 64, 32
"""Frames tokenised, and windows predicted, at once."""
VIEWS = 4
"""A of the LDA rank: every view jitters powers and positions, all but the first lack one large sensor each."""
JITTER_DB, JITTER_M = 1.0, 0.1
"""Deviations of what a view adds to every power in dB and to every coordinate."""


class Forecaster:
    """A frozen encoder on the windows of a store; every frame is tokenised once, however many windows show it.

    Attributes:
        encoder: in evaluation mode.
        dim: width of a latent.
    """

    def __init__(self, encoder: JEPAMSACEncoder, frames: Frames, windows: Windows, show: bool = False) -> None:
        self.encoder, self.dim = encoder.eval(), encoder.dim
        self._windows, self._source, self._show = windows, frames, show
        self._numbers, local = np.unique(windows.seen(windows.index), return_inverse=True)
        self._local = torch.from_numpy(local.reshape(len(windows.index), windows.history))
        self._made: Tensor | None = None

    def latents(self, without: Sequence[str] = (), tokens: str = "all") -> NDArray[np.float32]:
        """(W, K, D): mean of the predicted tokens of every future frame.

        Args:
            without: sensors that are not seen.
            tokens: `all`, or the sensor whose tokens are averaged.
        """
        rows = np.arange(len(self._windows.index))
        starts = range(0, len(rows), BATCH)
        made = np.empty((len(rows), self._windows.horizon, self.dim), np.float32)
        with no_denormals(), torch.inference_mode():
            for start in progress(starts, total=len(starts), unit="step", label="forecasts", enabled=self._show):
                grid = self._grid(rows[start : start + BATCH])
                made[start : start + BATCH] = self._pooled(self.encoder.forecast_from(grid, without), tokens)
        return made

    def ranks(self, latents: NDArray[np.float32], tokens: str, windows: int) -> dict[str, float]:
        """RankMe of all test latents (windows x steps), and the LDA rank of the mean latents of some windows' views."""
        test = latents[self._windows.test]
        chosen = spread(self._windows.test, windows)
        views = np.stack([self._view(chosen, number, tokens) for number in range(VIEWS)], 1)
        return {
            "rank_me": rankme(torch.from_numpy(test.reshape(-1, self.dim))),
            "lda_rank": lda_rank(views),
        }

    def _view(self, rows: Index, number: int, tokens: str) -> NDArray[np.float32]:
        """Mean latents (N, D) of an augmented view of windows."""
        large = [name for name in ("image", "radar", "lidar") if name in self.encoder.counts]
        lost = large[number - 1 : number] if number and len(self.encoder.counts) > 1 else []
        generator, pieces = torch.Generator().manual_seed(number), []
        with no_denormals(), torch.inference_mode():
            for start in range(0, len(rows), BATCH):
                grid = self._grid(rows[start : start + BATCH])
                self._jitter(grid, rows[start : start + BATCH], generator)
                pieces.append(self._pooled(self.encoder.forecast_from(grid, lost), tokens).mean(1))
        return np.concatenate(pieces)

    def _jitter(self, grid: TokenGrid, rows: Index, generator: torch.Generator) -> None:
        """Put the tokens of noisy positions and powers in the place of the clean ones."""
        encoder, windows = self.encoder, self._windows
        values = grid.values.view(grid.batch, windows.history, encoder.frame_tokens, self.dim)
        linear = encoder.block.power_unit == "linear"
        power = windows.power if linear else windows.power_db
        column = 0
        for name, count in encoder.counts.items():
            if name in ("gps", "power"):
                clean = torch.from_numpy(windows.seen((windows.position if name == "gps" else power)[rows])).float()
                noise = torch.randn(clean.shape, generator=generator)
                if name == "gps":
                    noisy = clean + JITTER_M * noise
                else:
                    noisy = clean * 10 ** (JITTER_DB * noise / 10) if linear else clean + JITTER_DB * noise
                frames = encoder._scaled(name, noisy).flatten(0, 1)
                made = encoder.tokenizers[name](frames)
                values[:, :, column : column + count] = made.view(*values.shape[:2], count, self.dim)
            column += count

    def _pooled(self, predicted: Tensor, tokens: str) -> NDArray[np.float32]:
        return pool(self.encoder, predicted, tokens).float().cpu().numpy()

    def _grid(self, rows: Index) -> TokenGrid:
        """Tokens of the history of windows."""
        made = self._tokens()[self._local[torch.from_numpy(rows)]]  # (B, history, 43, D)
        coords = self.encoder._coords[: made.shape[1] * made.shape[2]]
        return TokenGrid(made.flatten(1, 2), coords, AXES)

    def _tokens(self) -> Tensor:
        """(F, 43, D) tokens of every frame that some history shows."""
        if self._made is None:
            pieces, starts = [], range(0, len(self._numbers), FRAMES)
            with no_denormals(), torch.inference_mode():
                for start in progress(starts, total=len(starts), unit="step", label="frames", enabled=self._show):
                    batch = self._source.take(self._numbers[start : start + FRAMES, None])
                    pieces.append(self.encoder.tokenize(batch).values)
            self._made = torch.cat(pieces)
        return self._made


def pool(encoder: JEPAMSACEncoder, predicted: Tensor, tokens: str) -> Tensor:
    """Mean over all predicted tokens of a frame, or over those of one sensor: (B, K, 43, D) -> (B, K, D)."""
    if tokens == "all":
        return predicted.mean(2)
    before = 0
    for name, count in encoder.counts.items():
        if name == tokens:
            return predicted[:, :, before : before + count].mean(2)
        before += count
    raise KeyError(tokens)
