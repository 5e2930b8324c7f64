"""JEPA-MSAC (arXiv 2603.29796): multimodal sequences, a context encoder and a predictor in one latent space.

No code of it is public. The sizes here are those that give every number of parameters and operations in its Table IV;
what the paper leaves open is a field of the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.blocks.sensors import EfficientNetTokens, MapTokens, VectorTokens
from wfm_cli.core.models.blocks.transformer import EPSILON, blocks
from wfm_cli.core.models.counting import operations, parameters, transformer_operations
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.msac import JEPAMSACModel, Modality
from wfm_cli.errors import InputError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, equation 7."""
AXES = ("time", "modality", "patch")
_TINY = torch.finfo(torch.float32).tiny


class JEPAMSACEncoder(Encoder):
    """Tokenizers, position tables, context encoder and predictor.

    Samples are windows of frames: a mapping from modality to tensors (B, T, ...): `image` uint8 (3, H, W), `radar` and
    `lidar` (rows, columns), `gps` metres (2,), `power` (beams,). Tokens of a frame stand in the order of
    `block.modalities`, frames one behind the other; token (t, m, p) is at its time, modality and patch.

    Attributes:
        block: the recipe's block, with the scales resolved.
        counts: tokens of a frame per modality.
    """

    kind: ClassVar[str] = "jepa_msac"
    poolings = ("mean", "last")
    default_pooling = "mean"

    def __init__(self, block: JEPAMSACModel, steps: int | None = None) -> None:
        super().__init__()
        if steps is not None and steps != block.steps:
            raise InputError(
                f"encoder 'jepa_msac' takes windows of {block.steps} frames, the store has windows of {steps}",
                "set model.history and model.horizon to the frames of the store's windows",
            )
        self.tokenizers = nn.ModuleDict({name: _tokenizer(name, block) for name in block.modalities})
        self.counts = {name: int(self.tokenizers[name].count) for name in block.modalities}  # type: ignore[arg-type]
        # Weights belong to the run from here on: rebuilding the encoder needs none from elsewhere.
        self.block: JEPAMSACModel = block.model_copy(
            update={"vision": block.vision.model_copy(update={"weights": "random"})}
        )
        self.dim, self.prefix, self.sample_shape = block.width, 0, (block.steps,)
        self.time = _table(block.steps, block.width)
        self.modality = _table(len(block.modalities), block.width)
        self.patch = _table(max(self.counts.values()), block.width)
        self.mask_token = _table(1, block.width)
        self.blocks = blocks(block.layers, block.width, block.heads, 4 * block.width)
        self.norm = nn.LayerNorm(block.width, eps=EPSILON)
        self.predictor = blocks(block.predictor_layers, block.width, block.heads, 4 * block.width, deviation=None)
        self.predictor_norm = nn.LayerNorm(block.width, eps=EPSILON)
        self._coords: Tensor
        self.register_buffer("_coords", self._grid(block.steps), persistent=False)

    @property
    def frame_tokens(self) -> int:
        """Tokens of one frame; 43 with all five sensors."""
        return sum(self.counts.values())

    def tokenize(self, batch: Any, tokenizers: nn.ModuleDict | None = None) -> TokenGrid:
        """Tokens of windows, by learned tokenizers: mapping of (B, T, ...) -> (B, 43 T, D).

        T may be less than the frames of a window: the first T. `tokenizers` takes the place of the encoder's own.

        Raises:
            InputError: a modality of the model is missing.
        """
        made = []
        for name in self.block.modalities:
            if name not in batch:
                raise InputError(
                    f"encoder 'jepa_msac' needs the modality {name}, which these windows do not have",
                    "leave it out of model.modalities",
                )
            frames = self._scaled(name, batch[name])
            tokens: Tensor = (tokenizers or self.tokenizers)[name](frames.flatten(0, 1))
            made.append(tokens.view(*frames.shape[:2], *tokens.shape[1:]))
        values = torch.cat(made, 2)
        steps = values.shape[1]
        return TokenGrid(values.flatten(1, 2), self._coords[: steps * self.frame_tokens], AXES)

    def _scaled(self, name: Modality, frames: Tensor) -> Tensor:
        """Frames of one sensor in the range that networks like, (B, T, [channels,] ...) float32."""
        frames = frames.float()
        if name == "image":
            mean, std = (frames.new_tensor(row).view(3, 1, 1) for row in (IMAGE_MEAN, IMAGE_STD))
            return (frames / 255 - mean) / std
        if name == "radar":
            level = frames.mean((-2, -1), keepdim=True).clamp_min(_TINY)
            return self._reduced(torch.log1p(frames / level))
        if name == "lidar":
            return self._reduced(frames)
        if name == "gps":
            return frames / (self.block.gps_scale or 1.0)
        return (frames - (self.block.power_mean or 0.0)) / (self.block.power_scale or 1.0)

    def _reduced(self, maps: Tensor) -> Tensor:
        """(B, T, rows, columns) -> (B, T, 1, rows / reduce, columns / reduce)."""
        size = self.block.reduce
        if size > 1:
            maps = nn.functional.avg_pool2d(maps, size)
        return maps.unsqueeze(2)

    def positions(self, coords: Tensor) -> Tensor:
        """E_t + E_m + E_p of equation 12: (N, 3) -> (N, D)."""
        time, modality, patch = coords.unbind(1)
        return self.time[time] + self.modality[modality] + self.patch[patch]

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        """See `Encoder.encode`."""
        return self.context(tokens.values, self.positions(tokens.coords), keep)

    def context(self, values: Tensor, place: Tensor, keep: Tensor | None = None) -> Tensor:
        """The context encoder on tokens (B, N, D) at positions (N, D), of which `keep` (B, K) are visible."""
        x = values + place
        if keep is not None:
            x = x.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[2]))
        for block in self.blocks:
            x = block(x)
        hidden: Tensor = self.norm(x)
        return hidden

    def predict(self, hidden: Tensor, coords: Tensor, target: Tensor) -> Tensor:
        """Latents of hidden tokens.

        Args:
            hidden: (B, Kc, D) output of the context encoder; its positions are part of it.
            coords: (N, 3) coordinates of all tokens.
            target: (B, Kt) int64 tokens to predict.

        Returns:
            (B, Kt, D).
        """
        asked = self.mask_token.expand(*target.shape, -1)
        if self.block.place_mask_tokens:
            asked = asked + self.positions(coords)[target]
        x = torch.cat([hidden, asked.to(hidden.dtype)], 1)
        for block in self.predictor:
            x = block(x)
        result: Tensor = self.predictor_norm(x[:, -target.shape[1] :])
        return result

    def forecast(self, batch: Mapping[str, Tensor], without: Sequence[str] = ()) -> Tensor:
        """What the predictor makes of the future: windows, of which the first frames are seen -> (B, horizon, 43, D).

        Args:
            batch: windows; frames behind the history are not looked at.
            without: modalities that are not seen either, as if their sensors had failed.
        """
        history = self.block.history
        return self.forecast_from(self.tokenize({name: part[:, :history] for name, part in batch.items()}), without)

    def forecast_from(self, grid: TokenGrid, without: Sequence[str] = ()) -> Tensor:
        """`forecast` from the tokens of the history, (B, 43 history, D)."""
        seen = [i for i, name in enumerate(self.block.modalities) if name not in without]
        if not seen:
            raise InputError("a forecast needs at least one modality", "leave fewer of them out")
        keep = torch.isin(grid.coords[:, 1], grid.coords.new_tensor(seen)).nonzero().squeeze(1)
        hidden = self.encode(grid, None if len(keep) == grid.count else keep.expand(grid.batch, -1))
        future = torch.arange(grid.count, len(self._coords), device=hidden.device).expand(grid.batch, -1)
        made = self.predict(hidden, self._coords, future)
        return made.view(grid.batch, self.block.horizon, self.frame_tokens, self.dim)

    def embed(self, batch: Any, pooling: str | None = None) -> Tensor:
        """Mean over all tokens of the history (`mean`), or of its last frame (`last`): windows -> (B, D).

        Raises:
            InputError: there is no such pooling.
        """
        history = self.block.history
        return self.pool(self.encode(self.tokenize({name: part[:, :history] for name, part in batch.items()})), pooling)

    def pool(self, hidden: Tensor, pooling: str | None = None, coords: Tensor | None = None) -> Tensor:
        """See `Encoder.pool`; `last` is the mean over the last frame of (B, N, D)."""
        if (pooling or self.default_pooling) == "last":
            return hidden[:, -self.frame_tokens :].mean(1)
        return super().pool(hidden, pooling, coords)

    def sizes(self) -> dict[str, dict[str, int]]:
        """Table IV: parameters and operations of every tokenizer for one frame and of the backbone.

        The backbone's printed operations are those of both halves on the tokens of one frame. What a forecast takes,
        the encoder on all tokens of the history and the predictor on those of the whole window, is `sequence`.
        """
        shapes = {"image": (1, 3, 224, 224), "radar": (1, 1, 64, 256), "lidar": (1, 1, 64, 256), "gps": (1, 2)}
        made = {}
        for name, module in self.tokenizers.items():
            frame = torch.zeros(shapes.get(name, (1, self.block.beams)), device=self.mask_token.device)
            made[f"{name} tokenizer"] = {"parameters": parameters(module), "operations": operations(module, frame)}
        width, layers, inner = self.dim, len(self.blocks), len(self.predictor)
        frame_tokens, window = self.frame_tokens, self.frame_tokens * self.block.steps
        made["backbone"] = {
            "parameters": parameters(self.blocks) + parameters(self.predictor),
            "operations": transformer_operations(width, layers + inner, frame_tokens),
            "sequence": transformer_operations(width, layers, frame_tokens * self.block.history)
            + transformer_operations(width, inner, window),
        }
        return made

    def _grid(self, steps: int) -> Tensor:
        """(43 T, 3) int64 time, modality, patch of every token."""
        frame = [(m, p) for m, name in enumerate(self.counts) for p in range(self.counts[name])]
        return torch.tensor([(t, m, p) for t in range(steps) for m, p in frame], dtype=torch.int64)


def _table(rows: int, width: int) -> nn.Parameter:
    table = nn.Parameter(torch.empty(rows, width))
    nn.init.trunc_normal_(table, std=0.02)
    return table


def _tokenizer(name: Modality, block: JEPAMSACModel) -> nn.Module:
    if name == "image":
        if block.vision.network == "efficientnet_b0":
            return EfficientNetTokens(block.vision, block.width)
        return MapTokens(3, block.width, (3, 3))
    if name in ("radar", "lidar"):
        return MapTokens(1, block.width)
    return VectorTokens(2 if name == "gps" else block.beams, block.width)


def build(block: JEPAMSACModel, sample_shape: tuple[int, ...], dims: tuple[str, ...] | None = None) -> JEPAMSACEncoder:
    """Make the encoder for windows of a store, of so many frames.

    Raises:
        InputError: the windows have another length, or the block contradicts itself.
    """
    return JEPAMSACEncoder(block, sample_shape[0] if sample_shape else None)
