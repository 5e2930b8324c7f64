"""I/Q: windows of mapped files against a loop of slices over a NumPy memmap, files in the page cache.

Length of the files in samples: `WFM_SPEED_SAMPLES` (default 2^24).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, compare
from numpy.typing import NDArray

from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording, open_windows

SAMPLES = int(os.environ.get("WFM_SPEED_SAMPLES", str(1 << 24)))
BATCH_SAMPLES = 1 << 19
TYPES = {"cf32_le": ("f4", 0.0, 1.0), "ci16_le": ("i2", 0.0, 32768.0), "cu8": ("u1", 128.0, 128.0)}
GOAL = 1.0
"""The same work in the plain way; ours checks for NaN as well."""


def ours(recording: Recording, starts: NDArray[np.int64], length: int) -> Callable[[], None]:
    step = max(1, BATCH_SAMPLES // length)

    def run() -> None:
        read = open_windows(recording)
        for low in range(0, len(starts), step):
            batch = starts[low : low + step]
            read(np.zeros(len(batch), np.int64), batch, length)

    return run


def plain(path: Path, datatype: str, starts: NDArray[np.int64], length: int) -> Callable[[], None]:
    dtype, zero, scale = TYPES[datatype]
    step = max(1, BATCH_SAMPLES // length)

    def run() -> None:
        data = np.memmap(path, dtype, "r")
        for low in range(0, len(starts), step):
            batch = starts[low : low + step]
            out = np.empty((len(batch), 1, length), np.complex64)
            for row, start in enumerate(batch):
                values = data[2 * start : 2 * (start + length)].astype(np.float32)
                if scale != 1:
                    values -= np.float32(zero)
                    values *= np.float32(1 / scale)
                out[row, 0] = values.view(np.complex64)

    return run


def write(folder: Path, datatype: str) -> Path:
    rng = np.random.default_rng(0)
    dtype = TYPES[datatype][0]
    path = folder / f"x.{datatype}"
    numbers: NDArray[Any] = rng.normal(size=2 * SAMPLES) if dtype == "f4" else rng.integers(0, 100, 2 * SAMPLES)
    numbers.astype(dtype).tofile(path)
    return path


def main() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for datatype in TYPES:
            path = write(Path(folder), datatype)
            recording = Recording("x", path, "raw", datatype, SAMPLES, layout=stamp(path))
            for length in (8256, 1024):
                dense = np.arange(0, SAMPLES - length, length)
                for order, starts in (("in order", dense), ("shuffled", np.random.default_rng(0).permutation(dense))):
                    candidates = {
                        "ours": ours(recording, starts, length),
                        "plain": plain(path, datatype, starts, length),
                    }
                    seconds = compare(candidates, repeats=3)
                    rate = len(starts) * length / seconds["ours"] / 1e6
                    name = f"{datatype}, windows of {length}, {order}: against slices of a memmap"
                    ratio = seconds["plain"] / seconds["ours"]
                    rows.append(Row(name, ratio, "x", GOAL, note=f"{rate:.0f} MS/s per CPU-second"))
    return rows


if __name__ == "__main__":
    for row in main():
        print(f"{row.name:<64} {row.value:8.2f} {row.unit}  {row.note}")
