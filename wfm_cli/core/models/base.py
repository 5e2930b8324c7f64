"""What every encoder offers to the rest of wfm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.errors import InputError


class Encoder(nn.Module, ABC):
    """Turns a batch of samples into tokens, tokens into hidden vectors, and hidden vectors into one embedding.

    Attributes:
        kind: name in recipes.
        dim: width D of hidden vectors and embeddings.
        prefix: leading CLS tokens in the output of `encode`, 0 or 1.
        sample_shape: shape of one sample without the batch axis; complex data are real with a last axis [re, im].
        poolings: names that `embed` accepts.
        default_pooling: pooling that `embed` takes when none is named.
        samples_channels: whether training drops random channels of the samples (axis `channel` of the grid).
        blocks: the transformer blocks, in order; what `torch.compile` and FSDP2 wrap one by one.
    """

    kind: ClassVar[str]
    poolings: tuple[str, ...] = ("mean",)
    default_pooling: str = "mean"
    samples_channels: bool = False

    dim: int
    prefix: int
    sample_shape: tuple[int, ...]
    blocks: nn.ModuleList

    @abstractmethod
    def tokenize(self, batch: Tensor) -> TokenGrid:
        """Cut (B, *sample_shape) float32 samples into tokens; nothing is learned here."""

    @abstractmethod
    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        """Hidden vectors of the tokens, CLS first.

        Args:
            tokens: the grid of a batch.
            keep: (B, K) int64 indices of the visible tokens; all tokens if None. Only these are computed.

        Returns:
            (B, prefix + K, D).
        """

    def embed(self, batch: Tensor, pooling: str | None = None) -> Tensor:
        """One vector per sample: (B, *sample_shape) -> (B, embedding_dim(pooling)).

        Args:
            batch: samples as `tokenize` takes them.
            pooling: `cls` (the token in front), `mean` (mean over patch tokens), `all` (mean over both) or `concat`
                (the token in front, then the mean: 2 D), as far as `poolings` lists them.

        Raises:
            InputError: the encoder has no such pooling.
        """
        tokens = self.tokenize(batch)
        return self.pool(self.encode(tokens), pooling, tokens.coords)

    def pool(self, hidden: Tensor, pooling: str | None = None, coords: Tensor | None = None) -> Tensor:
        """One vector per sample from the hidden vectors of all tokens.

        Args:
            hidden: (B, prefix + N, D).
            pooling: one of `poolings`.
            coords: (N, A) places of the tokens, for poolings that go by them; those of `sample_shape` by default.

        Returns:
            (B, embedding_dim(pooling)).

        Raises:
            InputError: the encoder has no such pooling.
        """
        pooling = pooling or self.default_pooling
        if pooling not in self.poolings:
            raise InputError(
                f"encoder '{self.kind}' has no pooling '{pooling}'", f"choose one of: {', '.join(self.poolings)}"
            )
        if pooling == "cls":
            return hidden[:, 0]
        mean = hidden[:, 0 if pooling == "all" else self.prefix :].mean(dim=1)
        return torch.cat([hidden[:, 0], mean], 1) if pooling == "concat" else mean

    def sizes(self) -> dict[str, dict[str, int]]:
        """Parameters and operations of the parts, for models whose paper prints a table of them; empty for others."""
        return {}

    def embedding_dim(self, pooling: str | None = None) -> int:
        """Length of what `embed` returns for a sample."""
        return self.dim * (2 if (pooling or self.default_pooling) == "concat" else 1)


class MaskedEncoder(Encoder):
    """An encoder with a head that fills in hidden tokens (masked modelling).

    Attributes:
        mask_value: the constant that stands in every number of a hidden token.
    """

    mask_value: float

    @abstractmethod
    def fill(self, tokens: TokenGrid, index: Tensor) -> Tensor:
        """What stands in some tokens, judged by all tokens as they are in the grid.

        Args:
            tokens: the grid of a batch, hidden tokens already replaced.
            index: (B, M) int64, the tokens that are asked for.

        Returns:
            (B, M, P).
        """

    def head_parameters(self) -> list[nn.Parameter]:
        """Weights that `fill` uses and `encode` does not."""
        return [p for name, p in self.named_parameters() if name.startswith("head.") or ".head." in name]

    @abstractmethod
    def untokenize(self, values: Tensor) -> Tensor:
        """Inverse of `tokenize` without its scaling: (B, N, P) -> (B, *sample_shape)."""
