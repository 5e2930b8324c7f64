"""Facts about recordings of I/Q for a terminal, with a small waterfall in block characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from wfm_cli.core.inspect.text import grid, number, pairs, si, size
from wfm_cli.core.inspect.text_waterfall import text_waterfall
from wfm_cli.core.signal.power import FLOOR_DB
from wfm_cli.core.signal.waterfall import Excerpt

TABLE = 400
"""Rows of the table of recordings at most."""
_FEW = 12


def recording_view(facts: Mapping[str, Any], excerpt: Excerpt | None = None) -> Group:
    """One recording in full, or a table of many and what became of the other files.

    Args:
        facts: From the inspection of recordings.
        excerpt: Arrays of the waterfall of the first recording.
    """
    if len(facts["recordings"]) == 1:
        return Group(*_one(facts, facts["recordings"][0], excerpt))
    return Group(*_many(facts))


def _one(facts: Mapping[str, Any], found: Mapping[str, Any], excerpt: Excerpt | None) -> Iterator[RenderableType]:
    head = f"  {found['format']}, {found['datatype']}, {_amount(found)}"
    yield Text.assemble((found["name"], "bold"), head)
    yield Text("")
    yield pairs(_values(found))
    yield from _columns(found["columns"])
    if found["error"]:
        yield Text(f"not readable: {found['error']}", style="bold red")
    if found["levels"]:
        yield Text("")
        yield _levels(found)
    for text in found.get("findings", ()):
        yield Text(text, style="yellow")
    for text in found["notes"]:
        yield Text(text, style="dim")
    if found["annotations"]:
        yield Text("")
        yield _annotations(found)
    if excerpt is not None:
        yield Text("")
        yield text_waterfall(excerpt, found)
    yield from _other_files([outcome for outcome in facts["outcomes"] if outcome["status"] == "failed"])


def _amount(found: Mapping[str, Any]) -> str:
    amount = f"{number(found['samples'])} samples"
    if found["duration_s"]:
        amount += f", {si(found['duration_s'], 's')}"
    if found["examples"] > 1:
        amount = f"{number(found['examples'])} examples of {amount}"
    return amount + (f", {found['channels']} channels" if found["channels"] > 1 else "")


def _values(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the recording, each with where it came from."""
    origin = found["origin"]
    named = {
        "type": ("datatype", found["datatype"]),
        "order": ("order", str(found["layout"].get("order", "")).upper()),
        "sample rate": ("sample_rate", si(found["sample_rate_hz"], "S/s") if found["sample_rate_hz"] else None),
        "frequency": ("center_frequency", None if (f := found["center_frequency_hz"]) is None else si(f, "Hz")),
        "class": ("label", found["label"]),
    }
    shown: dict[str, Any] = {"file": found["path"]}
    for title, (key, value) in named.items():
        source = Text(f"  from {origin[key]}", style="dim") if key in origin and value else Text("")
        shown[title] = Text(str(value)) + source if value else None
    if not found["sample_rate_hz"]:
        shown["sample rate"] = Text("not known; --rate 2.4M says it", style="dim")
    shown.update({name: number(value) for name, value in found["fields"].items()})
    shown["dropped"] = f"{found['dropped_bytes']} bytes at the end" if found["dropped_bytes"] else None
    return shown


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[RenderableType]:
    for name, column in columns.items():
        if "counts" in column:
            few = list(column["counts"].items())[:_FEW]
            text = ", ".join(f"{value} {count:,}" for value, count in few)
            text += f", ... ({len(column['counts'])} values)" if len(column["counts"]) > _FEW else ""
        elif "min" in column:
            text = f"{number(column['min'])} ... {number(column['max'])}"
        else:
            text = f"{column['distinct']:,} values"
        yield pairs({name: text})


def _levels(found: Mapping[str, Any]) -> RenderableType:
    """Measurements, one column a channel."""
    channels = found["levels"]
    titles = [f"channel {n}" for n in range(len(channels))] if len(channels) > 1 else ["value"]
    part = found["measured_samples"] < found["samples"] * found["examples"]
    what = f"levels of {found['measured_samples']:,} samples spread over it" if part else "levels of all samples"
    table = grid(what, *titles, right=titles)
    rate = found["sample_rate_hz"]
    for title, row in _level_rows(channels, rate).items():
        table.add_row(title, *row)
    return table


