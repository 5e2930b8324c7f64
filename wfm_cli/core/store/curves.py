"""Curves of a run: columns over rows that grow, kept as one small Zarr array per column."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

EMPTY_GROUP = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode()
"""Metadata of a Zarr group without attributes."""
ROWS = 4096
"""Rows of one chunk."""


class Curves:
    """Rows of named float64 columns. A column that a row does not name holds NaN there.

    Appended rows are in memory until `flush`, which rewrites the last chunk of every column and then its metadata;
    a reader meets either the old or the new number of rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, list[float]] = {name: list(v) for name, v in self.read().items()}
        self._rows = max((len(v) for v in self._columns.values()), default=0)
        self._written = self._rows

    def __len__(self) -> int:
        return self._rows

    def append(self, row: Mapping[str, float]) -> None:
        """Add one row."""
        for name in row:
            self._columns.setdefault(name, [math.nan] * self._rows)
        for name, values in self._columns.items():
            values.append(float(row.get(name, math.nan)))
        self._rows += 1

    def truncate(self, step: int) -> None:
        """Drop the rows behind `step` (column `step`)."""
        steps = self._columns.get("step", [])
        keep = sum(1 for value in steps if value <= step)
        self._columns = {name: values[:keep] for name, values in self._columns.items()}
        self._rows = keep
        self._written = 0
        self.flush()

    def flush(self) -> None:
        """Write all rows."""
        if not self._columns:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        replace_bytes(self.path / "zarr.json", EMPTY_GROUP)
        for name, values in self._columns.items():
            self._flush_column(self.path / name, np.asarray(values, "<f8"))
        self._written = self._rows

    def _flush_column(self, folder: Path, values: NDArray[np.float64]) -> None:
        fresh = not (folder / "zarr.json").is_file()
        first = 0 if fresh else min(self._written, self._rows) // ROWS
        (folder / "c").mkdir(parents=True, exist_ok=True)
        for chunk in range(first, -(-len(values) // ROWS)):
            rows = np.full(ROWS, np.nan, "<f8")
            part = values[chunk * ROWS : (chunk + 1) * ROWS]
            rows[: len(part)] = part
            replace_bytes(folder / "c" / str(chunk), rows.tobytes())
        replace_bytes(folder / "zarr.json", json.dumps(_metadata(len(values))).encode())

    def read(self) -> dict[str, NDArray[np.float64]]:
        """The written columns, all of one length, float64; empty when nothing was written."""
        if not self.path.is_dir():
            return {}
        columns = {}
        for folder in sorted(self.path.iterdir()):
            if (folder / "zarr.json").is_file():
                rows = json.loads((folder / "zarr.json").read_text())["shape"][0]
                chunks = [np.fromfile(folder / "c" / str(i), "<f8") for i in range(-(-rows // ROWS))]
                columns[folder.name] = np.concatenate(chunks)[:rows] if chunks else np.empty(0)
        # A kill between two columns leaves some a flush ahead: only rows that every column has count.
        rows = min((len(v) for v in columns.values()), default=0)
        return {name: values[:rows] for name, values in columns.items()}


def _metadata(rows: int) -> dict[str, object]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows],
        "data_type": "float64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [ROWS]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
        "dimension_names": ["row"],
        "storage_transformers": [],
    }


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a small file so that readers see the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
