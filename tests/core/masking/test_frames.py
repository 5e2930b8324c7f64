from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wfm_cli.core.masking.frames import FrameMasks, hidden_tokens, nearest_visible

COUNTS = (9, 16, 16, 1, 1)


def grid(steps=13, counts=COUNTS):
    return torch.tensor([(t, m, p) for t in range(steps) for m, n in enumerate(counts) for p in range(n)])


def masks(pattern="block", ratio=0.5, steps=13, horizon=5, future=0.0, counts=COUNTS):
    return FrameMasks(grid(steps, counts), ("time", "modality", "patch"), pattern, ratio, horizon, future)


def frames(made, which, steps=13, counts=COUNTS):
    """(B, modalities, steps) how many tokens of a frame are in a set."""
    time, modality, _ = grid(steps, counts)[which].unbind(-1)
    where = torch.zeros(len(which), len(counts) * steps, dtype=torch.int64)
    where.scatter_add_(1, modality * steps + time, torch.ones_like(time))
    return where.view(len(which), len(counts), steps)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["block", "random"]),
    st.floats(0.1, 0.9),
    st.integers(2, 15),
    st.integers(0, 2**31),
)
def test_whole_frames_are_hidden_floor_of_rho_t_of_each_modality(pattern, ratio, steps, step):
    sampler = masks(pattern, ratio, steps, horizon=1, counts=(3, 1))
    made = sampler(torch.arange(4), 7, step)
    hidden = frames(made, made.target, steps, (3, 1))
    assert set(hidden[:, 0].unique().tolist()) <= {0, 3}
    assert set(hidden[:, 1].unique().tolist()) <= {0, 1}
    wanted = min(steps - 1, max(1, int(ratio * steps + 1e-9)))
    assert (hidden.gt(0).sum(2) == wanted).all()
    both = torch.cat([made.context, made.target], 1).sort(1).values
    assert torch.equal(both, torch.arange(4 * steps).expand(4, -1))


def test_six_of_thirteen():
    assert masks().hidden_frames == 6
    assert masks(ratio=0.25).hidden_frames == 3
    assert masks(ratio=0.75).hidden_frames == 9
    assert masks(ratio=0.3, steps=10).hidden_frames == 3


def test_blocks_are_consecutive_and_every_start_is_equally_likely():
    made = masks()(torch.arange(2000), 1, 5)
    hidden = frames(made, made.target).gt(0).int()
    starts = hidden.argmax(2)
    assert ((hidden.diff(dim=2) != 0).sum(2) <= 2).all()
    counts = torch.bincount(starts.flatten(), minlength=8)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    together = (starts[:, 0] == starts[:, 1]).float().mean()
    assert together == pytest.approx(1 / 8, abs=0.03)


def test_random_frames_are_uniform():
    made = masks("random")(torch.arange(2000), 1, 5)
    counts = frames(made, made.target).gt(0).sum((0, 1))
    assert (counts.float() / 10_000 - 6 / 13).abs().max() < 0.03


def test_a_checkerboard_alternates_over_time_and_modality():
    sampler = masks("checkerboard")
    seen = set()
    for step in range(8):
        made = sampler(torch.arange(3), 1, step)
        hidden = frames(made, made.target).gt(0)
        assert (hidden[:, :, 1:] != hidden[:, :, :-1]).all()
        assert (hidden[:, 1:] != hidden[:, :-1]).all()
        seen.add(bool(hidden[0, 0, 0]))
    assert seen == {True, False}


def test_the_future_of_all_sensors():
    made = masks(future=1.0)(torch.arange(3), 1, 2)
    assert made.geometry == "future"
    assert made.target.shape == (3, 5 * 43)
    assert (grid()[made.target][..., 0] >= 8).all()
    kinds = [masks(future=0.25)(torch.arange(1), 1, step).geometry for step in range(400)]
    assert kinds.count("future") == pytest.approx(100, abs=30)


def test_masks_depend_on_seed_step_and_sample_alone():
    sampler = masks()
    whole, part = sampler(torch.arange(8), 3, 4), sampler(torch.tensor([5, 2]), 3, 4)
    assert torch.equal(whole.target[[5, 2]], part.target)
    assert not torch.equal(sampler(torch.arange(8), 3, 5).target, whole.target)
    assert not torch.equal(sampler(torch.arange(8), 4, 4).target, whole.target)


def test_the_nearest_visible_time_of_every_token():
    made = masks("random", 0.7)(torch.arange(3), 1, 2)
    hidden = hidden_tokens(made.target, 13, 43)
    hidden[2, :, 41] = True
    times, known = nearest_visible(hidden)
    for row in range(3):
        assert {int(i) for i in hidden[row].flatten().nonzero()} >= set(made.target[row].tolist())
        for t in range(13):
            for token in range(43):
                seen = [s for s in range(13) if not hidden[row, s, token]]
                assert bool(known[row, t, token]) == bool(seen)
                if seen:
                    assert times[row, t, token] == min(seen, key=lambda s: (abs(s - t), s))
    assert not known[2, :, 41].any()
    assert (hidden.sum((1, 2))[:2] == made.target.shape[1]).all()
