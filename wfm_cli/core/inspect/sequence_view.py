"""Facts about a store of sequences for a terminal: sensors, windows with the leaks of their splits, released labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from wfm_cli.core.inspect.text import grid, number, pairs
from wfm_cli.core.store.finish import PARTS

SHOWN = (
    "input", "modalities", "left_out", "labels", "notes", "counts", "dropped_nan_frames", "interpolated_positions",
    "windows",
)  # fmt: skip
"""Facts that `sequence_view` says in its own words."""


def sequence_view(facts: Mapping[str, Any], samples: int) -> Iterator[RenderableType]:
    """Sensors, windows, released labels and what was left out, of the facts of a store of `samples` frames."""
    yield _sensors(facts, samples)
    yield Text("")
    yield from _windows(facts["windows"])
    if facts.get("labels"):
        yield Text("")
        yield _labels(facts["labels"])
    if facts.get("counts"):
        yield Text("")
        yield _counts(facts["counts"])
    # The table of the released beams says what their notes say.
    notes = [Text(f"- {note}") for note in facts.get("notes") or () if " released beams" not in note]
    if notes:
        yield Text("")
        yield from notes


def leak_words(split: Mapping[str, Any], short: bool = False) -> str:
    """How much of the test windows' frames the training has seen."""
    share = split.get("test_frames_in_training")
    if share is None:
        return "not measured"
    if short:
        return f"leak: {100 * share:.1f} % of the test frames" if share else "no leak"
    if not share:
        return "none: no frame of a test window stands in a training window"
    return f"{100 * share:.1f} % of the frames of test windows stand in training windows too"


def _sensors(facts: Mapping[str, Any], samples: int) -> RenderableType:
    left_out = ", ".join(facts.get("left_out") or ())
    interpolated, dropped = facts.get("interpolated_positions"), facts.get("dropped_nan_frames")
    return pairs(
        {
            "sensors": ", ".join(facts.get("modalities") or ()),
            "left out": f"{left_out}: not in every scenario" if left_out else "",
            "positions": "" if interpolated is None else f"{100 * interpolated:.1f} % of {samples:,} are interpolated",
            "dropped": f"{dropped:,} frames with unmeasured powers" if dropped else "",
        }
    )


def _windows(windows: Mapping[str, Any]) -> Iterator[RenderableType]:
    history, horizon, short = windows["history"], windows["horizon"], windows.get("sequences_too_short", 0)
    words = f"{number(windows['count'])} windows of {history} + {horizon} frames"
    words += "" if windows.get("stride", 1) == 1 else f", every {windows['stride']} frames"
    yield Text(words + (f"; {short:,} sequences are too short for one" if short else ""), style="bold")
    table = grid("windows by split", *PARTS, "none", "leak", right=(*PARTS, "none"))
    for name, split in windows["splits"].items():
        chosen = name == windows["default"]
        counts = [split.get(part) for part in PARTS]
        none = windows["count"] - sum(filter(None, counts))
        leak = Text(leak_words(split), style="yellow" if split.get("test_frames_in_training") else "")
        label = Text(f"{name} (default)" if chosen else name, style="bold" if chosen else "")
        table.add_row(label, *map(number, counts), number(none), leak)
    yield table


def _labels(labels: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """How the released best beams relate to the recomputed ones."""
    right = ("labels", "first beam", "agree", "frames with NaN", "of these agree")
    table = grid("released beams", *right[:2], "order", *right[2:], right=right)
    for name, audit in labels.items():
        if not audit["labels"]:
            table.add_row(f"scenario {name}", "0", *[""] * 3, number(audit["nan_frames"]), "")
            continue
        table.add_row(
            f"scenario {name}", number(audit["labels"]), number(audit["offset"]), audit["order"],
            f"{100 * audit['agreement']:.2f} %", number(audit["nan_frames"]),
            "" if audit["nan_agreement"] is None else f"{100 * audit['nan_agreement']:.0f} %",
        )  # fmt: skip
    return table


def _counts(counts: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    heads = ("rows", "missing", "cuts", "duplicate stamps")
    table = grid("index", *heads, "columns not read", right=heads)
    for name, count in counts.items():
        values = (number(count.get(head.replace(" ", "_"))) for head in heads)
        table.add_row(f"scenario {name}", *values, ", ".join(count.get("ignored_columns") or ()))
    return table
