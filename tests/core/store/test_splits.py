from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.store.splits import (
    TEST,
    TRAIN,
    VAL,
    available_splits,
    city_split,
    describe,
    group_leak,
    group_split,
    hold_out,
    leak,
    random_split,
    sizes,
    spatial_split,
    whole,
)

SHARES = (0.7, 0.1, 0.2)


def grid(columns, rows, spacing=2.5, x0=0.0):
    x, y = np.meshgrid(np.arange(columns) * spacing + x0, np.arange(rows) * spacing)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)], axis=1).astype(np.float32)


def two_places():
    position = np.concatenate([grid(40, 20), grid(30, 30)])
    return position, np.repeat([0, 1], [800, 900])


@given(n=st.integers(1, 500), seed=st.integers(0, 100))
def test_random_split_has_the_asked_sizes(n, seed):
    counts = np.bincount(random_split(n, SHARES, seed), minlength=3)
    assert counts.sum() == n
    np.testing.assert_allclose(counts, np.array(SHARES) * n, atol=1)


def test_splits_depend_on_the_seed_alone():
    position, place = two_places()
    for make in (
        lambda seed: random_split(800, SHARES, seed),
        lambda seed: spatial_split(position, place, SHARES, 20.0, seed),
        lambda seed: city_split(position, place, 1, SHARES, 20.0, seed),
    ):
        np.testing.assert_array_equal(make(4), make(4))
        assert (make(4) != make(5)).any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), block=st.floats(5, 25))
def test_blocks_are_whole_and_shares_are_near(seed, block):
    position, place = two_places()
    split = spatial_split(position, place, SHARES, block, seed)
    for number in (0, 1):
        mine = place == number
        cells = np.floor((position[mine, :2].astype(float) - position[mine, :2].min(axis=0)) / block).astype(int)
        keys = cells[:, 0] * 1000 + cells[:, 1]
        assert all(len(set(split[mine][keys == key])) == 1 for key in set(keys))
        largest = max(np.bincount(np.unique(keys, return_inverse=True)[1]))
        sizes = np.bincount(split[mine], minlength=3)
        assert sizes.all()
        np.testing.assert_allclose(sizes, np.array(SHARES) * mine.sum(), atol=2 * largest)
    np.testing.assert_allclose(np.bincount(split), np.array(SHARES) * 1700, atol=64 * (block / 20) ** 2 + 40)


def test_three_blocks_are_enough_for_three_parts():
    position = grid(3, 1, spacing=20.0)
    split = spatial_split(position, np.zeros(3, int), SHARES, 20.0, 0)
    assert sorted(split) == [TRAIN, VAL, TEST]


def test_places_of_one_block_share_out_the_parts():
    position, place = np.concatenate([grid(4, 4)] * 10), np.repeat(np.arange(10), 16)
    split = spatial_split(position, place, SHARES, 20.0, 0)
    assert np.bincount(split).tolist() == [7 * 16, 1 * 16, 2 * 16]
    city = city_split(position, place, 9, SHARES, 20.0, 0)
    assert np.bincount(city).tolist() == [8 * 16, 1 * 16, 1 * 16]


def test_scenarios_on_the_same_users_stay_together():
    position = grid(20, 20)
    both, place = np.concatenate([position, position]), np.zeros(800, int)
    split = spatial_split(both, place, SHARES, 10.0, 3)
    np.testing.assert_array_equal(split[:400], split[400:])


def test_city_split_holds_out_one_place():
    position, place = two_places()
    split = city_split(position, place, 0, SHARES, 10.0, 0)
    assert (split[place == 0] == TEST).all()
    rest = split[place == 1]
    assert set(rest) == {TRAIN, VAL}
    assert (rest == VAL).mean() == pytest.approx(0.1 / 0.8, abs=0.03)


