"""Time stamps of the releases: `01:22:30-405771`, `['16-45-05-799']`, `16-45-05.799123`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError

_GRAMMAR = re.compile(r"\[?'?\s*(\d{1,2})[:-](\d{1,2})[:-](\d{1,2})(?:[-.](\d{1,9}))?\s*'?\]?")
DAY_S = 86_400.0
_WRAP_S = DAY_S / 2


def seconds(text: str) -> float | None:
    """Seconds of the day of one stamp; None when it is none. Digits behind the seconds are their decimals."""
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second = (int(part) for part in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 60:
        return None
    digits = match.group(4)
    return 3600.0 * hour + 60.0 * minute + second + (int(digits) / 10 ** len(digits) if digits else 0.0)


def parse(texts: Sequence[str], lines: Sequence[int], where: object) -> NDArray[np.float64]:
    """Seconds of every stamp.

    Raises:
        InputError: names the first line without a stamp.
    """
    values = [seconds(text) for text in texts]
    for line, text, value in zip(lines, texts, values, strict=True):
        if value is None:
            raise InputError(
                f"{where}: line {line}: {text!r} is no time stamp", "stamps look like 01:22:30-405771 or 16-45-05.799"
            )
    return np.array(values, np.float64)


def unwrap(time: NDArray[np.float64], sequence: NDArray[np.integer]) -> NDArray[np.float64]:
    """Let the time of a sequence go on over midnight: falls of more than half a day add a day."""
    made = time.copy()
    for start, stop in runs(sequence):
        piece = made[start:stop]
        piece += DAY_S * np.concatenate([[0], np.cumsum(np.diff(piece) < -_WRAP_S)])
    return made


def runs(sequence: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Ranges [start, stop) of equal neighbours."""
    if not len(sequence):
        return []
    edges = np.flatnonzero(np.diff(sequence)) + 1
    bounds = [0, *edges.tolist(), len(sequence)]
    return list(pairwise(bounds))
