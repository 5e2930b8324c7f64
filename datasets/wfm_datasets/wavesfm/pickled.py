"""A reader for pickled dicts of numeric arrays that executes nothing and keeps no array in memory.

A pickle is a program that may call anything. This module reads the few instructions that Python 2 and 3 emit for a dict
of NumPy arrays, notes where each array lies in the file, and refuses every other instruction and every other name.
"""

from __future__ import annotations

import codecs
import math
import os
import pickletools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged

_LARGE = 1 << 12
"""Strings beyond so many characters are data: their place is noted, not their content."""
_MOST = 1 << 21
"""Instructions of a pickle; one with more is no dict of arrays."""
_OPCODES = {op.code: op for op in pickletools.opcodes}
_RAW = {"BINSTRING": 4, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
"""Instructions that carry bytes as they are, and the size of the length before them."""
_NUMPY = ("numpy.core", "numpy._core")
_MALFORMED = (
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


class _Refused(Exception):
    """The pickle wants something else than arrays."""


class _Mark:
    pass


@dataclass(frozen=True)
class _Name:
    module: str
    name: str


@dataclass
class _Data:
    """Bytes that stay in the file: the position of the instruction that carries them."""

    at: int
    length: int
    offset: int = -1
    """Position of the bytes themselves; -1 where they are encoded."""


@dataclass
class _Dtype:
    code: str
    order: str = "<"

    def resolve(self) -> np.dtype[Any]:
        made = np.dtype(self.code)
        if made.kind not in "fiuc":
            raise _Refused(f"an array of {made}")
        return made.newbyteorder(">") if self.order == ">" else made


@dataclass
class PickledArray:
    """One array of the file."""

    shape: tuple[int, ...] = ()
    dtype: str = ""
    at: int = -1
    """Position of the instruction that carries its bytes."""
    offset: int = -1
    """Position of its bytes where they lie in the file as they are."""
    inline: bytes = b""
    """The bytes of a small array."""

    def fill(self, shape: Any, dtype: Any, data: Any) -> PickledArray:
        """Take the state that NumPy writes."""
        kind = dtype.resolve()
        self.shape, self.dtype = tuple(int(n) for n in shape), kind.str
        if min(self.shape, default=0) < 0:
            raise ValueError(f"an array of {self.shape}")
        size = math.prod(self.shape) * kind.itemsize
        if isinstance(data, _Data):
            self.at, self.offset, length = data.at, data.offset, data.length
        else:
            self.inline = data.encode("latin1") if isinstance(data, str) else bytes(data)
            length = len(self.inline)
        if length != size:
            raise ValueError(f"an array of {self.shape} {kind} has {length} bytes")
        return self


def scan(path: Path) -> dict[Any, PickledArray]:
    """The dict in a pickle file: its keys and where each array lies.

    Raises:
        InputError: damaged, not a dict, or it asks for anything but numeric arrays.
    """
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # escapes that no pickle has
            made = _Machine().run(stream)
    except _Refused as error:
        raise InputError(
            f"{path}: the pickle asks for {error}: refused, only dicts of numeric arrays are read",
            "do not open it otherwise unless you trust its author; get the original file",
        ) from None
    except _MALFORMED as error:
        raise damaged(path, f"no pickle of arrays: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from None
    if not isinstance(made, dict) or not made or not all(isinstance(v, PickledArray) for v in made.values()):
        raise InputError(f"{path}: holds no dict of arrays", "expected a dict {(modulation, snr): array}")
    return made


def read_at(path: Path, at: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One array by the position that `scan` noted.

    Raises:
        InputError: the file has changed.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(at)
            _, argument, _ = next(_instructions(stream))
    except (*_MALFORMED, OSError) as error:
        raise damaged(path, error) from None
    data = argument.encode("latin1") if isinstance(argument, str) else bytes(argument)
    return np.frombuffer(data, dtype).reshape(shape)


def begins_pickle(head: bytes) -> bool:
    """Whether the first bytes of a file are instructions of a pickle: a dict, or something that is called."""
    if not (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05") and not head.startswith((b"(dp", b"(d.")):
        return False
    names = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            for name, _, _ in _instructions(BytesIO(head)):
                names.append(name)
                if len(names) == 8:
                    return True
        except ValueError:
            return len(names) > 2 and len(head) < 64
        except _MALFORMED:
            return False
    return len(names) > 2


def _skipped(name: str, stream: BinaryIO, at: int, end: int) -> _Data | None:
    """Step over the bytes of a large array; None if the next instruction carries none."""
    width = _RAW.get(name, 0)
    length = int.from_bytes(stream.read(width), "little", signed=name == "BINSTRING") if width else 0
    if length <= _LARGE:
        stream.seek(at + 1)
        return None
    offset = at + 1 + width
    if offset + length > end:
        raise ValueError(f"it ends {offset + length - end} bytes early")
    stream.seek(offset + length)
    return _Data(at, length, offset)


def _instructions(stream: BinaryIO, end: int = 0) -> Iterator[tuple[str, Any, int]]:
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


class _Machine:
    """The stack machine, as far as arrays need it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        end = os.fstat(stream.fileno()).st_size
        for count, (name, argument, at) in enumerate(_instructions(stream, end)):
            if count > _MOST:
                raise _Refused(f"more than {_MOST} instructions")
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _PUSH:
                large = isinstance(argument, str | bytes | bytearray) and len(argument) > _LARGE
                self.stack.append(_Data(at, len(argument)) if large else argument)
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                raise _Refused(f"the instruction {name}")
        raise ValueError("it ends early")

    def marked(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        at = max(i for i, value in enumerate(self.stack) if isinstance(value, _Mark))
        above = self.stack[at + 1 :]
        del self.stack[at:]
        return above

    def put(self, key: Any) -> None:
        self.memo[len(self.memo) if key is None else int(key)] = self.stack[-1]

    def top(self, count: int) -> None:
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(values)

    def new_dict(self, values: list[Any]) -> None:
        self.stack.append({})
        self.set_items(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _Refused("items of something that is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_plain(key)] = value

    def name(self, argument: Any) -> None:
        if argument is None:
            self.top(2)
            argument = " ".join(self.stack.pop())
        module, _, name = argument.partition(" ")
        self.stack.append(_Name(module, name))

    def call(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if not isinstance(what, _Name):
            raise _Refused("a call of something without a name")
        self.stack.append(_call(what, arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype):
            target.order = _text(state[1])
        elif isinstance(target, PickledArray):
            if state[3]:
                raise _Refused("an array in Fortran order")
            target.fill(state[1], state[2], state[4])
        else:
            raise _Refused("the state of an object")


def _call(what: _Name, arguments: tuple[Any, ...]) -> Any:
    module = what.module
    for prefix in _NUMPY:
        module = module.replace(prefix, "numpy", 1) if module.startswith(prefix) else module
    if (module, what.name) == ("numpy.multiarray", "_reconstruct"):
        if arguments[0] != _Name("numpy", "ndarray"):
            raise _Refused("an array of another class")
        return PickledArray()
    if (module, what.name) == ("numpy", "dtype"):
        return _Dtype(_text(arguments[0]))
    if (module, what.name) == ("numpy.numeric", "_frombuffer"):
        data, dtype, shape, order = arguments
        if _text(order) != "C":
            raise _Refused("an array in Fortran order")
        return PickledArray().fill(shape, dtype, data)
    if (module, what.name) == ("numpy.multiarray", "scalar"):
        data = arguments[1].encode("latin1") if isinstance(arguments[1], str) else bytes(arguments[1])
        return np.frombuffer(data, arguments[0].resolve())[0].item()
    if (what.module, what.name) == ("_codecs", "encode"):
        text, codec = arguments
        if codec not in ("latin1", "latin-1"):
            raise _Refused(f"the codec {codec}")
        return text if isinstance(text, _Data) else text.encode("latin1")
    if what.module == "collections" and what.name == "OrderedDict" and not arguments:
        return {}
    raise _Refused(f"{what.module}.{what.name}")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _plain(key: Any) -> Any:
    """Keys without Python 2's byte strings."""
    if isinstance(key, tuple):
        if any(isinstance(part, tuple) for part in key):  # nested ones could be endless
            raise _Refused("a key of tuples in tuples")
        return tuple(_plain(part) for part in key)
    return _text(key) if isinstance(key, bytes) else key


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": _Mark, "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}  # fmt: skip
_PUSH = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    }
)
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "POP": lambda m, a: m.stack.pop(),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": lambda m, a: m.stack.append(m.memo[int(a)]),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.marked())),
    "TUPLE1": lambda m, a: m.top(1),
    "TUPLE2": lambda m, a: m.top(2),
    "TUPLE3": lambda m, a: m.top(3),
    "DICT": lambda m, a: m.new_dict(m.marked()),
    "SETITEM": lambda m, a: m.set_items([*reversed([m.stack.pop(), m.stack.pop()])]),
    "SETITEMS": lambda m, a: m.set_items(m.marked()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": lambda m, a: m.call(),
    "BUILD": lambda m, a: m.build(),
}
