"""Facts about a run for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from wfm_cli.core.inspect.text import grid, leaf, nested, number, pairs, size

_FIRST = ("loss", "val_loss")
_COUNTERS = ("step", "epoch", "seconds", "rankme_rows")
"""Columns that only count; `--json` has them."""
_COLOURS = {"complete": "green", "failed": "bold red"}


def run_view(facts: Mapping[str, Any]) -> Group:
    """Everything of `describe`: status, model, curves, units, facts, recipe, provenance."""
    return Group(*_parts(facts))


def _parts(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    state = (facts["status"], _COLOURS.get(facts["status"], "bold yellow"))
    line = f"  {facts['kind']} run, {size(facts['bytes_on_disk'])} on disk, "
    yield Text.assemble((facts["name"], "bold"), line, state)
    if summary := dict(_summary(facts)):
        yield Text("")
        yield pairs(summary)
    if facts["curves"]:
        yield Text("")
        yield _Curves(facts["curves"])
    if facts["units"]["count"]:
        yield Text("")
        yield from _units(facts["units"])
    for name, value in facts["facts"].items():
        if isinstance(value, Mapping) and value:
            yield Text("")
            yield nested(name.replace("_", " "), value)
    if facts["recipe"]:
        yield Text("")
        yield nested("recipe", facts["recipe"])
    yield Text("")
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield pairs({"recipe sha256": facts["recipe_sha256"], "versions": versions, "format": facts["format_version"]})


def _summary(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    model = facts["model"]
    if isinstance(model, Mapping):
        yield "model", ", ".join(f"{key} {leaf(value)}" for key, value in model.items())
    if facts["parameters"]:
        yield "parameters", number(facts["parameters"])
    for weights in facts["weights"]:
        kinds = ", ".join(weights["dtypes"])
        about = ", ".join(f"{key} {leaf(value)}" for key, value in weights["attrs"].items())
        count = f"{weights['tensors']} tensors, {weights['values']:,} values, {kinds}"
        yield f"weights {weights['which']}", f"{count} ({about})" if about else count
    if facts["checkpoints"]:
        yield "checkpoints", ", ".join(facts["checkpoints"])
    if facts["features"]:
        shapes = ", ".join(" x ".join(map(str, entry["shape"])) for entry in facts["features"][:6])
        yield "cached features", f"{len(facts['features'])} ({shapes}{', ...' if len(facts['features']) > 6 else ''})"
    for name, value in facts["facts"].items():
        if not isinstance(value, Mapping):
            yield name.replace("_", " "), leaf(value)


@dataclass(frozen=True)
class _Curves:
    """The course of every curve, with as many columns as the console has room for."""

    curves: Mapping[str, Mapping[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = ("last", "min", "max", "rows") if options.max_width >= 104 else ("last", "min")
        table = grid("curve", "course", *names, right=names)
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        for name in sorted(self.curves, key=lambda name: (name not in _FIRST, name)):
            if name not in _COUNTERS:
                curve = self.curves[name]
                table.add_row(name, Text(curve["course"], style="cyan"), *(number(curve[key]) for key in names))
        yield table


def _units(units: Mapping[str, Any]) -> Iterator[RenderableType]:
    done = number(units["count"])
    if units["planned"] > units["count"]:
        done += f" of {number(units['planned'])}"
    yield pairs({"result units": done, "by status": leaf(units["status"]), "by task": leaf(units["tasks"])})
    failed: Sequence[Mapping[str, str]] = units["failed"]
    for entry in failed:
        yield Text(f"  failed {entry['key']}: {entry['error']}", style="red")
