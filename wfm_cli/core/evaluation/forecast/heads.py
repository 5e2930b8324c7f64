"""Heads of JEPA-MSAC (arXiv 2603.29796) III-C on the latents of a forecast: position, beam, power.

Each sees one vector per future step and adds what it makes of them to a coarse estimate that needs no learning. Their
sizes are those that give all twelve numbers of parameters and of operations of Table IV.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.transformer import EPSILON

POSITION_WIDTH, BEAM_WIDTH = 256, 512
"""Hidden sizes."""


class Recurrence(nn.Module):
    """Linear, GRU over the steps, linear, linear: (B, K, inputs) -> (B, K, outputs); layer norms in between."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.enter_norm = nn.LayerNorm(hidden, eps=EPSILON)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.inner = nn.Linear(hidden, hidden // 2)
        self.inner_norm = nn.LayerNorm(hidden // 2, eps=EPSILON)
        self.leave = nn.Linear(hidden // 2, outputs)

    def forward(self, steps: Tensor) -> Tensor:
        """See the class."""
        hidden, _ = self.gru(F.gelu(self.enter_norm(self.enter(steps))))
        made: Tensor = self.leave(F.gelu(self.inner_norm(self.inner(hidden))))
        return made


class Bootstrap(nn.Module):
    """A coarse estimate from the last predicted latent, for users whose history is not known: (B, D) -> (B, n)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.norm = nn.LayerNorm(hidden, eps=EPSILON)
        self.leave = nn.Linear(hidden, outputs)

    def forward(self, latent: Tensor) -> Tensor:
        """See the class."""
        made: Tensor = self.leave(F.gelu(self.norm(self.enter(latent))))
        return made


class _Residual(nn.Module):
    """A coarse estimate plus what a recurrence makes of the latents; the correction starts at zero."""

    def __init__(self, inputs: int, hidden: int, outputs: int, width: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(inputs, hidden, outputs)
        self.bootstrap = Bootstrap(width, hidden, outputs)
        nn.init.zeros_(self.recurrence.leave.weight)
        nn.init.zeros_(self.recurrence.leave.bias)

    def coarse(self, latents: Tensor, known: Tensor | None) -> Tensor:
        """`known` (B, K, n), or equations 22 and 28: one bootstrapped estimate for all steps."""
        if known is not None:
            return known
        steps: Tensor = self.bootstrap(latents[:, -1]).unsqueeze(1).expand(-1, latents.shape[1], -1)
        return steps


class PositionHead(_Residual):
    """Equations 21 to 23: constant velocity, or the bootstrap, plus a correction.

    Positions are in units of the run's scale, as the training keeps them near one.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, POSITION_WIDTH, 2, width)

    def forward(self, latents: Tensor, coarse: Tensor | None) -> Tensor:
        """(B, K, D) latents and (B, K, 2) extrapolated positions, None where no history is known -> (B, K, 2)."""
        made: Tensor = self.coarse(latents, coarse) + self.recurrence(latents)
        return made


class BeamHead(nn.Module):
    """Equations 24 to 26: scores of all beams from the latents and the predicted position."""

    def __init__(self, width: int, beams: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(width + 2, BEAM_WIDTH, beams)

    def forward(self, latents: Tensor, position: Tensor) -> Tensor:
        """(B, K, D) latents and (B, K, 2) predicted positions; zeros where no position guides -> (B, K, beams)."""
        made: Tensor = self.recurrence(torch.cat([latents, position], -1))
        return made


class PowerHead(_Residual):
    """Equations 27 to 30: the last power vector, or the bootstrap, plus a correction."""

    def __init__(self, width: int, beams: int) -> None:
        super().__init__(width + 2, BEAM_WIDTH, beams, width)

    def forward(self, latents: Tensor, position: Tensor, last: Tensor | None) -> Tensor:
        """(B, K, D) latents, (B, K, 2) predicted positions, (B, K, beams) last power again and again -> (B, K,
        beams)."""
        made: Tensor = self.coarse(latents, last) + self.recurrence(torch.cat([latents, position], -1))
        return made
