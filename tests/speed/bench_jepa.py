"""A step of joint-embedding prediction against one that encodes every token, and what the slow copy costs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from measure import Row, compare
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.objectives import build_objective
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.objectives.jepa import Jepa
from wfm_cli.core.recipe.loading import parse_recipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.training.ema import follow
from wfm_cli.core.training.optimiser import build_optimiser

BATCH = 16
IDS = torch.arange(BATCH)
SHAPE = (1, 224, 224)


def recipe(precision: str) -> PretrainRecipe:
    """The published LatentWave at a target area of 75 %."""
    return parse_recipe(
        {
            "data": {"store": "-"},
            "train": {"steps": 10},
            "model": {"kind": "latentwave"},
            "masks": {"kind": "random", "ratio": 0.75},
            "objective": {"kind": "jepa", "target_precision": precision},
        },
        PretrainRecipe,
    )


def fresh(plan: PretrainRecipe) -> Jepa:
    """Objective with the same weights at every call."""
    torch.manual_seed(0)
    objective = build_objective(plan, build_encoder(plan.model, SHAPE)).train()
    assert isinstance(objective, Jepa)
    return objective


def encoding_all(objective: Jepa) -> Jepa:
    """The same objective whose context encoder computes every token, with a mask token in place of hidden patches."""
    encoder = objective.encoder
    encode, grid_of = encoder.encode, encoder.tokenize(torch.zeros(1, *SHAPE))
    blank = torch.nn.Parameter(torch.zeros(grid_of.patch))
    encoder.register_parameter("blank", blank)

    def full(tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        if keep is None:
            return encode(tokens)
        hidden = torch.ones(tokens.batch, tokens.count, 1, dtype=torch.bool).scatter(1, keep.unsqueeze(-1), False)
        whole = encode(tokens.with_values(torch.where(hidden, blank, tokens.values)))
        return whole.gather(1, keep.unsqueeze(-1).expand(-1, -1, whole.shape[2]))

    encoder.encode = full  # type: ignore[method-assign]
    return objective


def step(plan: PretrainRecipe, objective: Jepa, batch: Tensor) -> Callable[[], None]:
    """One whole step: target, context, predictor, gradients, AdamW, slow copy."""
    optimiser = build_optimiser(objective, plan.train)
    kept: list[Tensor] = list(objective.target.parameters())
    new: list[Tensor] = [p for name, p in objective.encoder.named_parameters() if name != "blank"]

    @torch.no_grad()
    def average() -> None:
        torch._foreach_lerp_(kept, new, 0.004)

    def run() -> None:
        parts = objective(batch, IDS, StepKey(0, 0, 0))
        (parts.total / parts.count).backward()
        optimiser.step()
        optimiser.zero_grad()
        average()

    return run


def main() -> list[Row]:
    """Visible tokens alone against all tokens, and the share of the slow copy."""
    torch.set_num_threads(1)
    batch = torch.randn(BATCH, *SHAPE)
    plan, lower = recipe("train"), recipe("bf16")
    objective = fresh(plan)
    seconds = compare(
        {
            "all": step(plan, encoding_all(fresh(plan)), batch),
            "visible": step(plan, objective, batch),
            "all bf16": step(lower, encoding_all(fresh(lower)), batch),
            "visible bf16": step(lower, fresh(lower), batch),
        },
        repeats=5,
    )
    average = compare({"ema": lambda: follow(objective.target, objective.encoder, 0.996)}, repeats=21)["ema"]
    note = f"{seconds['visible'] * 1e3:.0f} against {seconds['all'] * 1e3:.0f} ms for {BATCH} samples of 196 tokens"
    note_bf16 = f"{seconds['visible bf16'] * 1e3:.0f} against {seconds['all bf16'] * 1e3:.0f} ms, target pass in bf16"
    share = 100 * average / seconds["visible"]
    return [
        Row(
            "JEPA step at 75 % target area, against encoding all",
            seconds["all"] / seconds["visible"],
            "x",
            2.0,
            note=note,
        ),
        Row("the same, targets in bfloat16", seconds["all bf16"] / seconds["visible bf16"], "x", 2.0, note=note_bf16),
        Row("slow copy, share of a JEPA step", share, "%", 1.0, False, f"{average * 1e3:.2f} ms"),
    ]
