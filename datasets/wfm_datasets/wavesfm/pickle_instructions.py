"""The instructions of a pickle, read one after another: nothing is executed, and large arrays are stepped over."""

from __future__ import annotations

import codecs
import pickletools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

LARGE = 1 << 12
"""Strings beyond so many characters are data: their place is noted, not their content."""
_OPCODES = {op.code: op for op in pickletools.opcodes}
_RAW = {"BINSTRING": 4, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
"""Instructions that carry bytes as they are, and the size of the length before them."""
MALFORMED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    OverflowError,
    SyntaxError,
    MemoryError,
    DeprecationWarning,
)
"""What a damaged pickle raises, here or where its instructions are carried out."""


@dataclass
class Data:
    """Bytes that stay in the file: the position of the instruction that carries them."""

    at: int
    length: int
    offset: int = -1
    """Position of the bytes themselves; -1 where they are encoded."""


def begins_pickle(head: bytes) -> bool:
    """Whether the first bytes of a file are instructions of a pickle: a dict, or something that is called."""
    if not (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05") and not head.startswith((b"(dp", b"(d.")):
        return False
    names = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            for name, _, _ in instructions(BytesIO(head)):
                names.append(name)
                if len(names) == 8:
                    return True
        except ValueError:
            return len(names) > 2 and len(head) < 64
        except MALFORMED:
            return False
    return len(names) > 2


def instructions(stream: BinaryIO, end: int = 0) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and position of every instruction up to STOP; with `end`, large arrays are stepped over."""
    while True:
        at = stream.tell()
        code = stream.read(1).decode("latin1")
        if code not in _OPCODES:
            raise ValueError("it ends early" if not code else f"unknown instruction {code!r}")
        op = _OPCODES[code]
        large = _skipped(op.name, stream, at, end) if end else None
        if large is not None:
            argument: Any = large
        elif op.name == "STRING":  # pickletools decodes it as ASCII, Python 2 put bytes into it
            argument = codecs.escape_decode(stream.readline().rstrip(b"\r\n")[1:-1])[0]
        else:
            argument = op.arg.reader(stream) if op.arg is not None else None
        yield op.name, argument, at
        if op.name == "STOP":
            return


def _skipped(name: str, stream: BinaryIO, at: int, end: int) -> Data | None:
    """Step over the bytes of a large array; None if the next instruction carries none."""
    width = _RAW.get(name, 0)
    length = int.from_bytes(stream.read(width), "little", signed=name == "BINSTRING") if width else 0
    if length <= LARGE:
        stream.seek(at + 1)
        return None
    offset = at + 1 + width
    if offset + length > end:
        raise ValueError(f"it ends {offset + length - end} bytes early")
    stream.seek(offset + length)
    return Data(at, length, offset)
