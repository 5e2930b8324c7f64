"""What file names say of sample rate, frequency and sample type, as the usual programs write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import canonical

_PREFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NUMBER = r"(\d+(?:[.,_]\d+)?(?:e\d+)?)"
_MOST_HERTZ = 1e13
_EDGE = r"(?<![0-9A-Za-z,])(?<!\d\.)"
_END = r"(?![0-9A-Za-z])"
_CELL_RATES = frozenset(
    (1.92e6, 3.84e6, 7.68e6, 11.52e6, 15.36e6, 19.2e6, 23.04e6, 30.72e6, 46.08e6, 61.44e6, 122.88e6)
)
"""Rates of LTE and NR receivers: a lone `1.92M` in a name means the rate."""
_LOWEST_MHZ = 24.0
"""Where the usual tuners start; smaller numbers behind an `f` count files."""
_TYPE_SUFFIXES = frozenset((
    ".complex", ".complex16s", ".complex16u", ".complex32s", ".complex32u", ".cfile", ".fc32", ".cf32", ".fc64",
    ".cf64", ".c64", ".c128", ".cs8", ".ci8", ".sc8", ".cu8", ".cs16", ".ci16", ".sc16", ".cu16", ".cs32", ".ci32",
    ".sc32",
))  # fmt: skip


@dataclass(frozen=True)
class NameFacts:
    """What a name says; None where it says nothing."""

    sample_rate: float | None = None
    """Hz."""
    center_frequency: float | None = None
    """Hz."""
    datatype: str | None = None
    """SigMF name."""
    q_first: bool = False
    """Written by a program that puts Q before I."""
    writer: str | None = None
    """Program whose naming scheme it is."""


def facts(path: Path) -> NameFacts:
    """Rate, frequency and sample type in a file name (`g001_433.92M_250k.cu8`, `gqrx_..._fc.raw`, `f1860_s1.92.bin`).

    Only what is certain is taken: a lone `4MHz` may be either and is left.
    """
    name = path.name
    found = _of_program(name)
    if found is not None:
        return replace(
            found, sample_rate=_possible(found.sample_rate), center_frequency=_possible(found.center_frequency)
        )
    rate, frequency = _rate(name), _frequency(name)
    if rate is None and frequency is None:
        frequency, rate = _pair(name)
    return NameFacts(_possible(rate), _possible(frequency), _datatype(path))


def _possible(value: float | None) -> float | None:
    """A rate or frequency that exists: 0 and numbers beyond all receivers are chance."""
    return value if value is not None and 0 < value < _MOST_HERTZ else None


def lone_hertz(name: str) -> float | None:
    """The only number with the unit Hz in a name, which may be a rate or a frequency."""
    found = re.findall(rf"{_EDGE}{_NUMBER}([kMG]?)Hz{_END}", name)
    return _possible(_value(*found[0])) if len(found) == 1 else None


def _of_program(name: str) -> NameFacts | None:
    """Names that one program writes."""
    if match := re.fullmatch(r"gqrx_\d{8}_\d{6}_(\d+)_(\d+)_fc\.raw", name):
        return NameFacts(float(match[2]), float(match[1]), "cf32_le", writer="gqrx")
    if match := re.match(rf"SDRSharp_.*?_{_NUMBER}([kMG]?)Hz_IQ", name):
        return NameFacts(None, _value(match[1], match[2]), None, writer="SDR#")
    if match := re.match(r"HDSDR_\d{8}_\d{6}Z?_(\d+)kHz_RF", name):
        return NameFacts(None, float(match[1]) * 1e3, None, writer="HDSDR")
    if match := re.match(r"\d{8}T\d{6}Z_(\d+)_.*iq\.wav$", name):
        return NameFacts(None, float(match[1]), None, writer="KiwiSDR")
    if re.fullmatch(r"test_\d{13}\.iq", name):  # its writer stores the imaginary part first
        return NameFacts(2.4e6, 1090e6, "ci16_le", True, "dump1090_rs")
    if match := re.search(r"\.fo(\d{5})\.fs(\d{4})M\.", name):  # 35028 -> 3502.8 MHz, 4608M -> 46.08 MS/s
        return NameFacts(float(match[2]) * 1e4, float(match[1]) * 1e5, _datatype(Path(name)))
    return None


def _rate(name: str) -> float | None:
    if match := re.search(rf"{_EDGE}{_NUMBER}\s?([kMG]?)(?:sps|S/s|SPS|Sps){_END}", name, re.IGNORECASE):
        return _value(match[1], match[2])
    if match := re.search(rf"(?:^|[_.-])fs{_NUMBER}([kMG])(?:Hz)?(?=[_.-]|$)", name):
        return _value(match[1], match[2])
    return _hertz("s", name)


def _frequency(name: str) -> float | None:
    if (value := _hertz("f", name)) is not None:
        return value
    if match := re.search(rf"{_EDGE}{_NUMBER}\s?GHz{_END}", name, re.IGNORECASE):
        return _value(match[1], "g")
    # With the rate named as such, the first frequency is that of the receiver.
    named = re.search(rf"{_NUMBER}\s?[kMG]?(?:sps|S/s){_END}", name, re.IGNORECASE)
    match = re.search(rf"{_EDGE}{_NUMBER}\s?([kMG])Hz{_END}", name) if named else None
    return _value(match[1], match[2]) if match else None


def _pair(name: str) -> tuple[float | None, float | None]:
    """rtl_433's way: `433.92M` is the frequency, `250k` the rate; both must be there."""
    bare = re.findall(rf"{_EDGE}{_NUMBER}([kM])(?=[_.-]|$)", name)
    if len(bare) == 2:
        return _value(*bare[0]), _value(*bare[1])
    if len(bare) == 1 and _value(*bare[0]) in _CELL_RATES:
        return None, _value(*bare[0])
    return None, None


def _datatype(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in _TYPE_SUFFIXES:
        return canonical(suffix)
    tokens = re.split(r"[_.\-\s]", path.stem.lower())
    for token in reversed(tokens):
        if re.fullmatch(r"(cs|sc|ci|fc|cf|cu)(8|16|32|64)(le|be)?", token):
            try:
                return canonical(token)
            except InputError:
                return None
    return None


def _value(number: str, prefix: str) -> float:
    return round(float(re.sub("[,_]", ".", number)) * _PREFIX[prefix.lower()], 3)


def _hertz(letter: str, name: str) -> float | None:
    """`f5.92e9` and `s15.36e6` count Hz. `f1860_s1.92` counts MHz: together only, `s1` alone may count series."""
    if match := re.search(rf"(?:^|[_-]){letter}(\d+(?:\.\d+)?e\d+)(?=[_-]|\.[A-Za-z]|$)", name):
        return float(match[1])
    number = r"(\d+(?:\.\d+)?)"
    pair = re.search(rf"(?:^|[_-])f{number}_s{number}(?=[_-]|\.[A-Za-z]|$)", name)
    if pair is None or float(pair[1]) < _LOWEST_MHZ:
        return None
    value = float(pair[1 if letter == "f" else 2])
    return value if value >= 1e5 else round(value * 1e6, 3)
