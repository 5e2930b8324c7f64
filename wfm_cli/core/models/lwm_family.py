"""What all encoders of the Large Wireless Model family do once a sample has become tokens.

CLS and MASK tokens are the constants 0.2 and 0.1. Papers: LWM arXiv 2411.08872, LWM-Spectro arXiv 2601.08780.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfm_cli.core.models.base import MaskedEncoder
from wfm_cli.core.models.blocks.lwm import Block, Embedding, Head, Sizes, Wiring
from wfm_cli.core.models.blocks.uniform import HeadPlan, plan_heads
from wfm_cli.core.models.tokens import TokenGrid

CLS_VALUE = 0.2
MASK_VALUE = 0.1
LEVEL_DB = 20.0
"""Decibels that move the CLS token by one where it carries the level of the sample."""

_CHUNK_TOKENS = 2064
"""Tokens that inference on CPU runs through the blocks at once (16 samples of v1.0): the feed-forward activations then
stay in the second-level cache, which is a quarter faster than 64 samples at once."""


class FamilyEncoder(MaskedEncoder):
    """Embedding, blocks and head, under names that official checkpoints are renamed to.

    Attributes:
        element: numbers per token P.
        rows: rows of the position table, CLS included.
    """

    prefix = 1
    mask_value = MASK_VALUE

    def __init__(self, wiring: Wiring, sizes: Sizes, element: int, dropout: float, attention: str) -> None:
        super().__init__()
        self.dim = sizes.width
        self.element = element
        self.rows = sizes.max_tokens
        self.embedding = Embedding(element, sizes.width, sizes.max_tokens)
        self.blocks = nn.ModuleList(Block(wiring, sizes, dropout, attention) for _ in range(sizes.layers))
        self.head = Head(element, sizes.width)
        self._plans: tuple[HeadPlan | None, ...] = ()
        self._planned_for: tuple[int, ...] = ()

    def table_rows(self, tokens: TokenGrid) -> Tensor | None:
        """(N,) rows of the position table behind CLS, one per token; None if they are the first N in order."""
        return None

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        """See `Encoder.encode`; tokens that are left out are neither embedded nor attended to."""
        values, table, rows = tokens.values, self.embedding.position, self.table_rows(tokens)
        cls = (
            values.new_full((1, 1, 1), CLS_VALUE)
            if tokens.level_db is None
            else tokens.level_db[:, None, None] / LEVEL_DB
        )
        cls = cls.expand(values.shape[0], 1, self.element)
        if keep is None:
            position = table[: tokens.count + 1] if rows is None else torch.cat([table[:1], table[rows + 1]])
            return self.encode_sequence(torch.cat([cls, values], 1), position)
        values = values.gather(1, keep.unsqueeze(-1).expand(-1, -1, self.element))
        places = keep if rows is None else rows[keep]
        position = torch.cat([table[:1].expand(keep.shape[0], 1, -1), table[places + 1]], 1)
        return self.encode_sequence(torch.cat([cls, values], 1), position)

    def encode_sequence(self, values: Tensor, position: Tensor) -> Tensor:
        """Run raw token rows, CLS included: (B, S, P) and (S, D) or (B, S, D) positions -> (B, S, D)."""
        plans = self._head_plans()
        if torch.is_grad_enabled() or values.device.type != "cpu":
            return self._run(values, position, plans)
        size = max(1, _CHUNK_TOKENS // values.shape[1])
        parts = [slice(start, start + size) for start in range(0, max(1, values.shape[0]), size)]
        shared = position.ndim == 2
        return torch.cat([self._run(values[part], position if shared else position[part], plans) for part in parts])

    def _run(self, values: Tensor, position: Tensor, plans: tuple[HeadPlan | None, ...]) -> Tensor:
        x: Tensor = self.embedding(values, position)
        for index, block in enumerate(self.blocks):
            x = block(x, plans[index]) if plans else block(x)
        return x

    def reconstruct(self, hidden: Tensor) -> Tensor:
        """Numbers of tokens from their hidden vectors: (B, M, D) -> (B, M, P)."""
        result: Tensor = self.head(hidden)
        return result

    def fill(self, tokens: TokenGrid, index: Tensor) -> Tensor:
        """See `MaskedEncoder.fill`."""
        hidden = self.encode(tokens)
        return self.reconstruct(hidden.gather(1, (index + 1).unsqueeze(-1).expand(-1, -1, self.dim)))

    def _head_plans(self) -> tuple[HeadPlan | None, ...]:
        """Shortcuts of all blocks at inference, made anew whenever a weight has changed; () while training."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return ()
        if any(hasattr(p, "device_mesh") or p.is_inference() for p in self.parameters()):
            return ()  # weights that are sharded, or whose changes torch does not count
        state = tuple(number for p in self.parameters() for number in (p.data_ptr(), p._version))
        if state != self._planned_for:
            radii = [self.embedding.norm.radius(), *(block.radius() for block in self._typed_blocks())]
            attentions = [block.attention for block in self._typed_blocks()]
            self._plans = tuple(plan_heads(layer, radius) for layer, radius in zip(attentions, radii, strict=False))
            self._planned_for = state
        return self._plans if any(plan is not None for plan in self._plans) else ()

    def _typed_blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
