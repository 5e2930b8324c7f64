"""Joint-embedding prediction and reconstruction: what is shown, what is counted, what moves and what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.objectives import build_objective
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.objectives.jepa import Jepa, LatentPrediction
from wfm_cli.core.objectives.reconstruction import Reconstruction
from wfm_cli.core.objectives.views import Views
from wfm_cli.core.recipe.loading import parse_recipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.training.monitors import rankme

SMALL = {"layers": 2, "width": 32, "heads": 4, "patch": 4}
NARROW = {"width": 32, "depth": 2, "heads": 2}
REGION = {"kind": "region", "ratio": 0.5}
MIXED = {
    "kind": "curriculum",
    "mixture": [{"mask": {"kind": "region"}}, {"mask": {"kind": "frequency"}}, {"mask": {"kind": "random"}}],
    "adaptive": {},
}
IDS = torch.arange(6)


def made(
    objective: str,
    masks: dict[str, Any] = REGION,
    shape: tuple[int, ...] = (16, 16, 2),
    more: dict[str, Any] | None = None,
    **model: Any,
) -> Any:
    torch.manual_seed(0)
    predictor = "decoder" if objective == "reconstruction" else "predictor"
    recipe = parse_recipe(
        {
            "data": {"store": "-"},
            "train": {"steps": 10},
            "masks": masks,
            "model": {"kind": "latentwave", **SMALL, **model},
            "objective": {"kind": objective, predictor: NARROW, **(more or {})},
        },
        PretrainRecipe,
    )
    return build_objective(recipe, build_encoder(recipe.model, shape))


def batch(shape: tuple[int, ...] = (16, 16, 2)) -> Tensor:
    return torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))


KINDS = ["jepa", "jepa_sigreg", "reconstruction"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("system", ["latentwave", "wavesfm"])
def test_every_trained_weight_gets_a_gradient_and_every_figure_is_finite(kind: str, system: str) -> None:
    objective = made(kind, kind=system, power_token=True)
    parts = objective(batch(), IDS, StepKey(0, 0, 0))
    (parts.total / parts.count).backward()
    unused = [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    # The CLS and power tokens in front are always seen; a weight without a gradient would stall replicated training.
    assert unused == []
    figures = objective.eval().evaluate(batch(), IDS, StepKey(0, 0, 0, 1.0))
    assert set(objective.references) < set(figures)
    assert all(v.shape == (6,) and torch.isfinite(v).all() and (v > 0).all() for v in figures.values())


def test_the_loss_is_what_the_formula_says() -> None:
    objective: Jepa = made("jepa")
    key = StepKey(3, 4, 0)
    parts = objective(batch(), IDS, key)
    (view,) = objective.views(IDS, key)
    grid = objective.encoder.tokenize(batch())
    target = F.layer_norm(objective.target.encode(grid), (32,))
    hidden = objective.encoder.encode(grid, view.context)
    guess = objective.predictor(hidden, grid.coords, view.context, view.target)
    rows = torch.arange(6).unsqueeze(1)
    expected = F.smooth_l1_loss(guess, target[rows, view.target])
    torch.testing.assert_close(parts.total / parts.count, expected)
    assert set(parts.logs) == {"loss_region"}


def test_targets_of_other_tokens_and_the_teacher_get_no_gradient() -> None:
    objective: Jepa = made("jepa")
    objective(batch(), IDS, StepKey(0, 0, 0)).total.backward()
    assert all(p.grad is None and not p.requires_grad for p in objective.target.parameters())


@pytest.mark.parametrize("kind", ["jepa", "reconstruction"])
def test_micro_batches_add_up(kind: str) -> None:
    objective = made(kind, MIXED)
    key, samples = StepKey(0, 2, 0), batch()
    whole = objective(samples, IDS, key)
    halves = [objective(samples[part], IDS[part], key) for part in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(whole.total, halves[0].total + halves[1].total)
    assert whole.count == halves[0].count + halves[1].count


def test_the_slow_copy_follows_and_is_what_the_run_keeps() -> None:
    objective: Jepa = made("jepa")
    with torch.no_grad():
        for p in objective.encoder.parameters():
            p.add_(1.0)
    before = {name: p.clone() for name, p in objective.target.named_parameters()}
    assert objective.monitors()["ema_gap"] > 0
    objective.after_step(0, 100)
    for name, p in objective.target.named_parameters():
        torch.testing.assert_close(p - before[name], torch.full_like(p, 1 - 0.996), rtol=1e-2, atol=1e-5)
    objective.after_step(100, 100)  # momentum 1: nothing moves
    weights = objective.weights()
    assert torch.equal(weights["encoder.norm.weight"], objective.target.norm.weight)
    assert torch.equal(weights["context.norm.weight"], objective.encoder.norm.weight)
    assert "predictor.token" in weights
    torch.testing.assert_close(objective.embed(batch()), objective.target.embed(batch()))


@pytest.mark.parametrize("kind", ["jepa", "jepa_sigreg"])
def test_target_pass_in_bfloat16_leaves_the_gradient_whole(kind: str) -> None:
    objective: LatentPrediction = made(kind)
    gradients = []
    for precision in ("train", "bf16"):
        objective.block = objective.block.model_copy(update={"target_precision": precision})  # type: ignore[assignment]
        objective.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            parts = objective(batch(), IDS, StepKey(0, 0, 0))
        parts.total.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in objective.encoder.parameters() if p.grad is not None]))
    assert gradients[0].numel() == sum(p.numel() for p in objective.encoder.parameters())
    assert float(F.cosine_similarity(gradients[0], gradients[1], 0)) > 0.99


def test_channels_are_drawn_once_per_step_for_context_and_target() -> None:
    objective: Jepa = made("jepa", shape=(4, 16, 16), input="image")
    column = objective.views.coords[:, 2]
    seen = set()
    for step in range(60):
        (view,) = objective.views(IDS, StepKey(0, step, 0))
        shown = set(range(4)) if view.shown is None else set(column[view.shown].tolist())
        assert set(column[view.context].flatten().tolist()) == set(column[view.target].flatten().tolist()) == shown
        seen.add(tuple(sorted(shown)))
        cells = objective.views.coords[:, :2]
        for row in range(6):
            context = {tuple(c) for c in cells[view.context[row]].tolist()}
            assert not context & {tuple(c) for c in cells[view.target[row]].tolist()}
    assert {len(s) for s in seen} == {1, 2, 3, 4}
    (whole,) = objective.eval().views(IDS, StepKey(0, 0, 0))
    assert whole.shown is None


def test_teacher_and_context_see_the_same_channels() -> None:
    objective: Jepa = made("jepa", shape=(4, 16, 16), input="image")
    samples = batch((4, 16, 16))
    step = next(s for s in range(50) if next(objective.views(IDS, StepKey(0, s, 0))).shown is not None)
    (view,) = objective.views(IDS, StepKey(0, step, 0))
    assert view.shown is not None
    hidden = sorted(set(range(4)) - set(objective.views.coords[view.shown, 2].tolist()))
    grid = objective.encoder.tokenize(samples)
    values = grid.values.clone()
    values[:, torch.isin(objective.views.coords[:, 2], torch.tensor(hidden))] = torch.nan
    found = objective.predict(grid.with_values(values), view)
    assert torch.isfinite(found.guess).all()
    assert torch.isfinite(found.target).all()


def test_validation_shows_all_geometries_whatever_the_batch() -> None:
    views: Views = made("jepa", MIXED).views.eval()
    key = StepKey(0, 0, 0, 1.0)
    found = {v.geometry: v.rows for v in views(IDS, key)}
    assert set(found) == {"region", "frequency", "random"}
    objective = made("jepa", MIXED).eval()
    whole = objective.evaluate(batch(), IDS, key)["nmse_latent"]
    part = objective.evaluate(batch()[2:], IDS[2:], key)["nmse_latent"]
    torch.testing.assert_close(whole[2:], part, rtol=1e-4, atol=1e-5)


def test_an_adaptive_mixture_remembers_the_loss() -> None:
    objective = made("jepa", MIXED)
    assert objective.views.memory.values() == [None, None, None]
    for step in range(12):
        objective(batch(), IDS, StepKey(0, step, 0))
        objective.after_step(step, 12)
    assert all(value is not None and value > 0 for value in objective.views.memory.values())
    assert "views.memory.loss" in objective.state_dict()


def test_reconstruction_counts_the_published_error() -> None:
    objective: Reconstruction = made("reconstruction", {"kind": "random", "ratio": 0.75}, kind="wavesfm")
    key = StepKey(0, 0, 0)
    parts = objective(batch(), IDS, key)
    (view,) = objective.views(IDS, key)
    grid = objective.encoder.tokenize(batch())
    rows = torch.arange(6).unsqueeze(1)
    patches = grid.values[rows, view.target]
    target = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(parts.total / parts.count, (objective.predict(grid, view) - target).square().mean())
    assert view.target.shape[1] == 12  # three quarters of 16


def test_completion_of_a_rank_one_channel_is_exact() -> None:
    objective: Reconstruction = made("reconstruction", {"kind": "random", "ratio": 0.3}, kind="wavesfm")
    left, right = torch.randn(6, 16, 1, dtype=torch.complex64), torch.randn(6, 1, 16, dtype=torch.complex64)
    samples = torch.view_as_real(left @ right)
    figures = objective.eval().evaluate(samples, IDS, StepKey(0, 0, 0, 1.0))
    assert objective.references == ("nmse_rank1", "nmse_rank2")
    assert figures["nmse_rank1"].median() < 1e-4 < figures["nmse"].median()


def test_images_stand_beside_the_mean_of_the_visible() -> None:
    objective = made("reconstruction", {"kind": "time", "ratio": 0.5}, (16, 16), kind="wavesfm", normalise="none")
    assert objective.references == ("nmse_visible",)
    flat = torch.full((6, 16, 16), 2.0)
    objective.block = objective.block.model_copy(update={"normalise_patches": False})
    figures = objective.eval().evaluate(flat, IDS, StepKey(0, 0, 0, 1.0))
    assert figures["nmse_visible"].max() < 1e-9


def test_batch_targets_have_nothing_in_common() -> None:
    objective: Jepa = made("jepa", more={"normalise_targets": "batch"})
    (view,) = objective.views(IDS, StepKey(0, 0, 0))
    same = replace(view, context=view.context[:1].expand(6, -1), target=view.target[:1].expand(6, -1))
    target = objective.predict(objective.encoder.tokenize(batch()), same).target
    torch.testing.assert_close(target.mean(0), torch.zeros_like(target[0]), atol=1e-5, rtol=0)
    constant = objective.predict(objective.encoder.tokenize(batch()[:1].expand(6, -1, -1, -1)), same)
    assert constant.target.abs().max() < 1e-2


def test_the_level_is_no_target() -> None:
    objective: Jepa = made("jepa", power_token=True)
    (view,) = objective.views(IDS, StepKey(0, 0, 0))
    encoder = objective.encoder
    quiet, loud = (objective.predict(encoder.tokenize(batch() * factor), view) for factor in (1.0, 100.0))
    torch.testing.assert_close(quiet.target, loud.target, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(quiet.guess, loud.guess, atol=1e-4)


@pytest.mark.parametrize("targets", ["layer", "batch"])
def test_it_learns_waves_without_collapse(targets: str) -> None:
    objective: Jepa = made(
        "jepa",
        {"kind": "random", "ratio": 0.5},
        more={"normalise_targets": targets},
        parts="joint",
        channel_sampling=False,
    )
    optimiser = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    n, ids = torch.arange(16.0), torch.arange(32)

    def draw() -> Tensor:
        a, b = (torch.randint(0, 3, (32, 1, 1), generator=generator) / 4 for _ in "ab")
        return torch.view_as_real(torch.polar(torch.ones(()), torch.pi * (a * n.view(1, -1, 1) + b * n)))

    held = draw()
    before = rankme(objective.embed(held).detach())
    for step in range(120):
        parts = objective(draw(), ids, StepKey(0, step, 0))
        optimiser.zero_grad()
        (parts.total / parts.count).backward()
        optimiser.step()
        objective.after_step(step, 120)
    figures = objective.eval().evaluate(held, ids, StepKey(0, 0, 0, 1.0))
    medians = {name: float(value.median()) for name, value in figures.items()}
    assert medians["nmse_latent"] < 0.9 * min(medians["nmse_latent_context"], medians["nmse_latent_mean"])
    assert rankme(objective.embed(held).detach()) > 0.9 * before
