"""Cutting samples into tokens and putting them together again; pure reshaping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def split_rows(batch: Tensor, length: int) -> Tensor:
    """LWM v1.0 tokens: all real parts, antenna by antenna, in rows of `length`, then all imaginary parts.

    Args:
        batch: (B, antenna, subcarrier, 2).
        length: numbers per token; must divide antenna x subcarrier.

    Returns:
        (B, 2 * antenna * subcarrier / length, length).
    """
    return batch.flatten(1, 2).transpose(1, 2).reshape(batch.shape[0], -1, length)


def join_rows(values: Tensor, antennas: int, subcarriers: int) -> Tensor:
    """Inverse of `split_rows`: (B, N, length) -> (B, antenna, subcarrier, 2)."""
    return values.reshape(-1, 2, antennas, subcarriers).permute(0, 2, 3, 1)


def split_patches(images: Tensor, size: int) -> Tensor:
    """Square patches in row-major order, zero padded at the far ends; channels run fastest inside a patch.

    Args:
        images: (B, rows, columns, C).
        size: edge of a patch.

    Returns:
        (B, ceil(rows / size) * ceil(columns / size), size * size * C).
    """
    rows, columns = images.shape[1:3]
    if rows % size or columns % size:
        images = F.pad(images, (0, 0, 0, -columns % size, 0, -rows % size))
    batch, rows, columns, channels = images.shape
    blocks = images.reshape(batch, rows // size, size, columns // size, size, channels).transpose(2, 3)
    return blocks.reshape(batch, -1, size * size * channels)


def join_patches(values: Tensor, rows: int, columns: int, size: int) -> Tensor:
    """Inverse of `split_patches` without the padding: (B, N, size * size * C) -> (B, rows, columns, C)."""
    down, across = -(-rows // size), -(-columns // size)
    blocks = values.reshape(values.shape[0], down, across, size, size, -1).transpose(2, 3)
    return blocks.reshape(values.shape[0], down * size, across * size, -1)[:, :rows, :columns]


def grid_coords(*sizes: int) -> Tensor:
    """Coordinates of all cells of a grid in row-major order: (prod(sizes), len(sizes)) int64."""
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))


def grid_sincos(coords: Tensor, width: int, base: float = 100.0) -> Tensor:
    """Sines and cosines of grid coordinates, the axes side by side.

    Args:
        coords: (N, A) int64.
        width: D; every axis gets an equal even share, what is left over stays zero.
        base: ratio of the highest to the lowest angular frequency; the highest is one radian per cell.

    Returns:
        (N, D) float32.
    """
    axes = coords.shape[1]
    half = width // (2 * axes)
    frequency = base ** (-torch.arange(half) / max(half, 1))
    angle = coords.unsqueeze(-1) * frequency  # (N, A, half)
    waves = torch.cat([angle.sin(), angle.cos()], -1).flatten(1)
    return F.pad(waves, (0, width - waves.shape[1]))
