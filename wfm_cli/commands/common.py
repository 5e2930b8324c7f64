"""What the commands share: option types and printing. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def si_number(text: str) -> float:
    """Parse a frequency or rate with an optional SI suffix and unit: `2.4M`, `433.92 MHz`, `48k`, `20e6`, `2.4MS/s`.

    Returns:
        The number in Hz or samples per second; finite and not negative.

    Raises:
        InputError: It is something else.
    """
    import re

    from wfm_cli.errors import InputError

    hint = "a number with k, M or G behind it, for example 2.4M, 433.92MHz or 20e6"
    match = re.fullmatch(
        r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*([kKMG]?)(?i:hz|s/s|sps)?\s*", text, re.ASCII
    )
    if match is None:
        raise InputError(f"{text!r} is no frequency or rate", hint)
    value = float(match[1]) * {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2]]
    if value == float("inf"):
        raise InputError(f"{text!r} is no frequency or rate: not finite", hint)
    return value


Out = Annotated[Path, typer.Option("--out", "-o", help="Where the result goes; a .zarr folder.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the recipe, such as train.lr=3e-4."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what an earlier call left in --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", metavar="TYPE", help="Sample type of headerless recordings: ci16, cu8, cf32 ..."),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="RATE", parser=si_number, help="Sample rate of recordings, such as 2.4M."),
]
Freq = Annotated[
    float | None,
    typer.Option("--freq", metavar="FREQ", parser=si_number, help="Centre frequency of recordings, such as 433.92M."),
]
Order = Annotated[
    str, typer.Option("--order", metavar="auto|iq|qi", help="Which part of a sample comes first in headerless files.")
]


def print_json(value: Any) -> None:
    """Print a JSON value on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_rich(*parts: Any) -> None:
    """Print rich renderables on stdout; wide enough not to wrap when the output is no terminal."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 160, highlight=False)
    for part in parts:
        console.print(part)


def note(message: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    print(message, file=sys.stderr, flush=True)


def parse_part(text: str) -> tuple[int, int]:
    """Parse `i/n` with 1 <= i <= n.

    Raises:
        InputError: It is something else.
    """
    from wfm_cli.errors import InputError

    try:
        index, total = (int(piece) for piece in text.split("/"))
    except ValueError:
        index, total = 0, 0
    if not 1 <= index <= total:
        raise InputError(f"--part {text}: expected i/n with 1 <= i <= n", "for example --part 3/16")
    return index, total


def parse_budget(text: str) -> int | str:
    """Parse a label budget: a positive number, `5 per class` or `all`.

    Raises:
        InputError: It is something else.
    """
    import re

    from wfm_cli.errors import InputError

    if text == "all" or re.fullmatch(r"[1-9]\d* per class", text):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise InputError(
        f"--labels {text}: expected a positive number or all",
        "for example --labels 10 --labels '5 per class' --labels all",
    )
