"""The narrow transformer that fills in tokens which an encoder has not seen: JEPA's predictor and MAE's decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfm_cli.core.models.blocks.positions import NAMELESS, Positions
from wfm_cli.core.models.blocks.transformer import EPSILON, blocks, start


class Predictor(nn.Module):
    """Hidden vectors of visible tokens in, one vector for every asked place out; all places in one pass.

    Published LatentWave size, width 128 and depth 4 on a 14 x 14 grid of 256-wide tokens: 884,480 numbers, of which
    25,088 are the fixed position table.

    Args:
        axes: names of the token grid's axes.
        coords: (N, A) int64 coordinates of all tokens.
        source: width of the encoder.
        result: numbers per predicted token.
        width: width of the predictor.
        depth: number of blocks.
        heads: attention heads.
        where: recipe block named in errors.
    """

    def __init__(
        self,
        axes: tuple[str, ...],
        coords: Tensor,
        source: int,
        result: int,
        *,
        width: int,
        depth: int,
        heads: int,
        where: str,
    ) -> None:
        super().__init__()
        places = [int(coords[:, i].max()) + 1 for i, name in enumerate(axes) if name in NAMELESS]
        self.enter = start(nn.Linear(source, width))
        self.token = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.token, std=0.02)
        # Several channels share a place of the grid: without a row of their own, their predictions would be equal.
        self.positions = Positions(axes, width, places[0] if places and places[0] > 1 else 0)
        self.blocks = blocks(depth, width, heads, 4 * width, where, None)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.leave = start(nn.Linear(width, result))

    def forward(self, hidden: Tensor, coords: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Predict.

        Args:
            hidden: (B, prefix + Kc, source) output of the encoder for the visible tokens.
            coords: (N, A) int64 coordinates of all tokens.
            context: (B, Kc) int64 visible tokens.
            target: (B, Kt) int64 tokens to predict.

        Returns:
            (B, Kt, result).
        """
        table = self.positions(coords)
        prefix = hidden.shape[1] - context.shape[1]
        seen = self.enter(hidden)
        place = table[context]
        if prefix:
            place = torch.cat([place.new_zeros(len(place), prefix, place.shape[2]), place], 1)
        x = torch.cat([seen + place, (self.token + table[target]).to(seen.dtype)], 1)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.leave(self.norm(x[:, -target.shape[1] :]))
        return result
