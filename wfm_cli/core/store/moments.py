"""Counts and moments of array values, gathered while they pass by and merged in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfm_cli.core.store.schema import JSON

_BLOCK = 1 << 15
"""Values per step: their float64 copy stays in the cache."""


def components(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values as one flat real array; complex values become their real and imaginary parts (a view)."""
    flat = values.reshape(-1)
    if flat.dtype.kind == "c":
        return flat.view(np.dtype(f"f{flat.dtype.itemsize // 2}"))
    return flat.view(np.uint8) if flat.dtype.kind == "b" else flat


@dataclass
class Moments:
    """Statistics of the values of one array or of a piece of it.

    Complex arrays are counted by component: real and imaginary parts are values of their own, so `count` is twice the
    number of elements and `std` is what scales the [re, im] input of a model. NaNs are counted and left out.
    """

    count: int = 0
    nan: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def update(self, values: np.ndarray[Any, Any]) -> None:
        """Take in the values of a C-contiguous array.

        Sums run in float64 and without BLAS, whose result would depend on its number of threads.
        """
        flat = components(values)
        self.count += flat.size
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are found by their extremes, see `finite`
            self._update(flat)

    def _update(self, flat: np.ndarray[Any, Any]) -> None:
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            wide = block.astype(np.float64)
            if block.dtype == np.float16:  # NumPy compares half precision very slowly
                block = wide
            low, high = block.min(), block.max()
            if low != low:
                wide = wide[~np.isnan(wide)]
                self.nan += block.size - wide.size
                if not wide.size:
                    continue
                low, high = wide.min(), wide.max()
            self.total += float(wide.sum())
            self.squares += float(np.square(wide, out=wide).sum())
            self.low, self.high = min(self.low, low.item()), max(self.high, high.item())

    def merge(self, other: Moments) -> None:
        """Take in what another piece has gathered."""
        self.count += other.count
        self.nan += other.nan
        self.total += other.total
        self.squares += other.squares
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def finite(self) -> bool:
        """Whether neither NaN nor infinity has been seen."""
        return not self.nan and math.isfinite(self.low) and math.isfinite(self.high)

    def summary(self) -> dict[str, JSON]:
        """`count`, `nan`, `mean`, `std` (of the population), `min`, `max`."""
        seen = self.count - self.nan
        mean = self.total / seen if seen else 0.0
        variance = max(self.squares / seen - mean * mean, 0.0) if seen else 0.0
        edges = {"min": self.low, "max": self.high} if seen else {"min": 0.0, "max": 0.0}
        return {"count": self.count, "nan": self.nan, "mean": mean, "std": math.sqrt(variance), **edges}

    def to_json(self) -> dict[str, JSON]:
        """As written into the marker of a part."""
        sums = {"sum": self.total, "sumsq": self.squares, "min": self.low, "max": self.high}
        return {"count": self.count, "nan": self.nan, **sums}

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Moments:
        """The inverse of `to_json`."""
        return cls(*(data[key] for key in ("count", "nan", "sum", "sumsq", "min", "max")))
