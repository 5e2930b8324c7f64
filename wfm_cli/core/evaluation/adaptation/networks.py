"""Encoder and head as one trainable module, and which of its parameters a probe may change."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfm_cli.core.evaluation.adaptation.convolution import Convolutional, res1dcnn
from wfm_cli.core.evaluation.adaptation.lora import add_lora, projections
from wfm_cli.core.evaluation.adaptation.standardise import Standardise, zero_head
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.recipe.probes import AttentiveProbe, FinetuneProbe, LoraProbe, ProbeChoice, Res1DCNNProbe
from wfm_cli.errors import InputError


class Tuned(nn.Module):
    """Encoder, pooling, standardisation without parameters, linear head that starts at zero."""

    fixed_input = False
    """Whether what is standardised stays the same while the network trains."""

    def __init__(self, encoder: Encoder, pooling: str, columns: int) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        dim = encoder.embedding_dim(pooling)
        self.standardise = Standardise(dim)
        self.head = zero_head(dim, columns)

    def features(self, batch: Tensor) -> Tensor:
        """(B, *sample_shape) -> (B, D)."""
        return self.encoder.embed(batch, self.pooling)

    def forward(self, batch: Tensor) -> Tensor:
        """(B, *sample_shape) -> (B, C)."""
        scores: Tensor = self.head(self.standardise(self.features(batch)))
        return scores


class Attentive(nn.Module):
    """One learned query with several heads attends to frozen tokens; the gathered values go into a linear head.

    Scores are taken against key_h^T query_h and tokens are averaged before they are projected to values: the same
    numbers as projecting every token, at a fraction of the work.
    """

    fixed_input = True

    def __init__(self, dim: int, heads: int, columns: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(min(heads, dim), 0, -1) if dim % h == 0)
        self.depth = dim // self.heads
        self.standardise = Standardise(dim)
        self.query_token = nn.Parameter(torch.randn(self.heads, self.depth))
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.head = zero_head(dim, columns)

    def train(self, mode: bool = True) -> Attentive:
        """As usual, but the statistics of frozen tokens stay those of the training draw."""
        super().train(mode)
        self.standardise.eval()
        return self

    def features(self, tokens: Tensor) -> Tensor:
        """Tokens are features."""
        return tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) -> (B, C)."""
        x = self.standardise(tokens)
        key = self.key.weight.view(self.heads, self.depth, -1)
        probe = torch.einsum("hd,hdx->hx", self.query_token, key) * self.depth**-0.5
        share = F.linear(x, probe).softmax(1)
        gathered = share.transpose(1, 2) @ x
        value = self.value.weight.view(self.heads, self.depth, -1)
        mixed = torch.einsum("bhx,hdx->bhd", gathered, value).flatten(1) + self.value.bias
        scores: Tensor = self.head(mixed)
        return scores


Network = Tuned | Attentive | Convolutional


def check(choice: ProbeChoice, encoder: Encoder) -> None:
    """Raise `InputError` where `encoder` cannot be adapted as `choice` says."""
    if isinstance(choice, LoraProbe):
        list(projections(encoder))
    if isinstance(choice, FinetuneProbe) and choice.blocks > len(encoder.blocks):
        raise InputError(
            f"finetune: {choice.blocks} blocks are to be tuned, encoder '{encoder.kind}' has {len(encoder.blocks)}",
            "tune fewer blocks, or use the probe `full`",
        )


def build(choice: ProbeChoice, encoder: Encoder, pooling: str, columns: int) -> Network:
    """The network of a probe; new weights come from torch's global generator.

    Args:
        choice: `attentive`, `res1dcnn`, `finetune`, `lora`, `full` or `scratch`.
        encoder: Where to start; it is copied if it will change.
        pooling: How tokens become one vector, for all but `attentive` and `res1dcnn` on tokens.
        columns: Classes, or values.
    """
    if isinstance(choice, AttentiveProbe):
        return Attentive(encoder.dim, choice.heads, columns)
    if isinstance(choice, Res1DCNNProbe):
        return res1dcnn(choice, encoder.dim if choice.input == "tokens" else encoder.embedding_dim(pooling), columns)
    encoder = copy.deepcopy(encoder)
    if isinstance(choice, LoraProbe):
        add_lora(encoder, choice.rank, choice.factor)
    elif isinstance(choice, FinetuneProbe):
        _freeze_all_but_last(encoder, choice.blocks)
    return Tuned(encoder, pooling, columns)


def _freeze_all_but_last(encoder: Encoder, blocks: int) -> None:
    """Freeze what comes before the last blocks; the norm behind them, a child of the encoder, is tuned with them."""
    behind = [child for child in encoder.children() if "Norm" in type(child).__name__]
    kept = {
        parameter
        for module in (*encoder.blocks[-blocks:], *behind)
        for parameter in module.parameters()
        if parameter.requires_grad
    }
    for parameter in encoder.parameters():
        parameter.requires_grad_(parameter in kept)


def freeze_unused(network: Network, inputs: Tensor) -> None:
    """Freeze every parameter that the output does not depend on (pretraining heads), so that counts are honest."""
    network.train()
    network(inputs).sum().backward()
    for parameter in network.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None


def trainable(network: Network) -> int:
    """Parameters that train, head included."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
