"""Mixtures of geometries over the training, and what adaptive ones remember."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from wfm_cli.core.masking.memory import LossMemory
from wfm_cli.core.masking.sampler import Adaption, Sampler
from wfm_cli.core.objectives.masks import build_sampler
from wfm_cli.core.recipe.masks import (
    AdaptiveBlock,
    Component,
    CurriculumMask,
    MaskBlock,
    RegionMask,
    Schedule,
    TimeMask,
)

AXES = ("frequency", "time")
COORDS = torch.cartesian_prod(torch.arange(8), torch.arange(8))
IDS = torch.arange(4)


def mixture(*parts: Component, **more: Any) -> Sampler:
    return build_sampler(CurriculumMask(mixture=parts, **more), AXES, COORDS)


def random(**more: Any) -> Component:
    return Component(mask=MaskBlock(kind="random"), **more)


def region(**more: Any) -> Component:
    return Component(mask=RegionMask(), **more)


def drawn(sampler: Sampler, progress: float, steps: int = 4000) -> Counter[str]:
    return Counter(sampler.draw(5, step, progress) for step in range(steps))


def test_geometries_are_drawn_by_weight() -> None:
    sampler = mixture(random(weight=1.0), region(weight=3.0), Component(mask=TimeMask(), weight=0.0))
    assert sampler.geometries == ("random", "region", "time")
    seen = drawn(sampler, 0.0)
    assert set(seen) == {"random", "region"}
    assert stats.chisquare([seen["random"], seen["region"]], [1000, 3000]).pvalue > 1e-4


def test_the_draw_of_a_step_is_the_same_for_every_sample_rank_and_call() -> None:
    one, two = mixture(random(), region()), mixture(random(), region())
    for step in range(20):
        whole = one(IDS, 3, step, 0.4)
        halves = [two(part, 3, step, 0.4) for part in (IDS[::2], IDS[1::2])]
        assert {half.geometry for half in halves} == {whole.geometry}
        assert torch.equal(torch.stack([half.target for half in halves], 1).flatten(0, 1), whole.target)
    assert len({one.draw(3, step, 0.0) for step in range(20)}) == 2
    assert any(one.draw(3, step, 0.0) != one.draw(4, step, 0.0) for step in range(20))


def test_weights_follow_their_schedules() -> None:
    sampler = mixture(
        random(weight=Schedule(shape="linear", start=1.0, end=0.0)),
        region(weight=Schedule(shape="step", start=0.0, end=2.0, at=(0.25, 0.75))),
    )
    assert sampler.weights(0.0) == [1.0, 0.0]
    assert sampler.weights(0.5) == pytest.approx([1 / 3, 2 / 3])
    assert sampler.weights(1.0) == [0.0, 1.0]
    assert set(drawn(sampler, 0.1, 50)) == {"random"}
    assert set(drawn(sampler, 1.0, 50)) == {"region"}


@pytest.mark.parametrize(
    ("shape", "at", "want"),
    [
        ("linear", (), [0.2, 0.35, 0.5, 0.65, 0.8]),
        ("cosine", (), [0.2, 0.28786796564, 0.5, 0.71213203436, 0.8]),
        ("step", (0.5,), [0.2, 0.2, 0.8, 0.8, 0.8]),
        ("step", (0.25, 1.0), [0.2, 0.5, 0.5, 0.5, 0.8]),
    ],
)
def test_ratios_follow_their_schedules(shape: Any, at: tuple[float, ...], want: list[float]) -> None:
    schedule = Schedule(shape=shape, start=0.2, end=0.8, at=at)
    sampler = mixture(random(ratio=schedule))
    for progress, ratio in zip((0.0, 0.25, 0.5, 0.75, 1.0), want, strict=True):
        assert schedule.value(progress) == pytest.approx(ratio)
        assert sampler(IDS, 0, 0, progress).target.shape[1] == round(64 * ratio)


def test_a_constant_stays() -> None:
    assert [Schedule(start=0.3).value(progress) for progress in (0.0, 0.7, 1.0)] == [0.3] * 3
    assert mixture(random(ratio=0.25))(IDS, 0, 0, 0.9).target.shape[1] == 16


def test_one_kind_twice_keeps_two_names() -> None:
    sampler = mixture(random(ratio=0.25), random(ratio=0.75), region())
    assert sampler.geometries == ("random", "random_2", "region")
    for name, count in (("random", 16), ("random_2", 48)):
        masks = sampler(IDS, 0, 0, geometry=name)
        assert masks.geometry == name
        assert masks.target.shape[1] == count


def test_the_published_scale_of_regions_sets_the_mean_union() -> None:
    sampler = build_sampler(RegionMask(scale=(0.15, 0.2)), AXES, COORDS)
    counts = {sampler(IDS, 0, step).target.shape[1] for step in range(200)}
    assert min(counts) == round(64 * (1 - 0.85**4))
    assert max(counts) == round(64 * (1 - 0.8**4))
    assert len(counts) > 4


def test_the_context_share_is_drawn_per_step() -> None:
    sampler = build_sampler(RegionMask(ratio=0.5, context=(0.5, 1.0)), AXES, COORDS)
    counts = [sampler(IDS, 0, step).context.shape[1] for step in range(200)]
    assert (min(counts), max(counts)) == (16, 32)


def test_static_masks_stay_for_ever() -> None:
    sampler = build_sampler(MaskBlock(kind="random", frequency="static"), AXES, COORDS)
    assert torch.equal(sampler(IDS, 0, 3).target, sampler(IDS, 0, 90).target)


weights = st.lists(st.floats(0, 10), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01)
losses = st.lists(st.none() | st.floats(0.001, 100), min_size=3, max_size=3)


@given(weights, losses, st.floats(-3, 3), st.floats(0, 1))
def test_adapted_chances_are_chances(
    scheduled: list[float], loss: list[float | None], strength: float, floor: float
) -> None:
    chances = Adaption(strength, floor)(scheduled, loss)
    assert sum(chances) == pytest.approx(1.0)
    for chance, weight in zip(chances, scheduled, strict=True):
        assert chance >= floor * weight / sum(scheduled) - 1e-9
        assert (chance > 0) == (weight > 0) or weight < 1e-9


def test_adaption_favours_what_is_hard_or_easy() -> None:
    sampler = mixture(random(weight=2.0), region(weight=2.0), adaptive=AdaptiveBlock(strength=1.0, floor=0.0))
    assert sampler.adaptive
    assert sampler.weights(0.0) == [0.5, 0.5]
    assert sampler.weights(0.0, [1.0, 3.0]) == pytest.approx([0.25, 0.75])
    assert sampler.weights(0.0, [None, 3.0]) == [0.5, 0.5]
    assert Adaption(-1.0, 0.0)([1, 1], [1.0, 3.0]) == pytest.approx([0.75, 0.25])
    assert Adaption(1.0, 0.5)([1, 1], [1.0, 3.0]) == pytest.approx([0.375, 0.625])
    plain = mixture(random(), region())
    assert not plain.adaptive
    assert plain.weights(0.0, [1.0, 3.0]) == [0.5, 0.5]


def add(memory: LossMemory, geometry: str, total: float, count: float) -> None:
    memory.add(geometry, torch.tensor(total, requires_grad=True), torch.tensor(count))


def test_the_memory_is_an_unbiased_moving_average_of_what_was_drawn() -> None:
    memory = LossMemory(("a", "b"), 0.9)
    assert memory.values() == [None, None]
    memory.fold()
    assert memory.values() == [None, None]
    # Two micro-batches are one step.
    add(memory, "a", 6.0, 2.0)
    add(memory, "a", 2.0, 2.0)
    assert memory.values() == [None, None]
    memory.fold()
    assert memory.values() == [pytest.approx(2.0), None]
    add(memory, "b", 5.0, 1.0)
    memory.fold()
    add(memory, "a", 8.0, 2.0)
    memory.fold()
    assert memory.values() == [pytest.approx((0.9 * 2.0 + 4.0) / 1.9), pytest.approx(5.0)]


def test_the_memory_travels_with_checkpoints() -> None:
    memory, other = LossMemory(("a", "b"), 0.5), LossMemory(("a", "b"), 0.5)
    add(memory, "b", 3.0, 1.0)
    memory.fold()
    assert other.values() == [None, None]
    other.load_state_dict(memory.state_dict())
    assert set(memory.state_dict()) == {"loss", "weight"}
    assert other.values() == memory.values() == [None, pytest.approx(3.0)]


def test_all_ranks_remember_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [LossMemory(("a",), 0.5), LossMemory(("a",), 0.5)]
    add(ranks[0], "a", 3.0, 1.0)
    add(ranks[1], "a", 5.0, 3.0)
    pending = [rank._pending.clone() for rank in ranks if rank._pending is not None]

    def all_reduce(tensor: Tensor) -> None:
        tensor.copy_(sum(pending, torch.zeros_like(tensor)))

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    for rank in ranks:
        rank.fold()
    assert ranks[0].values() == ranks[1].values() == [pytest.approx(2.0)]
