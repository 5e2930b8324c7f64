"""Counts and moments of array values, gathered while they pass by and merged in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfm_cli.core.store.schema import JSON

_BLOCK = 1 << 16
"""Values per step: what is made of them stays in the cache."""
_FOLD = 32
"""Values added in the array's own precision before float64 takes over."""
_HALF_BITS = np.int32(-0x70002000)
"""0x8fffe000: where the sign, and the exponent and fraction of half precision lie in float32."""
_NO_HALF = 65536.0
"""More than half precision holds."""
_SAFE = (1e-12, 1e15)
"""Largest magnitudes of a block whose squares are sound in float32."""


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

        No BLAS: its result would depend on the processor and on its number of threads.
        """
        flat = components(values)
        self.count += flat.size
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are found by their extremes, see `finite`
            for start in range(0, flat.size, _BLOCK):
                self._add(flat[start : start + _BLOCK])

    def _add(self, block: np.ndarray[Any, Any]) -> None:
        half = block if block.dtype == np.float16 else None
        block = block if half is None else from_half(half)
        low, high = block.min(), block.max()
        if half is not None and max(-low, high) >= _NO_HALF:
            block = half.astype(np.float32)
            low, high = block.min(), block.max()
        if low != low:
            kept = block[~np.isnan(block)]
            self.nan += block.size - kept.size
            if kept.size:
                self._add(kept)
            return
        if block.dtype.kind == "f" and block.size == _BLOCK and _SAFE[0] < max(-low, high) < _SAFE[1]:
            self.total += _folded_sum(block)
            self.squares += _folded_sum(np.square(block))
        else:
            wide = block.astype(np.float64)
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


def _folded_sum(block: np.ndarray[Any, Any]) -> float:
    """Sum of a block without converting it first; the error is that of rounding the values themselves."""
    return float(np.add.reduce(np.add.reduce(block.reshape(_FOLD, -1), axis=0), dtype=np.float64))


def from_half(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Half precision as float32, exactly but for infinity and NaN; faster than NumPy's own conversion.

    The bits of sign, exponent and fraction move to their places in float32, and a factor makes up for the different
    bias, also of subnormal numbers. Infinity and NaN become numbers of 65,536 or more in magnitude.
    """
    bits = block.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _HALF_BITS
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide
