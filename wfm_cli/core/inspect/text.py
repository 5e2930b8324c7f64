"""Numbers and nested values for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

_BLOCKS = "▁▂▃▄▅▆▇█"


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def number(value: Any) -> str:
    """A number with four digits; `–` for nothing and for NaN."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def si(value: float | None, unit: str) -> str:
    """A number with a prefix: `2.4 MHz`, `16.5 µs`; `–` for nothing."""
    if value is None:
        return "–"
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= scale * 0.99999999:
            return f"{value / scale:.7g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def sparkline(values: ArrayLike, width: int = 24) -> str:
    """The course of finite values in `width` block characters, each the mean of its share of the values."""
    row = np.asarray(values, dtype=np.float64)
    row = row[np.isfinite(row)]
    if row.size == 0:
        return ""
    points = np.array([piece.mean() for piece in np.array_split(row, min(width, row.size))])
    low, high = points.min(), points.max()
    level = np.zeros(points.size) if high == low else (points - low) / (high - low)
    return "".join(_BLOCKS[round(v * (len(_BLOCKS) - 1))] for v in level)


def grid(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """An empty table without frame; columns named in `right` are right-aligned."""
    table = Table(
        box=None, pad_edge=False, header_style="dim", title=Text(title, style="bold") if title else None,
        title_justify="left", padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def pairs(facts: Mapping[str, Any]) -> Table:
    """Names and values, one pair a line; empty values are left out."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return table


def nested(title: str, value: Mapping[str, Any]) -> Tree:
    """A mapping as a tree; short lists stay on one line."""
    tree = Tree(Text(title, style="bold"), guide_style="dim")
    for _ in _grow(tree, value):
        pass
    return tree


def _grow(tree: Tree, value: Mapping[str, Any]) -> Iterator[None]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _grow(tree.add(Text(str(key), style="dim")), item)
        else:
            tree.add(Text.assemble((f"{key}: ", "dim"), leaf(item)))
        yield


def leaf(item: Any) -> str:
    """A value on one line."""
    if isinstance(item, list | tuple):
        text = ", ".join(leaf(entry) for entry in item[:12]) or "none"
        return f"{text}, ... ({len(item)})" if len(item) > 12 else text
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {leaf(entry)}" for key, entry in item.items()) or "none"
    if item is None:
        return "none"
    return number(item) if isinstance(item, int | float) and not isinstance(item, bool) else str(item)
