"""What became of the input files of a build, as a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from wfm_cli.core.inspect.text import grid, number

MOST = 60
"""Used files that are listed."""
_COLOURS = {"used": "green", "skipped": "dim", "failed": "bold red"}


def file_table(files: Sequence[Mapping[str, Any]], most: int = MOST) -> Table:
    """One line for every file: whether it was used, what it is, where that is known from, or why it was left out.

    Files that failed are all listed, used ones up to `most`, skipped ones up to a third of it.
    """
    limit = {"used": most, "skipped": most // 3, "failed": len(files)}
    counts = {status: sum(entry["status"] == status for entry in files) for status in _COLOURS}
    folder = _common([entry["path"] for entry in files])
    title = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    title = f"Files below {folder}: {title}" if folder else f"Files: {title}"
    names = ("file", "", "windows", "what", "rate", "centre", "class", "remark")
    table = grid(*names, title=title, right=("windows",))
    table.columns[0].overflow = "fold"
    listed = dict.fromkeys(_COLOURS, 0)
    for entry in files:
        status = entry["status"]
        listed[status] += 1
        if listed[status] <= limit[status]:
            table.add_row(*_row(entry, folder))
    for status, count in counts.items():
        if count > limit[status]:
            table.add_row(Text(f"... and {count - limit[status]:,} more {status}", style="dim"))
    return table


def _common(paths: Sequence[str]) -> str:
    """The folder that all files lie in, with a slash behind it."""
    folders = {os.path.dirname(path) for path in paths}
    if len(paths) < 2 or len({os.path.isabs(folder) for folder in folders}) > 1:
        return ""
    common = os.path.commonpath(folders)
    return f"{common.rstrip('/')}/" if common else ""


def _row(entry: Mapping[str, Any], folder: str) -> tuple[Text | str, ...]:
    style = _COLOURS[entry["status"]]
    origin: Mapping[str, str] = entry.get("origin") or {}
    kind = f"{entry['format']} {entry['datatype']}" if entry.get("format") else ""
    return (
        Text(entry["path"].removeprefix(folder), style="" if entry["status"] != "skipped" else "dim"),
        Text(entry["status"], style=style),
        number(entry["windows"]) if entry["windows"] else "",
        _from(kind, origin.get("datatype")),
        _from(_hertz(entry.get("sample_rate")), origin.get("sample_rate")),
        _from(_hertz(entry.get("center_frequency")), origin.get("center_frequency")),
        _from(str(entry.get("label") or ""), origin.get("label")),
        "; ".join(_remarks(entry)),
    )


def _remarks(entry: Mapping[str, Any]) -> list[str]:
    found = [str(entry["reason"])] if entry["reason"] else []
    if entry["dropped_bytes"]:
        found.append(f"{entry['dropped_bytes']:,} bytes at the end make no sample")
    return found + [str(text) for text in entry.get("notes") or ()]


def _from(text: str, origin: str | None) -> Text:
    """A value and, dimly, where it comes from."""
    return Text.assemble(text, (f" ({origin})" if text and origin else "", "dim"))


def _hertz(value: float | None) -> str:
    for scale, unit in ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz")):
        if value and value >= scale:
            return f"{value / scale:.6g} {unit}"
    return f"{value:g} Hz" if value else ""
