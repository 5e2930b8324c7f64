"""What a pickle of arrays may name: NumPy's arrays, types and scalars. Nothing else is built; no name is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfm_datasets.wavesfm.pickle_instructions import Data

_NUMPY = ("numpy.core", "numpy._core")


class Refused(Exception):
    """The pickle wants something else than arrays."""


@dataclass(frozen=True)
class Name:
    """A name that the pickle wants to import; it is only compared."""

    module: str
    name: str


@dataclass
class Dtype:
    """The type of an array, as the pickle builds it up."""

    code: str
    order: str = "<"

    def resolve(self) -> np.dtype[Any]:
        """The type, if it is one of numbers.

        Raises:
            Refused: it is another one.
        """
        made = np.dtype(self.code)
        if made.kind not in "fiuc":
            raise Refused(f"an array of {made}")
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
        if isinstance(data, Data):
            self.at, self.offset, length = data.at, data.offset, data.length
        else:
            self.inline = data.encode("latin1") if isinstance(data, str) else bytes(data)
            length = len(self.inline)
        if length != size:
            raise ValueError(f"an array of {self.shape} {kind} has {length} bytes")
        return self


def call(what: Name, arguments: tuple[Any, ...]) -> Any:
    """What comes of calling one of the few names that arrays need.

    Raises:
        Refused: any other name, or an array that is not laid out in C order.
    """
    module = what.module
    for prefix in _NUMPY:
        module = module.replace(prefix, "numpy", 1) if module.startswith(prefix) else module
    if (module, what.name) == ("numpy.multiarray", "_reconstruct"):
        if arguments[0] != Name("numpy", "ndarray"):
            raise Refused("an array of another class")
        return PickledArray()
    if (module, what.name) == ("numpy", "dtype"):
        return Dtype(as_text(arguments[0]))
    if (module, what.name) == ("numpy.numeric", "_frombuffer"):
        data, dtype, shape, order = arguments
        if as_text(order) != "C":
            raise Refused("an array in Fortran order")
        return PickledArray().fill(shape, dtype, data)
    if (module, what.name) == ("numpy.multiarray", "scalar"):
        data = arguments[1].encode("latin1") if isinstance(arguments[1], str) else bytes(arguments[1])
        return np.frombuffer(data, arguments[0].resolve())[0].item()
    if (what.module, what.name) == ("_codecs", "encode"):
        data, codec = arguments
        if codec not in ("latin1", "latin-1"):
            raise Refused(f"the codec {codec}")
        return data if isinstance(data, Data) else data.encode("latin1")
    if what.module == "collections" and what.name == "OrderedDict" and not arguments:
        return {}
    raise Refused(f"{what.module}.{what.name}")


def as_text(value: Any) -> str:
    """A string that Python 2 may have written as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
