"""What the axes of a variable with I/Q samples mean: MATLAB's own rule, and that of .npy for plain HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wfm_cli.errors import InputError
from wfm_datasets.iq.arrays import Layout, plan

_SHORTEST = 8
"""Samples below which an array is no recording."""


def looks_like_samples(shape: Sequence[int], complex_: bool) -> bool:
    """Whether an array may hold I/Q: long enough, and with an axis of 2 where it is real."""
    sizes = [size for size in shape if size > 1]
    if not sizes or 0 in shape or len(sizes) > 3 or max(sizes) < _SHORTEST:
        return False
    return complex_ or (len(sizes) >= 2 and 2 in sizes[-2:])


def row_major(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], layout: Layout) -> list[str]:
    """A word for every axis of a plain HDF5 dataset, by the rule for .npy; `one` for axes that this drops.

    Raises:
        InputError: no I/Q, or ambiguous.
    """
    made = plan(shape, dtype, layout, what)
    if made.datatype.startswith("r"):
        raise InputError(f"{what}: real samples", "expected complex numbers, or I and Q along an axis of length 2")
    return [*made.axes, *["one"] * (len(shape) - len(made.axes))]


def matlab(what: str, shape: Sequence[int], complex_: bool, layout: Layout) -> list[str]:
    """A word for every axis of a MATLAB array, in MATLAB's order: `example`, `time`, `part`; `one` for size 1.

    Of complex arrays the longer axis is time, as MATLAB keeps signals in columns and many people in rows. Real arrays
    have I and Q along the last or the second last axis longer than 1; the longer of the others is time.

    Raises:
        InputError: no I/Q, or ambiguous.
    """
    if not looks_like_samples(shape, complex_) or (complex_ and sum(size > 1 for size in shape) > 2):
        kind = "complex" if complex_ else "real"
        words = f"{what} is a {kind} array of {tuple(shape)}, no I/Q"
        raise InputError(words, "expected a complex vector or matrix, or a real array with an axis of 2")
    part = None if complex_ else _part(what, shape, layout)
    left = [axis for axis, size in enumerate(shape) if axis != part and size > 1]
    time = max(left, key=lambda axis: shape[axis])
    made = ["time" if axis == time else "example" if axis in left else "one" for axis in range(len(shape))]
    if part is not None:
        made[part] = "part"
    return made


def _part(what: str, shape: Sequence[int], layout: Layout) -> int:
    """The axis of I and Q."""
    real = [axis for axis, size in enumerate(shape) if size > 1]
    first, last = shape[real[-2]] == 2, shape[real[-1]] == 2
    if layout == "parts_first" and first:
        return real[-2]
    if layout == "parts_last" and last:
        return real[-1]
    if layout != "auto" or first == last:
        reason = "I and Q may lie along either axis of 2" if first and last else f"does not fit --layout {layout}"
        raise InputError(f"{what} is a real array of {tuple(shape)}: {reason}", "--layout parts_first or parts_last")
    return real[-2] if first else real[-1]
