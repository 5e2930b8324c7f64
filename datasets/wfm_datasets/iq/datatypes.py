"""Types of stored samples under SigMF's names, and every other name that people have for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wfm_cli.errors import InputError

RTL_ZERO = 127.5
"""Zero of the unsigned bytes that RTL-SDR receivers write; SigMF says 128 for the same type."""

_SIGMF = re.compile(r"([cr])([fiu])(8|16|24|32|64)(?:_?(le|be))?")
_SHORT = re.compile(r"(cs|sc|ci|fc|cf|cu|uc|c)(8|16|24|32|64|128)(?:_?(le|be))?")
_LETTER = {"cs": "i", "sc": "i", "ci": "i", "fc": "f", "cf": "f", "cu": "u", "uc": "u"}
_NAMED = {
    "c64": "cf32", "c128": "cf64", "complex64": "cf32", "complex128": "cf64", "complex": "cf32", "gr_complex": "cf32",
    "cfile": "cf32", "float32": "cf32", "float64": "cf64", "fc": "cf32", "ishort": "ci16", "ibyte": "ci8",
    "rtl": "cu8", "rtlsdr": "cu8", "rtl_sdr": "cu8", "hackrf": "ci8",
    # Universal Radio Hacker counts the bits of both parts together.
    "complex16s": "ci8", "complex16u": "cu8", "complex32s": "ci16", "complex32u": "cu16",
}  # fmt: skip
_REMEDY = "known types: cf32 cf64 ci8 ci16 ci32 cu8 cu16 cu32 (cs16, sc16, fc32 ... are the same), with _le or _be"


@dataclass(frozen=True)
class SampleType:
    """How one number of a sample is stored."""

    name: str
    """SigMF name, with byte order where there is one: `ci16_le`, `cu8`."""
    complex: bool
    """Whether two numbers make a sample."""
    kind: Literal["f", "i", "u"]
    """Floating point, signed or unsigned."""
    bits: int
    """Bits of one number."""
    big: bool
    """Whether the most significant byte comes first."""

    @property
    def parts(self) -> int:
        """Numbers of a sample: 2 or 1."""
        return 2 if self.complex else 1

    @property
    def part_bytes(self) -> int:
        """Bytes of one number."""
        return self.bits // 8

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return self.parts * self.part_bytes

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy type of one number; 24-bit numbers have none and are read as bytes."""
        if self.bits == 24:
            return np.dtype("u1")
        return np.dtype(f"{'>' if self.big else '<'}{self.kind}{self.part_bytes}")

    @property
    def zero(self) -> float:
        """Stored value of no signal, SigMF's way: half of the range for unsigned integers."""
        return float(1 << (self.bits - 1)) if self.kind == "u" else 0.0

    @property
    def full_scale(self) -> float:
        """What integers are divided by: 2^15 for 16 bits; 1 for floating point."""
        return 1.0 if self.kind == "f" else float(1 << (self.bits - 1))


def canonical(alias: str) -> str:
    """SigMF's name of a sample type: `cs16`, `sc16`, `CI16` -> `ci16_le`; `fc32`, `c64` -> `cf32_le`.

    `complex16s` and its sisters are Universal Radio Hacker's names, which count the bits of I and Q together (int8).

    Raises:
        InputError: no such type.
    """
    text = alias.strip().lower().lstrip(".")
    text = re.sub(r"[\s-]", "_", text)
    bare = text if text in _NAMED else re.sub(r"_?(le|be)$", "", text)
    if bare in _NAMED:
        text = _NAMED[bare] + text[len(bare) :]
    match = _SIGMF.fullmatch(text)
    if match:
        part, kind, bits, order = match.groups()
    else:
        short = _SHORT.fullmatch(text)
        if short is None or short[1] not in _LETTER:
            raise InputError(f"sample type {alias!r}: not known", _REMEDY)
        part, kind, bits, order = "c", _LETTER[short[1]], short[2], short[3]
    if kind == "f" and bits not in ("32", "64"):
        raise InputError(f"sample type {alias!r}: floating point has 32 or 64 bits", _REMEDY)
    if bits in ("64", "128") and kind != "f":
        raise InputError(f"sample type {alias!r}: integers have 8 to 32 bits", _REMEDY)
    return f"{part}{kind}{bits}" + ("" if bits == "8" else f"_{order or 'le'}")


def sample_type(name: str) -> SampleType:
    """What a name means.

    Raises:
        InputError: no such type.
    """
    full = canonical(name)
    match = _SIGMF.fullmatch(full)
    if match is None:
        raise InputError(f"sample type {name!r}: not known", _REMEDY)
    part, kind, bits, order = match.groups()
    letter: Literal["f", "i", "u"] = "f" if kind == "f" else "i" if kind == "i" else "u"
    return SampleType(full, part == "c", letter, int(bits), order == "be")
