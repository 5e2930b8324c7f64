"""Tokens from the frames of one sensor each: small networks of JEPA-MSAC (arXiv 2603.29796) III-A."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.models.blocks.transformer import EPSILON
from wfm_cli.core.recipe.msac import VisionBlock
from wfm_cli.errors import InputError, MissingExtraError

FILTERS = 64
"""Filters of the small convolution, the only size that gives the 9.34 thousand parameters of Table IV."""
HUB = "google/efficientnet-b0"
FEATURES = 1280
"""Channels of EfficientNet-B0's last layer."""


class VectorTokens(nn.Module):
    """One token of a vector: a linear map and a layer norm."""

    count = 1

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, size) -> (B, 1, D)."""
        tokens: Tensor = self.norm(self.linear(frames)).unsqueeze(1)
        return tokens


class MapTokens(nn.Module):
    """A grid of tokens of a map: convolution, norm, pooling to the grid, projection, layer norm.

    The norm takes groups of the channels of one frame where the counts of Table IV would allow a batch norm just as
    well: its parameters are the same, and a frame's tokens do not depend on the others in the batch.
    """

    def __init__(self, channels: int, width: int, grid: tuple[int, int] = (4, 4)) -> None:
        super().__init__()
        self.count = grid[0] * grid[1]
        self.convolution = nn.Conv2d(channels, FILTERS, 3, stride=2, padding=1)
        self.group = nn.GroupNorm(8, FILTERS, eps=EPSILON)
        self.pooling = nn.AdaptiveAvgPool2d(grid)
        self.project = nn.Conv2d(FILTERS, width, 1)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, channels, rows, columns) -> (B, tokens, D)."""
        maps = self.pooling(F.gelu(self.group(self.convolution(frames))))
        tokens: Tensor = self.norm(self.project(maps).flatten(2).transpose(1, 2))
        return tokens


class EfficientNetTokens(nn.Module):
    """Nine tokens of an image: EfficientNet-B0, pooled to 3 x 3, projected, layer norm.

    Raises:
        MissingExtraError: the package that has the network is not installed.
        InputError: there are no such weights.
    """

    count = 9

    def __init__(self, block: VisionBlock, width: int) -> None:
        super().__init__()
        self.network = efficientnet_b0(block.weights)
        self.frozen = block.frozen
        if block.frozen:
            self.network.requires_grad_(False)
        self.pooling = nn.AdaptiveAvgPool2d(3)
        self.project = nn.Conv2d(FEATURES, width, 1)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def train(self, mode: bool = True) -> EfficientNetTokens:
        """The network's batch norms keep their statistics: a step must not depend on how a batch is cut."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, 9, D)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.pooling(self.network(frames).last_hidden_state)
        tokens: Tensor = self.norm(self.project(maps).flatten(2).transpose(1, 2))
        return tokens


def efficientnet_b0(weights: str) -> Any:
    """The feature network, 4,007,548 parameters: `random`, `hub`, or a folder or file that holds its weights."""
    try:
        from transformers import EfficientNetConfig, EfficientNetModel
    except ImportError as error:
        raise MissingExtraError(
            "model.vision.network: efficientnet_b0 needs the package transformers",
            "pip install 'wfm-toolkit[vision]', or choose model.vision.network=cnn",
        ) from error
    shape = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": FEATURES}
    if weights == "random":
        return EfficientNetModel(EfficientNetConfig(**shape))
    path = Path(weights)
    if weights != "hub" and not path.exists():
        raise InputError(
            f"model.vision.weights: there is no {weights}", "name a folder or file, or one of: hub, random"
        )
    try:
        if path.is_file():
            return _from_file(EfficientNetModel(EfficientNetConfig(**shape)), path)
        return EfficientNetModel.from_pretrained(HUB if weights == "hub" else path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model.vision.weights={weights}: cannot be loaded ({reason})",
            "give a local folder or file of google/efficientnet-b0, or model.vision.weights=random",
        ) from error


def _from_file(network: Any, path: Path) -> Any:
    """Weights of a `.safetensors` or torch file into the network; keys may carry the prefix of a classifier."""
    tensors: Mapping[str, Tensor]
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = load_file(path)
    else:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()
    found = {key.removeprefix("efficientnet."): value for key, value in tensors.items()}
    missing = sorted(key for key in own if key not in found or found[key].shape != own[key].shape)
    if missing:
        raise ValueError(f"{len(missing)} of {len(own)} tensors are missing or of another shape, such as {missing[0]}")
    network.load_state_dict({key: found[key] for key in own})
    return network
