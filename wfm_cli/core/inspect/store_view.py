"""Facts about a store for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from wfm_cli.core.evaluation.report.words import leak_sentence
from wfm_cli.core.inspect.files import file_table
from wfm_cli.core.inspect.sequence_view import SHOWN, sequence_view
from wfm_cli.core.inspect.text import grid, nested, number, pairs, size
from wfm_cli.core.inspect.trade import trade_sentence

_READING = {"preadv": "straight from the files", "zarr": "through zarr"}
_FEW = 8


def store_view(facts: Mapping[str, Any]) -> Group:
    """Everything of `describe` in the order in which one asks: what, arrays, values, splits, labels, provenance."""
    return Group(*_parts(facts))


def _parts(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _headline(facts)
    for problem in facts["problems"]:
        yield Text(f"damaged: {problem}", style="bold red")
    yield Text("")
    yield _Arrays(facts["arrays"])
    if facts["complete"]:
        yield from _reading(facts["arrays"])
        yield from (Text(trade_sentence(array), style="dim") for array in facts["arrays"] if "trade" in array)
    if any(array["statistics"] for array in facts["arrays"]):
        yield Text("")
        yield _statistics(facts["arrays"])
        yield from _faults(facts["arrays"])
    sequences = facts["kind"] == "sequence" and "windows" in facts["facts"]
    if facts["splits"]["available"]:
        yield Text("")
        yield _splits(facts["splits"], frames=sequences)
    if facts["labels"]:
        yield Text("")
        yield _labels(facts["labels"])
    if sequences:
        yield Text("")
        yield from sequence_view(facts["facts"], facts["samples"])
    for name, value in facts["facts"].items():
        if sequences and name in SHOWN:
            continue
        if name == "files":
            yield Text("")
            yield file_table(value, most=_FEW)
        elif name == "classes":
            yield Text("")
            yield _classes(value) if value else Text("no classes", style="dim")
        elif name != "splits":
            yield Text("")
            yield nested(name.replace("_", " "), value) if isinstance(value, Mapping) else pairs({name: _lines(value)})
    yield Text("")
    yield _sources(facts["sources"])
    yield Text("")
    yield from _provenance(facts)


def _classes(counted: Mapping[str, Mapping[str, int]]) -> RenderableType:
    """What a builder has counted of every class."""
    columns = list(dict.fromkeys(name for entry in counted.values() for name in entry))
    table = grid("class", *columns, right=columns)
    for name, entry in counted.items():
        table.add_row(name, *(number(entry.get(column)) for column in columns))
    return table


def _lines(value: Any) -> Any:
    return "\n".join(map(str, value)) if isinstance(value, list) else value


def _headline(facts: Mapping[str, Any]) -> Text:
    if facts["complete"]:
        state = ("complete", "green")
    else:
        status = facts["status"]
        state = (f"unfinished: {number(status['done'])} of {number(status['parts'])} parts are there", "bold yellow")
    on_disk = f"{size(facts['bytes'])}, {size(facts['bytes_on_disk'])} on disk"
    line = f"  {facts['kind']} store, {number(facts['samples'])} samples, {on_disk}, "
    return Text.assemble((facts["name"], "bold"), line, state)


@dataclass(frozen=True)
class _Arrays:
    """The tree of arrays, with as many columns as the console has room for."""

    arrays: Sequence[Mapping[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layout = ("rows/shard", "rows/chunk") if options.max_width >= 100 else ()
        what = ("what",) if options.max_width >= 140 else ()
        table = grid("array", "axes", "dtype", "unit", "bytes", *layout, *what, right=("bytes", *layout))
        table.columns[0].no_wrap = table.columns[2].no_wrap = True
        folder = ""
        for array in self.arrays:
            head, _, tail = array["name"].rpartition("/")
            if head and head != folder:
                table.add_row(Text(f"{head}/", style="bold"))
            folder = head
            axes = [f"{dim} {length}" for length, dim in zip(array["shape"], array["dims"], strict=False)]
            if array["dims"][:1] in ([], ["sample"]):  # tables have a length of their own
                axes[:1] = ["sample"]
            table.add_row(
                Text(f"  {tail}" if head else tail, style="" if head else "bold"),
                ", ".join(axes),
                array["dtype"],
                array["units"] if array["units"] != "1" else "",
                size(array["bytes"]),
                *(number(array[name.replace("/", "_per_")]) for name in layout),
                *(Text(array["description"], style="dim") for _ in what),
            )
        yield table


def _reading(arrays: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """How rows are read: one line for all arrays that agree."""
    groups: dict[str, list[str]] = {}
    for array in arrays:
        reading = array["reading"]
        text = _READING.get(reading["how"], reading["how"]) + (f" ({reading['why']})" if reading["why"] else "")
        packed = "uncompressed" if array["compression"] == "none" else f"packed with {array['compression']}"
        groups.setdefault(f"{text}, {packed}", []).append(array["name"])
    for text, names in groups.items():
        who = "all arrays" if len(names) == len(arrays) else ", ".join(names)
        yield Text(f"rows of {who} are read {text}", style="dim")


def _statistics(arrays: Sequence[Mapping[str, Any]]) -> RenderableType:
    names = ("mean", "std", "min", "max", "nan")
    table = grid("values", *names, "unit", right=names)
    for array in arrays:
        found = array["statistics"]
        if found and not array["name"].startswith(("split/", "windows/")):
            shown = (number(found.get(name)) for name in names)
            table.add_row(array["name"], *shown, array["units"] if array["units"] != "1" else "")
    return table


def _faults(arrays: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """How many samples of I/Q are clipped, and how many windows hold nothing."""
    found = {array["name"]: array["statistics"] for array in arrays if array["statistics"]}
    if "meta/clipped" in found and "meta/constant" in found:
        constant = round(found["meta/constant"]["mean"] * found["meta/constant"]["count"])
        clipped = f"{100 * found['meta/clipped']['mean']:.3g} % of the samples are clipped"
        yield Text(f"{clipped}, at most {100 * found['meta/clipped']['max']:.3g} % of a window; "
                   f"{constant:,} windows are constant")  # fmt: skip


def _splits(splits: Mapping[str, Any], frames: bool = False) -> RenderableType:
    """Parts of the samples; of frames without a leak, which is that of the windows."""
    parts, leaks = ("train", "val", "test"), [] if frames else ["leak"]
    table = grid("frames by split" if frames else "split", *parts, *leaks, right=parts)
    for name, split in splits["available"].items():
        chosen = name == splits["default"]
        counts = (number(split.get(part)) for part in parts)
        leak = [leak_sentence(split.get("leak") or {}) or "not measured"] * len(leaks)
        table.add_row(Text(f"{name} (default)" if chosen else name, style="bold" if chosen else ""), *counts, *leak)
    return table


def _labels(labels: Mapping[str, Sequence[Mapping[str, Any]]]) -> RenderableType:
    table = grid("label", "classes", "samples by class", right=("classes",))
    for name, counts in labels.items():
        total = sum(entry["count"] for entry in counts) or 1
        if len(counts) <= _FEW:
            text = ", ".join(f"{e['name']} {e['count']:,} ({100 * e['count'] / total:.1f} %)" for e in counts)
        else:
            top = max(counts, key=lambda entry: entry["count"])
            empty = sum(not entry["count"] for entry in counts)
            share = 100 * top["count"] / total
            text = f"largest {top['name']} with {top['count']:,} ({share:.1f} %); {empty} without a sample"
        table.add_row(name, number(len(counts)), text)
    return table


def _sources(sources: Sequence[Mapping[str, Any]]) -> RenderableType:
    total = sum(int(source.get("bytes") or 0) for source in sources)
    count = f"{len(sources)} file{'' if len(sources) == 1 else 's'}"
    table = grid("source", "bytes", "sha256", title=f"Made from {count}, {size(total)}", right=("bytes",))
    for source in sources[:_FEW]:
        digest = str(source.get("sha256") or "")[:16]
        table.add_row(str(source.get("path", "")), size(int(source.get("bytes") or 0)), digest)
    if len(sources) > _FEW:
        table.add_row(Text(f"... and {len(sources) - _FEW} more (--json lists all)", style="dim"))
    return table


def _provenance(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield pairs(
        {
            "builder": facts["builder"],
            "recipe": (facts["recipe"] or {}).get("name"),
            "data sha256": facts["data_sha256"],
            "plan sha256": facts["plan_sha256"],
            "versions": versions,
            "format": facts["format_version"],
        }
    )
    missing = facts["status"]["missing"]
    if missing:
        some = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        yield Text(f"missing parts: {some}; go on with `wfm prepare load {facts['path']}`", style="yellow")
