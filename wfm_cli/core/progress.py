"""Progress of long work on stderr: a bar on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_SECONDS = 10.0
"""Pause between two plain lines."""


def progress(iterable: Iterable[T], *, total: int | None, unit: str, label: str, enabled: bool = True) -> Iterator[T]:
    """Pass items through and report how far the work is.

    Args:
        iterable: the work.
        total: number of items, None when unknown.
        unit: name of one item (`part`, `step`, `sample`).
        label: what is being done.
        enabled: False reports nothing.
    """
    if not enabled:
        yield from iterable
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(iterable, total=total, unit=unit, desc=label, file=sys.stderr, dynamic_ncols=True)
    else:
        yield from _lines(iterable, total, unit, label)


def _lines(iterable: Iterable[T], total: int | None, unit: str, label: str) -> Iterator[T]:
    begin = shown = time.monotonic()
    done, of = 0, "" if total is None else f"/{total}"
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if now - shown >= _SECONDS and done != total:
            left = "" if total is None else f", about {(now - begin) / done * (total - done):.0f} s left"
            print(f"{label}: {done}{of} {unit}s, {now - begin:.0f} s{left}", file=sys.stderr, flush=True)
            shown = now
    print(f"{label}: {done}{of} {unit}s in {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
