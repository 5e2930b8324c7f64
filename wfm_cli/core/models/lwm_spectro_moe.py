"""LWM-Spectro's mixture of experts (arXiv 2601.08780): one encoder per standard and a router that picks among them."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from wfm_cli.core.models.base import MaskedEncoder
from wfm_cli.core.models.blocks.images import join
from wfm_cli.core.models.blocks.moe import Routing, dispatch, top_k
from wfm_cli.core.models.lwm_family import MASK_VALUE
from wfm_cli.core.models.lwm_spectro import LWMSpectroEncoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import LWMSpectroMoEModel, RouterBlock
from wfm_cli.errors import InputError

_GROUP = 8
"""Channels that share a mean and deviation in the router's group norm."""


def build(
    block: LWMSpectroMoEModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None
) -> LWMSpectroMoE:
    """Called by `build_encoder`; experts start fresh, their runs are read by the training."""
    return LWMSpectroMoE(block, sample_shape)


class HeldBatchNorm(nn.BatchNorm2d):
    """Batch norm that always uses its stored statistics: those of an official checkpoint, or mean 0 and variance 1."""

    def train(self, mode: bool = True) -> HeldBatchNorm:
        """Scale and shift are trained, statistics are not."""
        super().train(False)
        return self


class Router(nn.Module):
    """Four convolutions with stride 2, each with a norm and SiLU; mean over the picture; dropout; scores.

    Published sizes: 1 -> 32 (5x5), 64, 96, 128 (3x3).
    """

    def __init__(self, block: RouterBlock, experts: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width, size in zip(block.channels, (5, 3, 3, 3), strict=True):
            if block.norm == "group" and width % _GROUP:
                raise InputError(f"model.router.channels: {width} is no multiple of {_GROUP}", "choose one")
            norm = nn.GroupNorm(width // _GROUP, width) if block.norm == "group" else HeldBatchNorm(width)
            layers += [nn.Conv2d(before, width, size, stride=2, padding=size // 2), norm, nn.SiLU()]
            before = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(block.dropout)
        self.scores = nn.Linear(before, experts)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, F, T) -> (B, E)."""
        scores: Tensor = self.scores(self.dropout(self.features(images).mean((2, 3))))
        return scores


class LWMSpectroMoE(MaskedEncoder):
    """Experts that share the grid of one LWM-Spectro encoder, and what the router makes of them.

    A sample goes through its `top` best experts; hidden vectors and reconstructions are their weighted sums, hence the
    embedding too for every pooling that is a mean. The router sees what the tokens show: MASK tokens stay masked.

    Attributes:
        names: of the experts, in the order of the router's scores.
    """

    kind: ClassVar[str] = "lwm_spectro_moe"
    poolings = LWMSpectroEncoder.poolings
    mask_value = MASK_VALUE
    wiring = "spectro"
    prefix = 1

    def __init__(self, block: LWMSpectroMoEModel, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        if block.top > len(block.experts):
            raise InputError(f"model.top: {block.top} of {len(block.experts)} experts", "lower it")
        if any("." in name or not name for name in block.experts):
            raise InputError("model.experts: a name is empty or has a dot", "name experts by their standards")
        self.names = tuple(block.experts)
        self.experts = nn.ModuleDict({name: LWMSpectroEncoder(block.expert, sample_shape) for name in self.names})
        self.router = Router(block.router, len(self.names))
        first = self.expert(0)
        self.dim, self.sample_shape, self.patch = first.dim, sample_shape, first.patch
        self.default_pooling = first.default_pooling
        self.top, self.frozen = block.top, block.freeze
        self.block = block.model_copy(update={"experts": dict.fromkeys(self.names), "expert": first.block})
        self.experts.requires_grad_(not block.freeze)
        self.train(self.training)

    def expert(self, number: int) -> LWMSpectroEncoder:
        """One of the experts."""
        return cast(LWMSpectroEncoder, self.experts[self.names[number]])

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """Layer by layer, the blocks of all experts."""
        layers = zip(*(self.expert(i).blocks for i in range(len(self.names))), strict=True)
        return nn.ModuleList(nn.ModuleList(layer) for layer in layers)

    def train(self, mode: bool = True) -> LWMSpectroMoE:
        """As usual, but frozen experts know no dropout."""
        super().train(mode)
        if self.frozen:
            self.experts.eval()
        return self

    def tokenize(self, batch: Tensor) -> TokenGrid:
        """See `LWMSpectroEncoder.tokenize`; all experts have the same grid and scale."""
        return self.expert(0).tokenize(batch)

    def untokenize(self, values: Tensor) -> Tensor:
        """See `LWMSpectroEncoder.untokenize`."""
        return self.expert(0).untokenize(values)

    def route(self, tokens: TokenGrid, keep: Tensor | None = None) -> Routing:
        """Which experts the samples go through.

        Args:
            tokens: the grid of a batch.
            keep: (B, K) visible tokens; the others count as zero. All by default.
        """
        values = tokens.values
        if keep is not None:
            index = keep.unsqueeze(-1).expand(-1, -1, values.shape[2])
            values = torch.zeros_like(values).scatter(1, index, values.gather(1, index))
        rows, columns = (tokens.coords[-1] + 1).tolist()
        images = join(values.unsqueeze(1), rows * self.patch[0], columns * self.patch[1], self.patch)
        return top_k(self.router(images), self.top)

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None, routing: Routing | None = None) -> Tensor:
        """See `Encoder.encode`; `routing` takes the place of the router's own."""

        def run(number: int, rows: Tensor) -> Tensor:
            part = tokens.with_values(tokens.values[rows])
            return self.expert(number).encode(part, None if keep is None else keep[rows])

        routing = routing or self.route(tokens, keep)
        return dispatch(routing, len(self.names), run, every=self._every)

    def fill(self, tokens: TokenGrid, index: Tensor, routing: Routing | None = None) -> Tensor:
        """See `MaskedEncoder.fill`; every expert has a head of its own."""

        def run(number: int, rows: Tensor) -> Tensor:
            return self.expert(number).fill(tokens.with_values(tokens.values[rows]), index[rows])

        return dispatch(routing or self.route(tokens), len(self.names), run, every=self._every)

    def pool(self, hidden: Tensor, pooling: str | None = None, coords: Tensor | None = None) -> Tensor:
        """See `LWMSpectroEncoder.pool`."""
        return self.expert(0).pool(hidden, pooling, coords)

    def embedding_dim(self, pooling: str | None = None) -> int:
        """Length of what `embed` returns for a sample."""
        return self.expert(0).embedding_dim(pooling)

    @property
    def _every(self) -> bool:
        """Whether experts without samples run too: wherever gradients or gathered weights must agree over ranks."""
        return torch.is_grad_enabled() or any(hasattr(p, "device_mesh") for p in self.parameters())