def _level_rows(channels: Sequence[Mapping[str, Any]], rate: float | None) -> dict[str, list[str]]:
    def row(key: str, unit: str, digits: str = ".1f", factor: float = 1.0) -> list[str]:
        return ["–" if c[key] is None else f"{c[key] * factor:{digits}} {unit}" for c in channels]

    def level(key: str) -> list[str]:
        return ["silence" if c[key] is not None and c[key] <= FLOOR_DB else text
                for c, text in zip(channels, row(key, "dBFS"), strict=True)]  # fmt: skip

    def hertz(key: str) -> list[str]:
        if not rate:
            return row(key, "of the rate", ".4f")
        shares = [None if c[key] is None else round(c[key], 6) for c in channels]
        return ["–" if share is None else si(float(f"{share * rate:.4g}"), "Hz") for share in shares]

    # Integers reach 3.01 dBFS at most: what lies beyond are counts of a converter whose limits nobody tells.
    counts = [c["peak_dbfs"] > 3.1 for c in channels]
    clipped = ["–" if beyond else cell for beyond, cell in zip(counts, row("clipped", "%", ".3g", 100), strict=True)]
    circular = [c["circularity"] is not None and c["circularity"] < 0.25 for c in channels]
    rows = {
        "mean level": level("mean_dbfs"),
        "peak level": level("peak_dbfs"),
        "crest factor": row("crest_db", "dB"),
        "noise floor (whole band)": level("noise_floor_dbfs"),
        "clipped": clipped,
        "DC offset": [f"{a} ({b})" for a, b in zip(level("dc_dbfs"), row("dc_db", "dB of the power"), strict=True)],
        "gain imbalance Q/I": _if(circular, row("gain_imbalance_db", "dB", ".2f")),
        "phase error": _if(circular, row("phase_error_deg", "deg", ".2f")),
        "circularity |E z²|/E |z|²": row("circularity", "", ".3f"),
        "occupied bandwidth (99 %)": hertz("bandwidth"),
        "its centre": hertz("centre"),
        "symmetry of the spectrum": row("symmetry", "", ".4f"),
        "zeros": row("zeros", "%", ".3g", 100),
        "constant runs": row("constant", "%", ".3g", 100),
    }
    if any(c["nonfinite"] for c in channels):
        rows["NaN or infinite"] = [number(c["nonfinite"]) for c in channels]
    return {title: [cell.strip() for cell in cells] for title, cells in rows.items()}


def _if(meant: Sequence[bool], cells: Sequence[str]) -> list[str]:
    """Imbalance means nothing for a signal that is no circle in the plane."""
    return [cell if ok or cell == "–" else "– (signal not circular)" for ok, cell in zip(meant, cells, strict=True)]


def _annotations(found: Mapping[str, Any]) -> RenderableType:
    """Annotations counted by class, with the time they cover."""
    counts: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for note in found["annotations"]:
        counts[note["label"] or "without a class"] += 1
        samples[note["label"] or "without a class"] += note["count"]
    table = grid("annotations", "count", "samples", "duration", right=("count", "samples", "duration"))
    rate = found["sample_rate_hz"]
    for name, count in counts.most_common(40):
        table.add_row(Text(name), number(count), number(samples[name]), si(samples[name] / rate, "s") if rate else "–")
    return table


def _many(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    counts, recordings = facts["counts"], facts["recordings"]
    files = ", ".join(f"{counts[status]:,} {status}" for status in ("used", "skipped", "failed"))
    yield Text.assemble((facts["path"], "bold"), f"  {len(recordings):,} recordings; files: {files}")
    if not recordings:
        yield from _other_files(facts["outcomes"])
        return
    yield Text("")
    right = ("samples", "rate", "frequency", "level", "clipped", "bandwidth")
    table = grid("recording", "format", "type", "samples", "rate", "frequency", "level", "clipped", "bandwidth",
                 "class", right=right)  # fmt: skip
    table.columns[0].overflow = "fold"
    for found in recordings[:TABLE]:
        table.add_row(*_row(found))
    yield table
    if len(recordings) > TABLE:
        yield Text(f"... and {len(recordings) - TABLE:,} more (--json lists all)", style="dim")
    if facts["classes"]:
        yield Text("")
        yield _classes(facts["classes"])
    yield from _other_files(facts["outcomes"])


def _row(found: Mapping[str, Any]) -> list[RenderableType]:
    samples = number(found["samples"])
    if found["examples"] > 1:
        samples = f"{number(found['examples'])} x {samples}"
    rate, frequency = found["sample_rate_hz"], found["center_frequency_hz"]
    cells: list[RenderableType] = [
        Text(found["name"]), found["format"], found["datatype"], samples,
        si(rate, "S/s") if rate else "–", "–" if frequency is None else si(frequency, "Hz"),
    ]  # fmt: skip
    if found["levels"]:
        rows = _level_rows(found["levels"][:1], rate)
        cells += [rows["mean level"][0], rows["clipped"][0], rows["occupied bandwidth (99 %)"][0]]
    else:
        cells += [Text("not readable", style="red") if found["error"] else "", "", ""]
    return [*cells, Text(found["label"] or "")]


def _classes(classes: Mapping[str, Mapping[str, int]]) -> RenderableType:
    kinds = [kind for kind in ("recordings", "examples", "annotations") if any(c[kind] for c in classes.values())]
    table = grid("class", *kinds, right=kinds)
    for name, counts in classes.items():
        table.add_row(Text(name), *(number(counts[kind]) for kind in kinds))
    return table


def _other_files(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Files without a recording: failed ones first."""
    rest = sorted((o for o in outcomes if o["status"] != "used"), key=lambda o: (o["status"] != "failed", o["path"]))
    if not rest:
        return
    yield Text("")
    table = grid("other files", "", "reason", "bytes", right=("bytes",))
    table.columns[0].overflow = "fold"
    for outcome in rest[:TABLE]:
        style = "red" if outcome["status"] == "failed" else "dim"
        table.add_row(
            Text(outcome["path"]), Text(outcome["status"], style=style), Text(outcome["reason"]), size(outcome["bytes"])
        )
    yield table
    if len(rest) > TABLE:
        yield Text(f"... and {len(rest) - TABLE:,} more (--json lists all)", style="dim")
