"""Random LWM checkpoints under the official names, and the published equations written out one head at a time.

Independent of `wfm_cli.core.models`: nothing is fused, norms and attention are spelled out in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ELEMENT = {"v1.0": 16, "v1.1": 32, "spectro": 16}


def official_state(
    wiring: str, *, layers: int = 2, width: int = 64, heads: int = 12, ffn: int = 96, rows: int = 129, seed: int = 0
) -> dict[str, Tensor]:
    """A state dict as the publishers' files hold it, without the `module.` prefix."""
    generator = torch.Generator().manual_seed(seed)
    inner, element = width // heads * heads, ELEMENT[wiring]
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        state[name] = torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 0.2)

    def linear(name: str, out: int, into: int) -> None:
        put(f"{name}.weight", out, into)
        put(f"{name}.bias", out)

    def norm(name: str) -> None:
        put(f"{name}.alpha", width)
        put(f"{name}.bias", width)

    put("decoder_bias", element)
    linear("embedding.proj", width, element)
    put("embedding.pos_embed.weight", rows, width)
    norm("embedding.norm")
    for i in range(layers):
        for part in ("W_Q", "W_K", "W_V"):
            linear(f"layers.{i}.enc_self_attn.{part}", inner, width)
        linear(f"layers.{i}.enc_self_attn.linear", width, inner)
        linear(f"layers.{i}.pos_ffn.fc1", ffn, width)
        linear(f"layers.{i}.pos_ffn.fc2", width, ffn)
        names = ("enc_self_attn.norm", "pos_ffn.norm", "norm") if wiring == "v1.0" else ("norm1", "norm2")
        for name in names:
            norm(f"layers.{i}.{name}")
    linear("linear", width, width)
    norm("norm")
    put("decoder.weight", element, width)
    return state


def literal_forward(
    state: dict[str, Tensor], wiring: str, heads: int, tokens: Tensor, masked: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs of the published networks.

    Args:
        state: official names.
        wiring: v1.0, v1.1 or spectro.
        heads: number of heads.
        tokens: (B, S, P), CLS included.
        masked: (B, M) positions in the sequence.

    Returns:
        Reconstructed tokens (B, M, P) and hidden vectors (B, S, D), float64.
    """
    w = {name: value.double() for name, value in state.items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        mean = x.sum(-1, keepdim=True) / x.shape[-1]
        std = (((x - mean) ** 2).sum(-1, keepdim=True) / (x.shape[-1] - 1)).sqrt()
        return w[f"{name}.alpha"] * (x - mean) / (std + 1e-6) + w[f"{name}.bias"]

    def attention(x: Tensor, name: str) -> Tensor:
        query, key, value = (linear(x, f"{name}.W_{part}") for part in "QKV")
        depth = query.shape[-1] // heads
        parts = []
        for head in range(heads):
            at = slice(head * depth, (head + 1) * depth)
            scores = torch.einsum("bid,bjd->bij", query[..., at], key[..., at]) / math.sqrt(depth)
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            parts.append(torch.einsum("bij,bjd->bid", weights, value[..., at]))
        return linear(torch.cat(parts, -1), f"{name}.linear")

    x = norm(
        linear(tokens.double(), "embedding.proj") + w["embedding.pos_embed.weight"][: tokens.shape[1]], "embedding.norm"
    )
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    for i in range(layers):
        at = f"layers.{i}"
        mixed = attention(x, f"{at}.enc_self_attn")
        if wiring == "v1.0":
            a = norm(x + mixed, f"{at}.norm")
        elif wiring == "v1.1":
            a = norm(x + (x + mixed), f"{at}.norm1")
        else:
            a = norm(x + mixed, f"{at}.norm1")
        fed = linear(linear(a, f"{at}.pos_ffn.fc1").clamp_min(0.0), f"{at}.pos_ffn.fc2")
        x = a + fed if wiring == "v1.0" else norm(a + fed, f"{at}.norm2")
    picked = torch.stack([x[b, masked[b]] for b in range(len(x))])
    decoded = norm(linear(picked, "linear").clamp_min(0.0), "norm") @ w["decoder.weight"].T + w["decoder_bias"]
    return decoded, x
