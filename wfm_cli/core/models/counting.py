"""Parameters and operations of networks, counted the two ways that papers count them.

Published tables mix conventions. `operations` is that of the layer-wise counters (twice the multiply-accumulates, four
per element of a norm, a pooling window and its division per output, nothing for activations and attention products);
`transformer_operations` is the closed form of matrix products alone, attention included, as profilers of products give.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def parameters(module: nn.Module) -> int:
    """Learned numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def operations(module: nn.Module, *inputs: Any) -> int:
    """Twice the operations of one forward pass, by layer.

    Args:
        module: network, looked at in evaluation mode.
        inputs: what its forward takes.
    """
    total = 0

    def hook(layer: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        nonlocal total
        total += _layer(layer, given[0], result)

    handles = [layer.register_forward_hook(hook) for layer in module.modules() if not list(layer.children())]
    mode = module.training
    try:
        module.eval()(*inputs)
    finally:
        module.train(mode)
        for handle in handles:
            handle.remove()
    return 2 * total


def _layer(layer: nn.Module, given: Tensor, result: Any) -> int:
    if isinstance(layer, nn.Conv2d):
        window = layer.kernel_size[0] * layer.kernel_size[1]
        return int(result.numel() * (layer.in_channels // layer.groups) * window)
    if isinstance(layer, nn.Linear):
        return int(result.numel() * layer.in_features)
    if isinstance(layer, nn.GRU):
        steps = given.shape[0] * given.shape[1]
        return steps * sum(_gru(layer, index) for index in range(layer.num_layers))
    if isinstance(layer, _NORMS):
        return 4 * int(result.numel())
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        window = (given.shape[-2] // result.shape[-2]) * (given.shape[-1] // result.shape[-1])
        return int(result.numel() * (window + 1))
    return 0


def _gru(layer: nn.GRU, index: int) -> int:
    """One step of one layer: three gates, their biases, and the mix of old and new state."""
    hidden = layer.hidden_size
    wide = layer.input_size if index == 0 else hidden
    gate = (hidden + wide) * hidden + hidden + (2 * hidden if layer.bias else 0)
    return 3 * gate + 4 * hidden


def transformer_operations(width: int, layers: int, tokens: int) -> int:
    """Products of `layers` blocks of one width with perceptrons of four widths: 24 n D^2 + 4 n^2 D each."""
    return layers * (24 * tokens * width**2 + 4 * tokens**2 * width)
