"""Image-like arrays: bicubic resizing and the published normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.core.store.schema import ArraySpec

METHOD = "bicubic with antialiasing (torch.nn.functional.interpolate, align_corners=False)"


@dataclass(frozen=True)
class Norm:
    """WavesFM's map of raw values: ((x - low) / (high - low) - mean) / std, mean and std by channel."""

    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise (B, C, H, W) in place."""
        values -= np.float32(self.low)
        values /= np.float32(self.high - self.low)
        values -= np.array(self.mean, np.float32)[:, None, None]
        values /= np.array(self.std, np.float32)[:, None, None]
        return values


def resize(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(B, C, H, W) to (B, C, size, size); unchanged when `size` is 0."""
    if not size or values.shape[2:] == (size, size):
        return values
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    made: NDArray[np.float32] = torch.nn.functional.interpolate(
        tensor, (size, size), mode="bicubic", antialias=True, align_corners=False
    ).numpy()
    return made


def describe(
    name: str, shape: tuple[int, int, int], dims: tuple[str, str, str], words: str, norm: Norm | None,
    source: WavesFMSource, more: Mapping[str, Any],
) -> ArraySpec:  # fmt: skip
    """Array of images whose raw shape is (channel, height, width)."""
    size = source.size
    made = (shape[0], size, size) if size else shape
    normalised = source.normalise == "wavesfm"
    attrs = {
        "normalise": source.normalise,
        "raw_shape": list(shape),
        "resize": METHOD if made != shape else "none",
        "wavesfm_normalisation": asdict(norm) | {"mean": list(norm.mean), "std": list(norm.std)} if norm else None,
        **more,
    }
    text = f"{words}, normalised as in WavesFM" if normalised else f"{words}, in the scale of the files"
    return ArraySpec(name, "float32", made, ("sample", *dims), "1", text, attrs)


def finish(values: NDArray[np.float32], norm: Norm | None, source: WavesFMSource) -> NDArray[np.float32]:
    """Resize and, where the recipe says so, normalise (B, C, H, W)."""
    values = np.array(resize(values, source.size), np.float32)
    return norm.apply(values) if norm is not None and source.normalise == "wavesfm" else values
