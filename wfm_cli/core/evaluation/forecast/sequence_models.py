"""Trained baselines of Table II of JEPA-MSAC (arXiv 2603.29796) that see one kind of history alone.

The paper's Tables II and IV contradict each other; these are the builds whose parameters are those printed in Table IV.
A model takes the history of positions (B, T, 2), beams (B, T) or mean powers (B, T, 1) and predicts K steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LAGS = 8
"""Frames that the autoregressive models look back."""
WIDTH = 64
EMBEDDING = 32
HEADS, LAYERS, INNER = 4, 2, 256


class Autoregression(nn.Module):
    """One linear prediction per coordinate from its last `LAGS` values, rolled out: (LAGS + 1) n parameters.

    It starts as persistence.
    """

    def __init__(self, coordinates: int) -> None:
        super().__init__()
        start = torch.zeros(coordinates, LAGS)
        start[:, -1] = 1
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.zeros(coordinates))

    def forward(self, history: Tensor, horizon: int) -> Tensor:
        """(B, T, n) -> (B, K, n); shorter histories are continued backwards with their first value."""
        values = _lagged(history)
        for _ in range(horizon):
            following = torch.einsum("btn,nt->bn", values[:, -LAGS:], self.weight) + self.bias
            values = torch.cat([values, following.unsqueeze(1)], 1)
        return values[:, -horizon:]


class BeamAutoregression(nn.Module):
    """Embedded beams, a weight per lag and channel, scores: 4,448 parameters for 64 beams. Rolled out on its best
    beam."""

    def __init__(self, beams: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(beams, EMBEDDING)
        self.weight = nn.Parameter(torch.full((LAGS, EMBEDDING), 1.0 / LAGS))
        self.bias = nn.Parameter(torch.zeros(EMBEDDING))
        self.leave = nn.Linear(EMBEDDING, beams)

    def forward(self, history: Tensor, horizon: int) -> Tensor:
        """(B, T) int64 -> (B, K, beams) scores."""
        tokens, made = _lagged(history.unsqueeze(-1)).squeeze(-1), []
        for _ in range(horizon):
            mixed = (self.embedding(tokens[:, -LAGS:]) * self.weight).sum(1) + self.bias
            made.append(self.leave(mixed))
            tokens = torch.cat([tokens, made[-1].argmax(-1, keepdim=True)], 1)
        return torch.stack(made, 1)


class RecurrentForecast(nn.Module):
    """GRU encoder and decoder: 26,242 parameters for positions, 25,793 for a power, 134,752 for 64 beams.

    The decoder is fed with its own last prediction; for beams with a start token first.
    """

    def __init__(self, values: int, beams: int | None = None) -> None:
        super().__init__()
        self.beams = beams
        if beams is None:
            inputs, hidden, outputs = values, WIDTH, values
        else:
            inputs, hidden, outputs = EMBEDDING, 2 * WIDTH, beams
            self.embedding = nn.Embedding(beams + 1, EMBEDDING)
        self.encoder = nn.GRU(inputs, hidden, batch_first=True)
        self.decoder = nn.GRU(inputs, hidden, batch_first=True)
        self.leave = nn.Linear(hidden, outputs)

    def forward(self, history: Tensor, horizon: int) -> Tensor:
        """(B, T, values), or (B, T) int64 beams -> (B, K, values or beams).

        Values are predicted as changes of the last one."""
        seen = history if self.beams is None else self.embedding(history)
        _, state = self.encoder(seen)
        step = (
            history[:, -1:] if self.beams is None else self.embedding(history.new_full((len(history), 1), self.beams))
        )
        made = []
        for _ in range(horizon):
            hidden, state = self.decoder(step, state)
            found = self.leave(hidden)
            if self.beams is None:
                found = found + step
                step = found
            else:
                step = self.embedding(found.argmax(-1))
            made.append(found)
        return torch.cat(made, 1)


class TransformerForecast(nn.Module):
    """Two encoder and two decoder layers of width 64: 234,242 parameters for positions, 234,049 for a power, 242,048
    for 64 beams. All steps are predicted at once from queries that carry their place alone."""

    def __init__(self, values: int, beams: int | None = None) -> None:
        super().__init__()
        self.beams = beams
        if beams is None:
            self.enter: nn.Module = nn.Linear(values, WIDTH)
            self.start: nn.Module = nn.Linear(values, WIDTH)
            self.leave = nn.Linear(WIDTH, values)
        else:
            self.enter = self.start = nn.Embedding(beams + 1, WIDTH)
            self.leave = nn.Linear(WIDTH, beams)
        self.transformer = nn.Transformer(
            WIDTH, HEADS, LAYERS, LAYERS, INNER, dropout=0.0, batch_first=True, norm_first=False
        )

    def forward(self, history: Tensor, horizon: int) -> Tensor:
        """(B, T, values), or (B, T) int64 beams -> (B, K, values or beams); values as changes of the last one."""
        seen = self.enter(history)
        seen = seen + _waves(seen.shape[1], seen)
        last = history[:, -1:]
        asked = self.start(last).expand(-1, horizon, -1) + _waves(horizon, seen)
        made: Tensor = self.leave(self.transformer(seen, asked))
        return made if self.beams is not None else made + last


def _lagged(history: Tensor) -> Tensor:
    missing = LAGS - history.shape[1]
    return history if missing <= 0 else torch.cat([history[:, :1].expand(-1, missing, -1), history], 1)


def _waves(steps: int, like: Tensor) -> Tensor:
    """(steps, WIDTH) fixed sines and cosines of the step."""
    rate = torch.exp(torch.arange(0, WIDTH, 2, device=like.device) * (-math.log(10_000.0) / WIDTH))
    angle = torch.arange(steps, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)
