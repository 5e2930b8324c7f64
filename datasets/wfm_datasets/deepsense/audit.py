"""Released best beams against the powers: which number is the first beam, and in which order they count."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError

AGREE = 0.99
"""Share of clean frames that have to agree."""


@dataclass(frozen=True)
class Audit:
    """How the released labels relate to the strongest measured beam b = 0 ... n - 1."""

    labels: int
    """Frames with a released label."""
    nan_frames: int
    """Frames with a beam that was not measured. Their released label often points at it."""
    offset: int = 0
    """Number of the first beam in the release."""
    order: Literal["same", "reversed"] = "same"
    """`reversed`: the released number is n - 1 - b + offset."""
    agreement: float = 1.0
    """Share of the clean frames in which label and powers agree under offset and order."""
    nan_agreement: float | None = None
    """The same among the frames with unmeasured beams."""

    def words(self, name: str) -> str:
        """One line for people."""
        if not self.labels:
            return f"scenario {name}: no released beams, labels come from the powers"
        order = ", counted in reverse" if self.order == "reversed" else ""
        nan = (
            "" if self.nan_agreement is None else f"; {self.nan_frames} frames with NaN, {self.nan_agreement:.0%} agree"
        )
        return f"scenario {name}: released beams count from {self.offset}{order}; {self.agreement:.2%} agree{nan}"

    def to_json(self) -> dict[str, Any]:
        """For the store's attributes."""
        return asdict(self)


def audit_labels(
    path: Path, beam: NDArray[np.int64], released: NDArray[np.int64], power: NDArray[np.float64], policy: str
) -> Audit:
    """Find offset and order of the released labels.

    Args:
        path: CSV, for errors.
        beam: (n,) strongest measured beam, from 0; -1 without powers.
        released: (n,) labels as released, -1 where there is none.
        power: (n, beams) with NaN where nothing was measured.
        policy: `error` refuses labels that agree nowhere, `ignore` records it.

    Raises:
        InputError: no offset and order makes 99 % of the clean frames agree.
    """
    unknown = np.isnan(power).any(1)
    broken = unknown & (beam >= 0)  # frames of challenges without powers are not broken
    have, beams = released >= 0, power.shape[1]
    clean = have & ~unknown
    if not clean.any():
        return Audit(int(have.sum()), int(broken.sum()))
    agreements: dict[tuple[int, Literal["same", "reversed"]], float] = {}
    for offset in (0, 1):
        agreements[offset, "same"] = float((beam[clean] + offset == released[clean]).mean())
        agreements[offset, "reversed"] = float((beams - 1 - beam[clean] + offset == released[clean]).mean())
    (offset, order), agreement = max(agreements.items(), key=lambda item: item[1])
    if agreement < AGREE and policy == "error":
        raise InputError(
            f"{path}: the released beams agree with the powers in {agreement:.1%} of frames at best (from {offset}, "
            f"{order} order)",
            "check that the CSV belongs to these power files, or take the recomputed ones alone: source.labels=ignore",
        )
    expected = beam + offset if order == "same" else beams - 1 - beam + offset
    odd = have & broken
    nan = float((expected[odd] == released[odd]).mean()) if odd.any() else None
    return Audit(int(have.sum()), int(broken.sum()), offset, order, agreement, nan)
