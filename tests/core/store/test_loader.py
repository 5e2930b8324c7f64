from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.stores import make_store
from wfm_cli.core.store import BatchLoader, loader, memory, rows
from wfm_cli.core.store.direct import DirectRows
from wfm_cli.core.store.order import chunk_shuffle, full_shuffle, permutation
from wfm_cli.errors import InputError, StoreError

SMALL = {"samples": 500, "shard_mib": 0.03, "chunk_mib": 0.01}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "x.zarr", **SMALL)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "x.zarr", compression="zstd", **SMALL)


def small_blocks(monkeypatch) -> None:
    """Blocks of 16 rows and pools of 4 blocks, so that a store of 500 rows has many of both."""
    real = rows.ZarrRows.__init__

    def init(self, path, why):
        real(self, path, why)
        self.block, self.pool = 16, 4

    monkeypatch.setattr(rows.ZarrRows, "__init__", init)


def collect(made: BatchLoader, start: int, stop: int) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    return [(batch.step, batch.epoch, batch.ids, batch.data.copy()) for batch in made.iterate(start, stop)]


def same(left, right) -> None:
    assert [item[:2] for item in left] == [item[:2] for item in right]
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one[2], other[2])
        np.testing.assert_array_equal(one[3], other[3])


@given(st.integers(0, 300), st.integers(0, 2**63), st.integers(0, 1000))
def test_every_epoch_is_a_permutation(n, seed, epoch):
    order = full_shuffle(n, seed, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, full_shuffle(n, seed, epoch))


