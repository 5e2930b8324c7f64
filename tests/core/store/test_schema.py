from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfm_cli.core.store.schema import ArraySpec, grid, rows_per_shard

MIB = 2**20


def spec(dtype: str = "complex64", shape: tuple[int, ...] = (32, 32), name: str = "channel") -> ArraySpec:
    return ArraySpec(name, dtype, shape, ("sample", *(f"d{i}" for i in range(len(shape)))), "1", "x")


def test_published_channels_fill_shards_of_128_mib_with_chunks_of_1_mib():
    rows = rows_per_shard([spec(), spec("int8", ())], 1_000_000, 128, 1)
    assert rows * spec().row_bytes == 128 * MIB
    assert grid(spec(), rows, 1, "none").rows_per_chunk * spec().row_bytes == MIB
    assert grid(spec("int8", ()), rows, 1, "none").rows_per_chunk == rows


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.lists(
        st.tuples(st.sampled_from(["int8", "float32", "complex64"]), st.integers(1, 70_000)), min_size=1, max_size=4
    ),
    st.floats(0.001, 300),
    st.floats(0.001, 64),
)
def test_every_layout_is_whole(samples, arrays, shard_mib, chunk_mib):
    specs = [spec(dtype, (width,)) for dtype, width in arrays]
    rows = rows_per_shard(specs, samples, shard_mib, chunk_mib)
    largest = max(s.row_bytes for s in specs)
    assert rows >= 1
    assert rows == 1 or rows * largest <= shard_mib * MIB
    for one in specs:
        cut = grid(one, rows, chunk_mib, "none")
        assert cut.rows_per_shard % cut.rows_per_chunk == 0
        assert cut.rows_per_chunk == 1 or cut.rows_per_chunk * one.row_bytes <= chunk_mib * MIB
        ranges = [cut.rows(shard, samples) for shard in range(cut.shards(samples))]
        assert ranges[0][0] == 0
        assert ranges[-1][1] == samples
        assert all(a < b for a, b in ranges)
        assert all(left[1] == right[0] for left, right in pairwise(ranges))


def test_a_small_store_is_not_padded_to_a_whole_shard():
    rows = rows_per_shard([spec()], 2162, 128, 1)
    assert 2162 <= rows < 2162 + 128


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Labels"}, "name"),
        ({"name": "a//b"}, "name"),
        ({"name": "provenance/x"}, "name"),
        ({"dtype": "complex32"}, "dtype"),
        ({"dims": ("sample",)}, "dims"),
        ({"dims": ("row", "a", "b")}, "dims"),
        ({"shape": (4, 0)}, "empty axis"),
    ],
)
def test_contradictory_descriptions_are_refused(change, words):
    good = spec().to_json() | {"shape": (32, 32), "dims": ("sample", "a", "b")}
    with pytest.raises(ValueError, match=words):
        ArraySpec(**{**good, **change})


def test_description_survives_json():
    one = ArraySpec("labels/los", "int8", (), ("sample",), "1", "line of sight", {"classes": ["NLoS", "LoS"]})
    assert ArraySpec.from_json(one.to_json()) == one
