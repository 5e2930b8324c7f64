"""LWM-Spectro's mixture: one pass per expert against one per sample, and top-1 routing against mixing all experts."""

from __future__ import annotations

import torch
from measure import Row, compare
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks.attention import attend
from wfm_cli.core.models.blocks.moe import Routing
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE
from wfm_cli.core.objectives.spectrogram_views import view
from wfm_cli.core.recipe.models import LWMSpectroMoEModel
from wfm_cli.core.recipe.objectives import SpectrogramViewsBlock

BATCH = 24
SHAPE = (1, 64, 64)
"""256 patches: a quarter of the published number, so that the table takes seconds."""


def mixture(top: int) -> tuple[LWMSpectroMoE, Tensor]:
    """Three experts of the published width with four layers, and a batch that is shared out equally."""
    torch.manual_seed(0)
    block = LWMSpectroMoEModel.model_validate({"expert": {"layers": 4, "dropout": 0.0}, "top": top})
    made = build_encoder(block, SHAPE)
    assert isinstance(made, LWMSpectroMoE)
    return made, torch.randn(BATCH, *SHAPE)


def shared_out(top: int) -> Routing:
    """Every expert gets the same number of samples."""
    first = torch.arange(BATCH) % 3
    index = torch.stack([(first + k) % 3 for k in range(top)], 1)
    return Routing(torch.zeros(BATCH, 3), index, torch.full((BATCH, top), 1 / top))


def one_by_one(made: LWMSpectroMoE, batch: Tensor, routing: Routing) -> Tensor:
    """The loop over samples that dispatch replaces."""
    rows = []
    for sample, index, weights in zip(batch, routing.index.tolist(), routing.weights, strict=True):
        tokens = made.tokenize(sample[None])
        parts = [weight * made.expert(e).encode(tokens)[0] for e, weight in zip(index, weights, strict=True)]
        rows.append(torch.stack(parts).sum(0))
    return torch.stack(rows)


def all_experts(made: LWMSpectroMoE, batch: Tensor) -> Tensor:
    """Every expert on every sample, weighted by its gate."""
    tokens = made.tokenize(batch)
    gates = made.route(tokens).gates
    return torch.stack([made.expert(e).encode(tokens) * gates[:, e, None, None] for e in range(3)]).sum(0)


def backward(result: Tensor) -> None:
    """A whole step but for the optimiser."""
    result.square().mean().backward()


def dispatching() -> list[Row]:
    """Inference, top-1: the same numbers one way or the other."""
    made, batch = mixture(1)
    made.eval()
    routing = shared_out(1)
    with torch.no_grad():
        fast, slow = made.encode(made.tokenize(batch), routing=routing), one_by_one(made, batch, routing)
        error = float((fast - slow).abs().max())
        times = compare(
            {
                "dispatch": lambda: made.encode(made.tokenize(batch), routing=routing),
                "loop": lambda: one_by_one(made, batch, routing),
            }
        )
    note = f"{1e3 * times['dispatch'] / BATCH:.1f} ms per sample, largest difference {error:.0e}"
    return [
        Row(
            "one pass per expert over one per sample, inference",
            times["loop"] / times["dispatch"],
            "x",
            None,
            note=note,
        )
    ]


def steps() -> list[Row]:
    """Forward and backward: top-1 and top-2 against all three experts."""
    one, batch = mixture(1)
    two, _ = mixture(2)
    first, second = shared_out(1), shared_out(2)
    times = compare(
        {
            "one": lambda: backward(one.encode(one.tokenize(batch), routing=first)),
            "two": lambda: backward(two.encode(two.tokenize(batch), routing=second)),
            "all": lambda: backward(all_experts(one, batch)),
            "router": lambda: one.route(one.tokenize(batch)).logits.sum().backward(),
        },
        repeats=3,
    )
    return [
        Row("step with top-1 over all three experts", times["all"] / times["one"], "x", 2.5, note="three experts"),
        Row("step with top-2 over all three experts", times["all"] / times["two"], "x", 1.3),
        Row("router's share of a top-1 step", 100 * times["router"] / times["one"], "%", None),
    ]


def parts() -> list[Row]:
    """Attention of the published size, and what a view costs."""
    qkv = torch.randn(2, 1025, 3, 8, 16, requires_grad=True)
    images, ids = torch.randn(8, 128, 128) * 6 - 80, torch.arange(8)
    block = SpectrogramViewsBlock()
    times = compare(
        {
            "sdpa": lambda: backward(attend(qkv, "sdpa")),
            "math": lambda: backward(attend(qkv, "math")),
            "view": lambda: view(images, ids, 0, 0, 0, block),
        },
        repeats=3,
    )
    return [
        Row("attention of 1,025 tokens, heads of 16: sdpa over math", times["math"] / times["sdpa"], "x", 2.0),
        Row("one view of 128 x 128 (channel, noise, shift)", 1e3 * times["view"] / 8, "ms", None, note="per sample"),
    ]


def main() -> list[Row]:
    """The table."""
    return [*dispatching(), *steps(), *parts()]
