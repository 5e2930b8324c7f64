"""Every geometry: how much is hidden, where, and on what it depends."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from tests.core.masking.coverage import hits, pvalue
from wfm_cli.core.masking.cells import cell_grid
from wfm_cli.core.masking.geometries import Draw, Geometry, RandomCells, Regions, Strips
from wfm_cli.core.masking.sampler import MaskSet, Part, Sampler

DRAWS = 10_000
SIDE = 14
ALPHA = 1e-4


def coords(*sizes: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(n) for n in sizes]).view(-1, len(sizes))


def build(kind: str, sizes: tuple[int, ...], wrap: bool = True, count: int = 2) -> Geometry:
    grid = cell_grid(("antenna", "time")[: len(sizes)], coords(*sizes))
    if kind == "random":
        return RandomCells(grid)
    if kind == "region":
        return Regions(grid, count, (0.75, 1.5), wrap)
    return Strips(grid, kind, count, wrap)


def sampler(geometry: Geometry, ratio: float, context: tuple[float, float] = (1.0, 1.0)) -> Sampler:
    return Sampler(geometry.grid, [Part("one", geometry, lambda *_: ratio, lambda _: 1.0, context)])


def spread(geometry: Geometry, ratio: float, context: tuple[float, float] = (1.0, 1.0)) -> MaskSet:
    """10,000 draws: 100 steps of 100 samples."""
    draw = sampler(geometry, ratio, context)
    sets = [draw(torch.arange(100), 3, step) for step in range(DRAWS // 100)]
    # Lengths of the context differ between steps when its share does: fill up with its first token.
    width = max(one.context.shape[1] for one in sets)
    filled = [torch.cat([s.context, s.context[:, :1].expand(-1, width - s.context.shape[1])], 1) for s in sets]
    return MaskSet(torch.cat(filled), torch.cat([one.target for one in sets]), "one")


kinds = st.sampled_from(["random", "region", "antenna", "time"])
sides = st.tuples(st.integers(2, 12), st.integers(2, 12))


@given(
    kinds, sides, st.floats(0.01, 0.99), st.booleans(), st.integers(1, 6), st.floats(0.3, 1.0), st.integers(0, 2**40)
)
@settings(max_examples=150, deadline=None)
def test_counts_bounds_and_no_overlap(
    kind: str, sizes: tuple[int, int], ratio: float, wrap: bool, count: int, share: float, first: int
) -> None:
    geometry = build(kind, sizes, wrap, count)
    cells = sizes[0] * sizes[1]
    masks = sampler(geometry, ratio, (share, share))(torch.arange(first, first + 7), 1, 2)
    rows = {"antenna": sizes[0], "time": sizes[1]}.get(kind, cells)
    hidden = max(1, min(round(ratio * rows), rows - 1)) * (cells // rows)
    assert masks.target.shape == (7, hidden)
    assert masks.context.shape == (7, max(1, min(cells - hidden, round(share * (cells - hidden)))))
    together = torch.cat([masks.context, masks.target], dim=1)
    assert together.dtype == torch.int64
    assert int(together.min()) >= 0
    assert int(together.max()) < cells
    ordered = together.sort(1).values
    assert bool((ordered[:, 1:] > ordered[:, :-1]).all())
    if kind in ("antenna", "time"):
        hit = hits(masks.target, cells).reshape(7, *sizes)
        assert (hit.min(2 if kind == "antenna" else 1) == hit.max(2 if kind == "antenna" else 1)).all()


@given(kinds, sides, st.booleans(), st.integers(1, 4), st.permutations(range(9)), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_a_sample_feels_neither_its_batch_nor_its_rank(
    kind: str, sizes: tuple[int, int], wrap: bool, count: int, order: list[int], cut: int
) -> None:
    draw = sampler(build(kind, sizes, wrap, count), 0.5, (0.5, 1.0))
    ids = torch.tensor(order) * 1000
    whole = draw(ids, 7, 5)
    for part in (slice(0, cut), slice(cut, None), slice(0, None, 2), slice(1, None, 2)):
        alone = draw(ids[part], 7, 5)
        assert torch.equal(alone.target, whole.target[part])
        assert torch.equal(alone.context, whole.context[part])
    assert torch.equal(draw(ids.flip(0), 7, 5).target, whole.target.flip(0))


@pytest.mark.parametrize("kind", ["random", "region", "antenna", "time"])
def test_seed_step_and_sample_matter(kind: str) -> None:
    draw = sampler(build(kind, (SIDE, SIDE)), 0.4)
    ids = torch.arange(50)
    masks = [draw(i, seed, step).target for i, seed, step in [(ids, 0, 0), (ids, 1, 0), (ids, 0, 1), (ids + 50, 0, 0)]]
    for one, other in combinations(masks, 2):
        assert not torch.equal(one, other)
    assert len(masks[0].sort(1).values.unique(dim=0)) > 5


@pytest.mark.parametrize(
    ("kind", "count", "ratio"),
    [
        ("random", 1, 0.6),
        ("region", 4, 0.6),
        ("region", 1, 0.3),
        ("antenna", 1, 0.6),
        ("time", 2, 0.5),
        ("time", 3, 0.6),
    ],
)
def test_every_token_is_the_target_equally_often(kind: str, count: int, ratio: float) -> None:
    masks = spread(build(kind, (SIDE, SIDE), True, count), ratio, (0.85, 1.0))
    hit = hits(masks.target, SIDE * SIDE)
    assert pvalue(hit, masks.target.shape[1] / SIDE**2) > ALPHA
    for axis in (1, 2):
        lines = hit.reshape(-1, SIDE, SIDE).mean(axis)
        assert pvalue(lines, masks.target.shape[1] / SIDE**2) > ALPHA
        assert pvalue(lines[:, -1:], masks.target.shape[1] / SIDE**2) > ALPHA


@pytest.mark.parametrize("kind", ["random", "region", "antenna", "time"])
def test_every_token_is_in_the_context_equally_often(kind: str) -> None:
    masks = spread(build(kind, (SIDE, SIDE), True, 4), 0.5, (0.7, 0.7))
    assert pvalue(hits(masks.context, SIDE * SIDE), masks.context.shape[1] / SIDE**2) > ALPHA


@pytest.mark.parametrize("sizes", [(8, 8), (4, 16), (2, 2), (5, 3)])
@pytest.mark.parametrize("kind", ["random", "region", "antenna", "time"])
def test_small_grids_are_covered_evenly_too(kind: str, sizes: tuple[int, int]) -> None:
    masks = spread(build(kind, sizes, True, 2), 0.5)
    assert pvalue(hits(masks.target, sizes[0] * sizes[1]), masks.target.shape[1] / (sizes[0] * sizes[1])) > ALPHA


@pytest.mark.parametrize(("strips", "hidden"), [(1, 5), (2, 5), (3, 4), (2, 8)])
def test_strips_inside_take_every_set_of_places_equally_often(strips: int, hidden: int) -> None:
    """Against all separate places, listed one by one."""
    size = 10
    widths = [hidden // strips + (i < hidden % strips) for i in range(strips)]
    places: list[tuple[int, ...]] = []
    for starts in combinations(range(size), strips):
        ends = [a + w for a, w in zip(starts, widths, strict=True)]
        if ends[-1] <= size and all(end < start for end, start in zip(ends, starts[1:], strict=False)):
            places.append(tuple(r for a, w in zip(starts, widths, strict=True) for r in range(a, a + w)))
    masks = spread(build("time", (2, size), False, strips), hidden / size)
    rows = [tuple(sorted(set(target))) for target in (masks.target % size).tolist()]
    seen = Counter(rows)
    assert set(seen) == set(places)
    assert len(places) == 1 or stats.chisquare([seen[place] for place in places]).pvalue > ALPHA
    assert any(size - 1 in place for place in seen)


@given(st.integers(2, 30), st.floats(0.05, 0.95), st.integers(1, 6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_strips_are_separate_and_of_equal_width(size: int, ratio: float, strips: int, wrap: bool) -> None:
    masks = sampler(build("time", (1, size), wrap, strips), ratio)(torch.arange(20), 0, 0)
    hidden = masks.target.shape[1]
    want = min(strips, hidden, size - hidden + (not wrap))
    for row in hits(masks.target, size):
        if wrap:
            row = np.roll(row, -int(np.flatnonzero(row == 0)[0]))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        widths = edges[1::2] - edges[::2]
        assert len(widths) == want
        assert widths.max() - widths.min() <= 1


def test_a_region_is_a_compact_rectangle() -> None:
    geometry = Regions(cell_grid(("antenna", "time"), coords(SIDE, SIDE)), 1, (1.0, 1.0), True)
    for row in hits(sampler(geometry, 36 / 196)(torch.arange(300), 0, 0).target, SIDE**2).reshape(-1, SIDE, SIDE):
        spans = [np.flatnonzero(row.any(axis)) for axis in (0, 1)]
        # On a ring, what is covered ends where the largest gap begins.
        extents = [SIDE - max(np.diff(np.append(s, s[0] + SIDE)).max() - 1, 0) for s in spans]
        assert max(extents) <= 7
        assert min(extents) >= 6


def test_regions_have_the_aspect_of_their_step() -> None:
    geometry = Regions(cell_grid(("antenna", "time"), coords(40, 40)), 1, (0.5, 2.0), False)
    for step in range(5):
        height, width = geometry.extents(Draw(0, step, torch.arange(1)), 0.1)
        assert 0.5 <= height / width <= 2.0
        assert height * width == pytest.approx(160)
        hit = hits(sampler(geometry, 0.1)(torch.arange(50), 0, step).target, 1600).reshape(-1, 40, 40)
        assert hit.any(2).sum(1).mean() == pytest.approx(height, abs=1.2)
        assert hit.any(1).sum(1).mean() == pytest.approx(width, abs=1.2)


def test_regions_inside_never_touch_two_opposite_edges_and_reach_all_four() -> None:
    geometry = Regions(cell_grid(("antenna", "time"), coords(SIDE, SIDE)), 1, (0.75, 1.5), False)
    hit = hits(spread(geometry, 0.15).target, SIDE**2).reshape(-1, SIDE, SIDE)
    for axis in (1, 2):
        lines = hit.any(axis)
        assert not (lines[:, 0] & lines[:, -1]).any()
        assert lines[:, 0].any()
        assert lines[:, -1].any()


@pytest.mark.parametrize("axis", [1, 2])
def test_regions_inside_prefer_no_side(axis: int) -> None:
    """Targets and context alike: what the first row gets, the last one gets."""
    masks = spread(build("region", (SIDE, SIDE), False, 4), 0.5, (0.6, 0.6))
    for index in (masks.target, masks.context):
        lines = hits(index, SIDE**2).reshape(-1, SIDE, SIDE).mean(3 - axis)
        assert pvalue((lines - lines[:, ::-1])[:, : SIDE // 2], 0.0) > ALPHA


def test_the_test_sees_what_is_wrong_with_raster_truncation_and_short_bounds() -> None:
    """The defects of the reference collator, made on purpose: each is found at once."""
    masks = spread(build("region", (SIDE, SIDE), True, 4), 0.5)
    raster = masks.context.sort(1).values[:, : masks.context.shape[1] * 7 // 10]
    assert pvalue(hits(raster, SIDE**2), raster.shape[1] / SIDE**2) < 1e-12
    short = build("random", (SIDE - 1, SIDE - 1), True)
    rows = spread(short, 0.5).target
    shifted = rows // (SIDE - 1) * SIDE + rows % (SIDE - 1)
    assert pvalue(hits(shifted, SIDE**2), shifted.shape[1] / SIDE**2) < 1e-12


def test_lengths_do_not_shrink_with_the_batch() -> None:
    for wrap in (True, False):
        draw = sampler(build("region", (SIDE, SIDE), wrap, 4), 0.45, (0.85, 1.0))
        lengths = {(m.context.shape[1], m.target.shape[1]) for m in (draw(torch.arange(n), 0, 9) for n in (1, 16, 256))}
        assert len(lengths) == 1
        # 47.8 of 81.6 eligible tokens are what truncation leaves of a batch of 256.
        assert lengths.pop()[0] >= round(0.85 * (196 - 88)) - 1


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.75])
def test_geometries_hide_equal_areas_up_to_a_strip(ratio: float) -> None:
    for sizes in ((14, 14), (8, 8), (4, 16)):
        cells = sizes[0] * sizes[1]
        counts = {
            kind: sampler(build(kind, sizes), ratio)(torch.arange(2), 0, 0).target.shape[1]
            for kind in ("random", "region", "antenna", "time")
        }
        assert counts["random"] == counts["region"] == round(ratio * cells)
        assert abs(counts["antenna"] - ratio * cells) <= sizes[1] / 2
        assert abs(counts["time"] - ratio * cells) <= sizes[0] / 2


def test_one_axis_and_large_grids() -> None:
    line = sampler(build("region", (50,), True, 3), 0.4)(torch.arange(4000), 0, 0)
    assert pvalue(hits(line.target, 50), 0.4) > ALPHA
    for kind in ("random", "region"):
        masks = sampler(build(kind, (40, 40)), 0.5)(torch.arange(20), 0, 0)
        together = torch.cat([masks.context, masks.target], 1).sort(1).values
        assert torch.equal(together, torch.arange(1600).expand(20, -1))
