"""What compression of an array costs and saves, measured on one of its chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.inspect.text import size
from wfm_cli.core.store.direct import DirectRows, open_rows
from wfm_cli.core.store.writer import encode
from wfm_cli.errors import StoreError

BATCH = 256
"""Rows that the times are given for."""
_TRIES = 3


def trade(folder: Path, array: Mapping[str, Any]) -> dict[str, Any] | None:
    """Size and reading time of an array with and without compression.

    Args:
        folder: Folder of the array.
        array: Its description (`shape`, `bytes`, `rows_per_chunk`, `compression`).

    Returns:
        `packed_share`: bytes with zstd over bytes without, of the whole array where it is packed, else of one chunk;
        `plain_ms` and `packed_ms`: CPU-bound time of 256 rows, plain rows in any order, packed ones by whole chunks;
        None where the rows cannot be read.
    """
    import numcodecs.zstd as zstd  # type: ignore[import-untyped]

    try:
        with open_rows(folder) as reader:
            count = min(int(array["rows_per_chunk"]), len(reader))
            start = (len(reader) - count) // 2
            rows = reader.take(np.arange(start, start + count))
            random = np.random.default_rng(0).integers(0, len(reader), BATCH)
            plain = _seconds(lambda: reader.take(random)) if isinstance(reader, DirectRows) else None
    except StoreError:
        return None
    order = random % count
    packed = encode(rows.reshape(-1).view(np.uint8), "zstd")
    unpack = _seconds(lambda: zstd.decompress(packed)) / count * BATCH
    share = len(packed) / rows.nbytes
    if array["compression"] != "none":
        share = sum(file.stat().st_size for file in folder.glob("c.*")) / array["bytes"]
    copied = plain if plain is not None else _seconds(lambda: np.take(rows, order, axis=0))
    return {"packed_share": share, "plain_ms": 1e3 * copied, "packed_ms": 1e3 * unpack, "rows": BATCH}


def trade_sentence(array: Mapping[str, Any]) -> str:
    """The trade of an array in words."""
    found: Mapping[str, float] = array["trade"]
    row = size(array["bytes"] / max(1, array["shape"][0]))
    times = f"{found['rows']} rows take about {found['packed_ms']:.3g} ms to unpack, {found['plain_ms']:.3g} ms to read"
    share = f"{100 * found['packed_share']:.0f} %"
    if array["compression"] == "none":
        return (
            f"{array['name']}: {array['dtype']}, {row} a row, uncompressed; zstd would make it {share}: {times} plain"
        )
    return f"{array['name']}: {array['dtype']}, {row} a row, {array['compression']} makes it {share}: {times} if plain"


def _seconds(call: Callable[[], object]) -> float:
    """Best of a few calls."""
    best = float("inf")
    for _ in range(_TRIES):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best