def test_orders_differ_between_epochs_and_seeds_and_are_fixed_for_ever():
    orders = [full_shuffle(1000, seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({order.tobytes() for order in orders}) == 9
    assert permutation(8, 0, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]


def test_positions_are_uniform():
    """Every sample comes first equally often: chi-square with 15 degrees of freedom stays below its 99.99 % point."""
    first = np.bincount([full_shuffle(16, 7, epoch)[0] for epoch in range(4000)], minlength=16)
    assert ((first - 250) ** 2 / 250).sum() < 44.3


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 6), st.integers(0, 100))
def test_chunk_shuffle_is_a_permutation_that_touches_few_blocks_at_a_time(blocks, size, pool, seed):
    index = np.random.default_rng(seed).permutation(blocks * size)[: max(1, blocks * size * 2 // 3)]
    block = index // size
    order = chunk_shuffle(block, pool, seed, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(index)))
    visited = block[order]
    ends = [np.flatnonzero(visited == number).max() for number in np.unique(block)]
    starts = [np.flatnonzero(visited == number).min() for number in np.unique(block)]
    for place in range(len(order)):
        assert sum(start <= place <= end for start, end in zip(starts, ends, strict=True)) <= pool


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("which", ["store", "packed"])
def test_an_epoch_visits_every_sample_once_and_brings_its_row(which, in_memory, request, monkeypatch):
    small_blocks(monkeypatch)
    data = request.getfixturevalue(which)
    whole, train = data.read("channel"), data.indices("train")
    made = BatchLoader(data, "channel", train, 32, seed=1, in_memory=in_memory)
    assert made.how == ("memory" if in_memory else "preadv" if which == "store" else "zarr")
    assert made.why == ("codec zstd" if which == "packed" else "")
    assert len(made) == made.steps_per_epoch == len(train) // 32
    epochs = []
    for epoch in range(2):
        batches = collect(made, epoch * len(made), (epoch + 1) * len(made))
        assert [(step, number) for step, number, _, _ in batches] == [
            (epoch * len(made) + i, epoch) for i in range(len(made))
        ]
        for _, _, ids, rows_ in batches:
            np.testing.assert_array_equal(rows_, whole[ids])
        ids = np.concatenate([item[2] for item in batches])
        assert len(np.unique(ids)) == len(ids)
        assert np.isin(ids, train).all()
        epochs.append(ids)
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("which", ["store", "packed"])
def test_memory_changes_nothing(which, request, monkeypatch):
    small_blocks(monkeypatch)
    data = request.getfixturevalue(which)
    shuffled = np.random.default_rng(0).permutation(data.indices("train"))
    one, other = (BatchLoader(data, "channel", shuffled, 20, seed=1, in_memory=held) for held in (True, False))
    same(collect(one, 3, 40), collect(other, 3, 40))


@pytest.mark.parametrize("which", ["store", "packed"])
@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_starting_anywhere_equals_never_having_stopped(which, prefetch, request, monkeypatch):
    small_blocks(monkeypatch)
    data = request.getfixturevalue(which)

    def fresh():
        return BatchLoader(data, "channel", data.indices("train"), 32, seed=5, in_memory=False, prefetch=prefetch)

    whole = collect(fresh(), 0, 45)
    for start, stop in ((0, 17), (17, 18), (18, 45), (45, 45)):
        same(collect(fresh(), start, stop), whole[start:stop])


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_every_batch(store, world):
    def ids(rank, count):
        made = BatchLoader(store, "channel", store.indices("train"), 32, seed=2, rank=rank, world=count)
        return [batch[2] for batch in collect(made, 0, 25)]

    alone, together = ids(0, 1), [ids(rank, world) for rank in range(world)]
    for step, expected in enumerate(alone):
        for rank in range(world):
            np.testing.assert_array_equal(together[rank][step], expected[rank::world])


def test_without_shuffling_the_given_order_is_kept(store):
    made = BatchLoader(store, "channel", np.arange(499, -1, -1), 100, seed=0, shuffle=False)
    np.testing.assert_array_equal(np.concatenate([item[2] for item in collect(made, 5, 10)]), np.arange(499, -1, -1))


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_a_batch_stays_valid_until_the_next_but_one(store, prefetch):
    whole = store.read("channel")
    made = BatchLoader(store, "channel", np.arange(500), 50, seed=0, in_memory=False, prefetch=prefetch)
    previous = None
    buffers = set()
    for batch in made.iterate(0, 60):
        buffers.add(batch.data.ctypes.data)
        assert batch.data.ctypes.data % 64 == 0
        for held in (previous, batch):
            if held is not None:
                np.testing.assert_array_equal(held.data, whole[held.ids])
        previous = batch
    assert len(buffers) <= prefetch + 2


def loader_threads() -> int:
    return sum(thread.name == "wfm-loader" for thread in threading.enumerate())


def test_no_thread_stays_behind(store):
    made = BatchLoader(store, "channel", np.arange(500), 50, seed=0)
    batches = made.iterate(0, 1000)
    assert loader_threads() == 0
    next(batches)
    assert loader_threads() == 1
    batches.close()
    assert loader_threads() == 0
    for batch in made.iterate(0, 1000):
        if batch.step == 3:
            break
    del batch
    gc.collect()
    assert loader_threads() == 0
    collect(made, 0, 5)
    assert loader_threads() == 0


def test_errors_of_the_background_thread_arrive(tmp_path):
    data = make_store(tmp_path / "x.zarr", **SMALL)
    made = BatchLoader(data, "channel", np.arange(500), 50, seed=0, in_memory=False)
    (data.path / "channel" / "c.3.0.0").unlink()
    with pytest.raises(StoreError, match=r"c\.3\.0\.0: shard file is missing"):
        collect(made, 0, 10)
    assert loader_threads() == 0


def test_too_few_samples(store):
    with pytest.raises(InputError, match="500 samples do not fill one batch of 501"):
        BatchLoader(store, "channel", np.arange(500), 501, seed=0)
    with pytest.raises(InputError, match="batch size 2 is less than 3"):
        BatchLoader(store, "channel", np.arange(500), 2, seed=0, world=3)


def test_memory_is_used_when_a_quarter_of_what_is_free_suffices(store, monkeypatch):
    size = 500 * 8 * 8 * 8
    for free, ranks, how in ((4 * size, 1, "memory"), (4 * size - 4, 1, "preadv"), (4 * size, 2, "preadv")):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
        assert BatchLoader(store, "channel", np.arange(500), 50, seed=0).how == how


def test_free_memory_is_a_sensible_number():
    assert 2**20 < memory.free_memory() < 2**50


def test_pieces_into_memory_are_put_in_the_right_place(store, monkeypatch):
    monkeypatch.setattr(loader, "_PIECE", 7)
    index = np.random.default_rng(0).permutation(500)[:333]
    made = BatchLoader(store, "channel", index, 333, seed=0, shuffle=False, in_memory=True)
    np.testing.assert_array_equal(collect(made, 0, 1)[0][3], store.read("channel")[index])


def test_cached_rows_come_from_the_mapping(store, monkeypatch):
    reader, expected = store.rows("channel"), store.read("channel")[[499, 0]]
    assert isinstance(reader, DirectRows)
    reader.take(np.arange(500))
    reader.take(np.arange(500))
    monkeypatch.setattr("os.preadv", None)
    np.testing.assert_array_equal(reader.take([499, 0]), expected)