def test_only_possible_splits_are_offered():
    position, place = two_places()
    args = {"fractions": SHARES, "block_m": 20.0, "seed": 0}
    assert list(available_splits(position, place, test_place=1, **args)) == ["city", "spatial", "random"]
    one = available_splits(grid(40, 20), np.zeros(800, int), test_place=0, **args)
    assert list(one) == ["spatial", "random"]
    assert list(available_splits(grid(4, 4), np.zeros(16, int), test_place=0, **args)) == ["random"]
    assert available_splits(grid(2, 1), np.zeros(2, int), test_place=0, **args) == {}


def test_leak_in_closed_form():
    position = np.array([[0, 0, 1], [4, 0, 1], [10, 0, 1], [0, 3, 9]], np.float32)
    split = np.array([TRAIN, TEST, TEST, TEST], np.uint8)
    found = leak(position, np.zeros(4, int), split)
    # distances to the training user: 4 m, 10 m, sqrt(9 + 64) = 8.544 m
    assert found == {"share": pytest.approx(1 / 3), "below_m": 5.0, "median_m": 8.544}


def test_leak_looks_within_the_place_only():
    position = np.zeros((4, 3), np.float32)
    split = np.array([TRAIN, TRAIN, TEST, TEST], np.uint8)
    assert leak(position, np.array([0, 0, 1, 1]), split) == {"share": 0.0, "below_m": 5.0, "median_m": None}
    assert leak(position, np.array([0, 1, 0, 1]), split)["share"] == 1.0


def test_random_leaks_more_than_blocks_and_blocks_more_than_cities():
    position, place = two_places()
    made = available_splits(position, place, test_place=1, fractions=SHARES, block_m=20.0, seed=0)
    told = {name: describe(position, place, split) for name, split in made.items()}
    shares = {name: entry["leak"]["share"] for name, entry in told.items()}
    assert shares["random"] > 0.95
    assert shares["city"] == 0.0
    assert 0.0 < shares["spatial"] < 0.7
    assert all(entry["train"] + entry["val"] + entry["test"] == 1700 for entry in told.values())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=200), st.integers(0, 5))
def test_groups_stay_whole(pairs, seed):
    group, stratum = np.array([g for g, _ in pairs]), np.array([s for _, s in pairs])
    split = group_split(group, stratum, (0.7, 0.1, 0.2), seed)
    for number in np.unique(group):
        assert len(np.unique(split[group == number])) == 1
    assert group_leak(group, split, "file") == {"share": 0.0, "group": "file"}
    np.testing.assert_array_equal(split, group_split(group, stratum, (0.7, 0.1, 0.2), seed))


def test_groups_keep_the_shares_in_every_stratum():
    group = np.arange(3000) // 10
    stratum = group % 3
    split = group_split(group, stratum, (0.7, 0.1, 0.2), 0)
    for number in range(3):
        shares = np.bincount(split[stratum == number], minlength=3) / 1000
        np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=0.01)
    assert not (split == group_split(group, stratum, (0.7, 0.1, 0.2), 1)).all()
    assert set(group_split(group, stratum, (0.8, 0.2, 0.0), 0)) == {0, 1}


def test_group_leak_counts_test_samples_whose_group_is_in_training():
    group = np.array([0, 0, 1, 1, 2, 3, 3])
    split = np.array([0, 2, 0, 2, 2, 1, 2], np.uint8)
    assert group_leak(group, split, "position") == {"share": 0.5, "group": "position"}


def test_what_is_held_out_is_the_test_set_and_the_rest_keeps_its_ratio():
    test = np.arange(40) % 4 == 1
    split = hold_out(test, (0.6, 0.2, 0.2), lambda rest, inner: random_split(len(rest), inner, 0))
    assert ((split == TEST) == test).all()
    assert sizes(split) == {"train": 22, "val": 8, "test": 10}


def test_a_split_with_an_empty_part_is_no_split():
    made = {"no": np.array([0, 1, 1], np.uint8), "yes": np.array([2, 1, 0], np.uint8), "empty": np.zeros(0, np.uint8)}
    assert list(whole(made)) == ["yes"]
