"""A reader for pickled dicts of numeric arrays that executes nothing and keeps no array in memory.

A pickle is a program that may call anything. Of its instructions the few are carried out that Python 2 and 3 emit for a
dict of NumPy arrays; where each array lies in the file is noted, and every other instruction and name is refused.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.wavesfm.pickle_instructions import LARGE, MALFORMED, Data, instructions
from wfm_datasets.wavesfm.pickle_objects import Dtype, Name, PickledArray, Refused, as_text, call

_MOST = 1 << 21
"""Instructions of a pickle; one with more is no dict of arrays."""


class _Mark:
    pass


def scan(path: Path) -> dict[Any, PickledArray]:
    """The dict in a pickle file: its keys and where each array lies.

    Raises:
        InputError: damaged, not a dict, or it asks for anything but numeric arrays.
    """
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # escapes that no pickle has
            made = _Machine().run(stream)
    except Refused as error:
        raise InputError(
            f"{path}: the pickle asks for {error}: refused, only dicts of numeric arrays are read",
            "do not open it otherwise unless you trust its author; get the original file",
        ) from None
    except MALFORMED as error:
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
            _, argument, _ = next(instructions(stream))
    except (*MALFORMED, OSError) as error:
        raise damaged(path, error) from None
    data = argument.encode("latin1") if isinstance(argument, str) else bytes(argument)
    return np.frombuffer(data, dtype).reshape(shape)


class _Machine:
    """The stack machine, as far as arrays need it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> Any:
        end = os.fstat(stream.fileno()).st_size
        for count, (name, argument, at) in enumerate(instructions(stream, end)):
            if count > _MOST:
                raise Refused(f"more than {_MOST} instructions")
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _PUSH:
                large = isinstance(argument, str | bytes | bytearray) and len(argument) > LARGE
                self.stack.append(Data(at, len(argument)) if large else argument)
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                raise Refused(f"the instruction {name}")
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
            raise Refused("items of something that is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_plain(key)] = value

    def name(self, argument: Any) -> None:
        if argument is None:
            self.top(2)
            argument = " ".join(self.stack.pop())
        module, _, name = argument.partition(" ")
        self.stack.append(Name(module, name))

    def call(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if not isinstance(what, Name):
            raise Refused("a call of something without a name")
        self.stack.append(call(what, arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Dtype):
            target.order = as_text(state[1])
        elif isinstance(target, PickledArray):
            if state[3]:
                raise Refused("an array in Fortran order")
            target.fill(state[1], state[2], state[4])
        else:
            raise Refused("the state of an object")


def _plain(key: Any) -> Any:
    """Keys without Python 2's byte strings."""
    if isinstance(key, tuple):
        if any(isinstance(part, tuple) for part in key):  # nested ones could be endless
            raise Refused("a key of tuples in tuples")
        return tuple(_plain(part) for part in key)
    return as_text(key) if isinstance(key, bytes) else key


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
