"""AdamW with weight decay on matrices alone."""

from __future__ import annotations

import re

import torch
from torch import nn

from wfm_cli.core.recipe.pretrain import TrainBlock

TABLES = re.compile(
    r"(?:^|[._])(?:pos|position|positions|positional|token|tokens|cls|mask|register|registers)(?:[._]|$)"
)
"""Parts of parameter names that mark learned tokens and position tables."""


def decays(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay acts on `parameter`, called `name` in the whole model and held by `module`.

    Exempt are biases and every other vector, norms, embeddings, tokens and position tables: pulling them to zero
    restricts nothing that overfits and moves the scale of the residual stream.
    """
    if parameter.ndim <= 1 or isinstance(module, nn.Embedding | nn.LayerNorm | nn.GroupNorm):
        return False
    return not (TABLES.search(name) or (parameter.ndim > 2 and parameter.shape[:-1].numel() == 1))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters of `model` in two groups, with and without decay, each in the model's order."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                groups[decays(module, f"{prefix}.{name}", parameter)].append(parameter)
    return [{"params": groups[True], "weight_decay": weight_decay}, {"params": groups[False], "weight_decay": 0.0}]


def build_optimiser(model: nn.Module, train: TrainBlock) -> torch.optim.AdamW:
    """AdamW in one kernel for all parameters where the device has one, else a few kernels over lists."""
    groups = [group for group in parameter_groups(model, train.weight_decay) if group["params"]]
    try:
        return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, fused=True)
    except RuntimeError:  # torch says so when a parameter's device or dtype has no fused kernel
        return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, foreach=True)
