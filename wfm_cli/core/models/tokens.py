"""Tokens on a physical grid: what every encoder makes of a batch and what every mask geometry cuts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class TokenGrid:
    """A batch of token sequences whose tokens lie on a named grid.

    Attributes:
        values: (B, N, P) float32, the P numbers of every token.
        coords: (N, A) int64, position of every token on the grid, counted in tokens along each axis.
        axes: names of the A grid axes, for instance `("antenna", "subcarrier", "part")`; `part` is 0 for the real
            and 1 for the imaginary numbers of the same channel entries.
    """

    values: Tensor
    coords: Tensor
    axes: tuple[str, ...]
    level_db: Tensor | None = None
    """(B,) float32, mean power of every sample in dB where `values` have been divided by its root; else None."""

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return self.values.shape[0]

    @property
    def count(self) -> int:
        """Tokens per sample N."""
        return self.values.shape[1]

    @property
    def patch(self) -> int:
        """Numbers per token P."""
        return self.values.shape[2]

    def with_values(self, values: Tensor) -> TokenGrid:
        """The same grid with other numbers in its tokens."""
        return replace(self, values=values)
