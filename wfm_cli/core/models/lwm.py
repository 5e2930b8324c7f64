"""The Large Wireless Model family: LWM v1.0, LWM v1.1 and the LWM-Spectro encoder.

One encoder, three wirings. The published files use nearly equal parameter names for three different networks:

               attention residual   norms per block          heads x d     token
    v1.0       a = N(x + A)         1, after attention       12 x 5        16 numbers of one part of one antenna row
    v1.1       a = N1(2x + A)       2, after each half       8 x 16        4x4 channel entries, 32 numbers
    Spectro    a = N1(x + A)        2, after each half       8 x 16        4x4 spectrogram bins, 16 numbers

with A the attention of x (for v1.1 the residual is added inside the attention and once more around it), then
x = a + FFN(a), normed by N2 in v1.1 and Spectro. N is `StdNorm`. CLS and MASK tokens are the constants 0.2 and 0.1.
Papers: LWM arXiv 2411.08872, LWM-Spectro arXiv 2601.08780. Official weights are read by `import_lwm`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.base import MaskedEncoder
from wfm_cli.core.models.blocks.attention import SelfAttention
from wfm_cli.core.models.blocks.dropout import dropout
from wfm_cli.core.models.blocks.norms import StdNorm
from wfm_cli.core.models.blocks.patches import (
    grid_coords,
    grid_sincos,
    join_patches,
    join_rows,
    split_patches,
    split_rows,
)
from wfm_cli.core.models.blocks.uniform import HeadPlan, plan_heads
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.errors import InputError

CLS_VALUE = 0.2
MASK_VALUE = 0.1
LEVEL_DB = 20.0
"""Decibels that move the CLS token by one where it carries the level of the sample."""

_CHUNK_TOKENS = 2064
"""Tokens that inference on CPU runs through the blocks at once (16 samples of v1.0): the feed-forward activations then
stay in the second-level cache, which is a quarter faster than 64 samples at once."""


@dataclass(frozen=True)
class Wiring:
    """What sets a published wiring apart, and its published sizes."""

    element: int
    """Numbers per token P."""
    residual: int
    """How often the block's input is added to its attention."""
    second_norm: bool
    """Whether the feed-forward half is normed too."""
    width: int
    heads: int
    rows: int
    """Rows of the position table, CLS included."""
    parameters: int
    """Published size in parameters, head and unused norms included."""


