"""The layout rule for arrays of I/Q: which axis is time, which the examples, which the two parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import SampleType, sample_type

Layout = Literal["auto", "samples", "parts_first", "parts_last"]
Axis = Literal["example", "channel", "time", "part"]
_I_NAMES = frozenset(("i", "re", "r", "real"))
_Q_NAMES = frozenset(("q", "im", "imag", "j"))
_LAYOUT_REMEDY = "say it with --layout samples, parts_first (N, 2, L) or parts_last (N, L, 2)"


@dataclass(frozen=True)
class Plan:
    """What an array of some shape and type holds."""

    axes: tuple[Axis, ...]
    """Meaning of every axis."""
    shape: tuple[int, ...]
    datatype: str
    """SigMF name of the numbers."""
    structured: bool
    """Two fields of a record make a sample."""
    q_first: bool
    """The record's first field is Q."""

    def size(self, axis: Axis) -> int:
        """Length along a meaning, 1 where there is no such axis."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def plan(shape: tuple[int, ...], dtype: np.dtype[Any], layout: Layout, what: str) -> Plan:
    """The rule for .npy and .npz.

    Complex and record arrays: (L,), (N, L), (N, channels, L). Real arrays have an axis of length 2 among the last two
    for the parts: (2, L), (L, 2), (N, 2, L), (N, L, 2), (N, channels, 2, L), (N, channels, L, 2). Where both of the
    last two axes, or none, have length 2, the layout must be named. `samples`: every real number is a sample.

    Raises:
        InputError: another shape or type, or an ambiguous one.
    """
    structured, q_first = dtype.names is not None, False
    part = dtype
    if structured:
        part, q_first = _record(dtype, what)
    has_parts = structured or dtype.kind == "c"
    sizes = tuple(shape)
    axes: tuple[Axis, ...]
    if has_parts or layout == "samples":
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes = sizes[:-1]
        axes = _plain(len(sizes), sizes, what)
    else:
        axes = _parts(sizes, layout, what)
    if 0 in sizes:
        raise InputError(f"{what}: is empty {sizes}", "record it again")
    kind = "c" if has_parts or "part" in axes else "r"
    return Plan(axes, sizes, _sigmf(kind, part, what), structured, q_first)


def flat_layout(made: Plan, part_bytes: int, fortran: bool, offset: int) -> dict[str, int] | None:
    """Keys of the flat backend for an array on disk; None where its samples do not lie in a row."""
    sizes = list(made.shape)
    axes = list(made.axes)
    item = part_bytes * (1 if "part" in axes or made.datatype.startswith("r") else 2)
    order = range(len(sizes)) if fortran else range(len(sizes) - 1, -1, -1)
    steps, step = {}, item
    for axis in order:
        steps[axes[axis]] = step
        step *= sizes[axis]
    time, part = steps["time"], steps.get("part")
    layout = {"offset": offset}
    in_a_row = (time == 2 * part_bytes) if part == part_bytes else (time == item)
    if made.size("time") > 1 and not in_a_row:
        return None
    if part is not None and part != part_bytes:
        layout["plane_bytes"] = part
    if "example" in steps:
        layout["example_bytes"] = steps["example"]
    if made.size("channel") > 1:
        layout["channel_bytes"] = steps["channel"]
    return layout


def arrange(values: NDArray[Any], made: Plan) -> NDArray[np.complex64]:
    """The samples of a whole array, (examples, channels, time), integers divided by their full scale."""
    kind = sample_type(made.datatype)
    values = values.reshape(made.shape)
    if made.structured:
        first, second = (values[name] for name in values.dtype.names or ())
        parts = np.stack([second, first] if made.q_first else [first, second], axis=-1)
        axes: tuple[Axis, ...] = (*made.axes, "part")
    elif values.dtype.kind == "c":
        parts = np.ascontiguousarray(values)[..., None].view(values.real.dtype)
        axes = (*made.axes, "part")
    else:
        parts, axes = values, made.axes
    return _complex(parts, axes, kind)


def _complex(parts: NDArray[Any], axes: tuple[Axis, ...], kind: SampleType) -> NDArray[np.complex64]:
    wanted: tuple[Axis, ...] = ("example", "channel", "time", "part")
    missing = [axis for axis in wanted if axis not in axes]
    grown = parts.reshape(*parts.shape, *(1 for _ in missing))
    ordered = grown.transpose([(*axes, *missing).index(axis) for axis in wanted])
    made = np.zeros((*ordered.shape[:3], 2), np.float32)
    with np.errstate(over="ignore"):
        made[..., : ordered.shape[3]] = (ordered - kind.zero) / kind.full_scale if kind.kind != "f" else ordered
    return made.view(np.complex64)[..., 0]


def _record(dtype: np.dtype[Any], what: str) -> tuple[np.dtype[Any], bool]:
    """Type of the two fields of a record, and whether Q is the first."""
    names = [name.lower() for name in dtype.names or ()]
    fields = [dtype[name] for name in dtype.names or ()]
    first = names[:1][0] if names else ""
    if len(fields) != 2 or fields[0] != fields[1] or dtype.itemsize != 2 * fields[0].itemsize or fields[0].shape:
        raise InputError(f"{what}: records of {', '.join(names) or 'nothing'}", "expected two equal fields, I and Q")
    if set(names) & _I_NAMES and set(names) & _Q_NAMES:
        return fields[0], first in _Q_NAMES
    raise InputError(f"{what}: records of {', '.join(names)}", "name the fields re and im, or i and q")


def _plain(dimensions: int, shape: tuple[int, ...], what: str) -> tuple[Axis, ...]:
    known: dict[int, tuple[Axis, ...]] = {1: ("time",), 2: ("example", "time"), 3: ("example", "channel", "time")}
    if dimensions not in known:
        raise InputError(f"{what}: shape {shape}", "expected (L,), (N, L) or (N, channels, L) samples")
    return known[dimensions]


def _parts(shape: tuple[int, ...], layout: Layout, what: str) -> tuple[Axis, ...]:
    if not 2 <= len(shape) <= 4:
        raise InputError(f"{what}: real numbers of shape {shape}, no axis holds I and Q", _LAYOUT_REMEDY)
    names: tuple[Axis, ...] = ("example", "channel")
    outer = names[: len(shape) - 2]
    first, last = shape[-2] == 2, shape[-1] == 2
    if layout == "auto" and first == last:
        reason = "two axes have length 2" if first else "no axis of length 2 holds I and Q"
        raise InputError(f"{what}: real numbers of shape {shape}: {reason}", _LAYOUT_REMEDY)
    use_first = first if layout == "auto" else layout == "parts_first"
    if not (first if use_first else last):
        raise InputError(f"{what}: shape {shape} is not {layout}: that axis has not length 2", _LAYOUT_REMEDY)
    return (*outer, "part", "time") if use_first else (*outer, "time", "part")


def _sigmf(kind: str, dtype: np.dtype[Any], what: str) -> str:
    """SigMF name of numbers; half precision is told as single, which holds it."""
    letter = "f" if dtype.kind in "fc" else dtype.kind
    bits = dtype.itemsize * 8 // (2 if dtype.kind == "c" else 1)
    if letter == "f" and bits == 16:
        bits = 32
    if letter not in "fiu" or bits > (64 if letter == "f" else 32):
        raise InputError(
            f"{what}: numbers of type {dtype}", "expected complex, floating point or integers up to 32 bits"
        )
    order = "be" if dtype.str.startswith(">") else "le"
    return f"{kind}{letter}{bits}" + ("" if bits == 8 else f"_{order}")