WIRINGS = {
    "v1.0": Wiring(16, 1, False, 64, 12, 129, 603_712),
    "v1.1": Wiring(32, 2, True, 128, 8, 513, 2_470_304),
    "spectro": Wiring(16, 1, True, 128, 8, 1025, 2_531_728),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of one encoder, all known; the names are those of the recipe block."""

    layers: int
    width: int
    heads: int
    ffn: int
    max_tokens: int

    @classmethod
    def of(cls, block: LWMModel) -> Sizes:
        """What the block says, and the published values of its wiring where it says nothing."""
        wiring = WIRINGS[block.wiring]
        width = block.width or wiring.width
        heads = block.heads or wiring.heads
        if heads > width:
            raise InputError(f"model.heads: {heads} heads do not fit into width {width}", "use fewer heads")
        return cls(block.layers or 12, width, heads, block.ffn or 4 * width, block.max_tokens or wiring.rows)


def build(block: LWMModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> LWMEncoder:
    """Called by `build_encoder`; the wiring says what the axes are."""
    return LWMEncoder(block, sample_shape)


class FeedForward(nn.Module):
    """fc2(dropout(relu(fc1 x)))."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        hidden = dropout(F.relu(self.fc1(x), inplace=True), self.dropout, self.training)
        result: Tensor = self.fc2(hidden)
        return result

    def radius(self, radius: float) -> float:
        """Upper bound of the output's norm for inputs with norms up to `radius`."""
        first, second = self.fc1.weight.detach().double(), self.fc2.weight.detach().double()
        hidden = first.norm(dim=1) * radius + self.fc1.bias.detach().double().abs()
        return float(second.norm(dim=0) @ hidden + self.fc2.bias.detach().double().norm())


class Block(nn.Module):
    """One block of the family; `wiring` decides residuals and norms."""

    def __init__(self, wiring: Wiring, sizes: Sizes, dropout: float, backend: str) -> None:
        super().__init__()
        width = sizes.width
        self.residual = wiring.residual
        self.dropout = dropout
        self.attention = SelfAttention(width, sizes.heads, width // sizes.heads, backend)
        self.norm1 = StdNorm(width)
        self.ffn = FeedForward(width, sizes.ffn, dropout)
        self.norm2 = StdNorm(width) if wiring.second_norm else None
        if not wiring.second_norm:
            # v1.0 stores two norms per block that its forward pass never uses. They are kept so that official files
            # load strictly and parameter counts agree; frozen, so that data-parallel training does not wait for them.
            self.stored_norms = nn.ModuleList([StdNorm(width), StdNorm(width)]).requires_grad_(False)

    def forward(self, x: Tensor, plan: HeadPlan | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); `plan` stands in for the attention at inference."""
        mixed = self.attention(x) if plan is None else plan.apply(x, self.attention.backend)
        mixed = dropout(mixed, self.dropout, self.training)
        a = self.norm1(mixed + x if self.residual == 1 else torch.add(mixed, x, alpha=self.residual))
        x = a + dropout(self.ffn(a), self.dropout, self.training)
        return x if self.norm2 is None else self.norm2(x)

    def radius(self) -> float:
        """Upper bound of the norm of an output token."""
        if self.norm2 is not None:
            return self.norm2.radius()
        first = self.norm1.radius()
        return first + self.ffn.radius(first)


class Embedding(nn.Module):
    """Linear projection of tokens plus a learned position, normed."""

    def __init__(self, element: int, width: int, rows: int) -> None:
        super().__init__()
        self.proj = nn.Linear(element, width)
        self.position = nn.Parameter(torch.randn(rows, width) * 0.02)
        self.norm = StdNorm(width)

    def forward(self, values: Tensor, position: Tensor) -> Tensor:
        """(B, S, P) tokens and the (S, D) or (B, S, D) rows of the position table -> (B, S, D)."""
        embedded: Tensor = self.norm(self.proj(values) + position)
        return embedded


class Head(nn.Module):
    """Masked channel modelling head: decoder(N(relu(dense h))) + bias."""

    def __init__(self, element: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = StdNorm(width)
        self.decoder = nn.Linear(width, element)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, P)."""
        result: Tensor = self.decoder(self.norm(F.relu(self.dense(hidden))))
        return result


class LWMEncoder(MaskedEncoder):
    """LWM v1.0, v1.1 or Spectro, head included, as the published parameter counts have it.

    v1.0 and v1.1 read channels (antenna, subcarrier, 2) in the published scale (path gains x 1e6). v1.0 needs rows of
    16 subcarriers; v1.1 pads both axes with zeros to multiples of 4. Spectro reads spectrograms in dB, (frequency,
    time) with or without one channel axis in front or behind, and standardises each.
    """

    kind: ClassVar[str] = "lwm"
    poolings = ("cls", "mean", "all")
    default_pooling = "cls"
    mask_value = MASK_VALUE

    def __init__(self, block: LWMModel, sample_shape: tuple[int, ...]) -> None:
        super().__init__()
        sizes = Sizes.of(block)
        wiring = WIRINGS[block.wiring]
        self.block = block.model_copy(update=asdict(sizes))
        self.wiring = block.wiring
        self.dim = sizes.width
        self.prefix = 1
        self.element = wiring.element
        self.sample_shape = sample_shape
        self.rows = sizes.max_tokens
        self.scale = block.scale
        if block.scale == "power" and block.wiring == "spectro":
            raise InputError("model.scale: spectro standardises every spectrogram itself", "leave model.scale out")
        self.embedding = Embedding(wiring.element, sizes.width, sizes.max_tokens)
        self.blocks = nn.ModuleList(Block(wiring, sizes, block.dropout, block.attention) for _ in range(sizes.layers))
        self.head = Head(wiring.element, sizes.width)
        self._plans: tuple[HeadPlan | None, ...] = ()
        self._planned_for: tuple[int, ...] = ()
        self._axes, coords = _grid(block.wiring, sample_shape)
        self._coords: Tensor
        self.register_buffer("_coords", coords, persistent=False)
        self._check_length(coords.shape[0])
        if block.positions == "sincos":
            with torch.no_grad():
                self.embedding.position[1 : coords.shape[0] + 1] = grid_sincos(coords, sizes.width)

    def tokenize(self, batch: Tensor) -> TokenGrid:
        """Tokens of samples; v1.1 also takes other sizes than `sample_shape`.

        Args:
            batch: (B, antenna, subcarrier, 2) float32 channels, or (B, frequency, time) spectrograms in dB with an
                optional axis of length one in front of or behind the last two.

        Returns:
            v1.0: (B, 2 M K / 16, 16) on axes antenna, subcarrier, part. v1.1: (B, ceil(M/4) ceil(K/4), 32) on antenna,
            subcarrier. Spectro: (B, ceil(F/4) ceil(T/4), 16) on frequency, time.
        """
        shape = tuple(batch.shape[1:])
        coords = self._coords
        if shape != self.sample_shape:
            if self.wiring != "v1.1":
                raise InputError(
                    f"encoder 'lwm' {self.wiring} was built for samples of shape {self.sample_shape}, got {shape}",
                    "build the encoder for the data at hand",
                )
            coords = _grid(self.wiring, shape)[1].to(batch.device)
            self._check_length(coords.shape[0])
        level_db = None
        if self.scale == "power":
            power = batch.square().flatten(1).mean(1).clamp_min(torch.finfo(batch.dtype).tiny)
            batch, level_db = batch * power.rsqrt().view(-1, 1, 1, 1), 10 * power.log10()
        if self.wiring == "v1.0":
            return TokenGrid(split_rows(batch, self.element), coords, self._axes, level_db)
        images = batch if self.wiring == "v1.1" else _standardise(_as_image(batch))
        return TokenGrid(split_patches(images, 4), coords, self._axes, level_db)

    def untokenize(self, values: Tensor) -> Tensor:
        """Inverse of `tokenize` for `sample_shape`, up to padding, standardisation and division by the power."""
        shape = self.sample_shape
        if self.wiring == "v1.0":
            return join_rows(values, shape[0], shape[1])
        rows, columns = shape[:2] if self.wiring == "v1.1" else _image_size(shape)
        return join_patches(values, rows, columns, 4).reshape(values.shape[0], *shape)

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        """See `Encoder.encode`; tokens that are left out are neither embedded nor attended to."""
        values, table = tokens.values, self.embedding.position
        cls = (
            values.new_full((1, 1, 1), CLS_VALUE)
            if tokens.level_db is None
            else tokens.level_db[:, None, None] / LEVEL_DB
        )
        cls = cls.expand(values.shape[0], 1, self.element)
        if keep is None:
            self._check_length(tokens.count)
            return self.encode_sequence(torch.cat([cls, values], 1), table[: tokens.count + 1])
        values = values.gather(1, keep.unsqueeze(-1).expand(-1, -1, self.element))
        position = torch.cat([table[:1].expand(keep.shape[0], 1, -1), table[keep + 1]], 1)
        return self.encode_sequence(torch.cat([cls, values], 1), position)

    def encode_sequence(self, values: Tensor, position: Tensor) -> Tensor:
        """Run raw token rows, CLS included: (B, S, P) and (S, D) or (B, S, D) positions -> (B, S, D)."""
        plans = self._head_plans()
        if torch.is_grad_enabled() or values.device.type != "cpu":
            return self._run(values, position, plans)
        size = max(1, _CHUNK_TOKENS // values.shape[1])
        parts = [slice(start, start + size) for start in range(0, values.shape[0], size)]
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

    def _check_length(self, tokens: int) -> None:
        if tokens + 1 > self.rows:
            raise InputError(
                f"model.max_tokens: {tokens} tokens and CLS do not fit into a position table of {self.rows} rows",
                "use fewer antennas or subcarriers, or raise model.max_tokens (published weights cannot be stretched)",
            )


def _grid(wiring: str, shape: tuple[int, ...]) -> tuple[tuple[str, ...], Tensor]:
    """Axes and coordinates of the token grid of one sample."""
    if wiring == "spectro":
        rows, columns = _image_size(shape)
        return ("frequency", "time"), grid_coords(-(-rows // 4), -(-columns // 4))
    if len(shape) != 3 or shape[2] != 2:
        raise InputError(
            f"encoder 'lwm' {wiring} needs channels of shape (antenna, subcarrier, 2), got samples of shape {shape}",
            "choose the array of the store that holds complex channels (data.array: channel)",
        )
    antennas, subcarriers = shape[:2]
    if wiring == "v1.1":
        return ("antenna", "subcarrier"), grid_coords(-(-antennas // 4), -(-subcarriers // 4))
    if subcarriers % 16 and (16 % subcarriers or antennas * subcarriers % 16):
        raise InputError(
            f"encoder 'lwm' v1.0 cuts antenna rows into 16 subcarriers; {antennas} x {subcarriers} does not divide",
            "use a multiple of 16 subcarriers, or model.wiring=v1.1, which pads",
        )
    span = max(1, 16 // subcarriers)  # antennas that share a token when there are fewer than 16 subcarriers
    part, antenna, subcarrier = grid_coords(2, antennas // span, max(1, subcarriers // 16)).unbind(1)
    return ("antenna", "subcarrier", "part"), torch.stack([antenna, subcarrier, part], 1)


def _image_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Frequency and time length of a spectrogram shape with at most one channel axis of length one."""
    sizes = shape
    if len(sizes) == 3:
        sizes = sizes[1:] if sizes[0] == 1 else sizes[:2] if sizes[2] == 1 else sizes
    if len(sizes) != 2:
        raise InputError(
            f"encoder 'lwm' spectro needs spectrograms of shape (frequency, time), got samples of shape {shape}",
            "choose an array of real spectrograms with one channel",
        )
    return sizes[0], sizes[1]


def _as_image(batch: Tensor) -> Tensor:
    """(B, F, T), (B, 1, F, T) or (B, F, T, 1) -> (B, F, T, 1)."""
    return batch.reshape(batch.shape[0], *_image_size(tuple(batch.shape[1:])), 1)


def _standardise(images: Tensor) -> Tensor:
    """Zero mean and unit (population) deviation per sample, as in LWM-Spectro."""
    flat = images.flatten(1)
    deviation, mean = torch.std_mean(flat, dim=1, correction=0, keepdim=True)
    return ((flat - mean) / deviation.clamp_min(1e-6)).view_as(images)
