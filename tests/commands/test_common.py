"""What the commands share: numbers with SI suffixes."""

from __future__ import annotations

import pytest

from wfm_cli.commands.common import si_number
from wfm_cli.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.4M", 2.4e6),
        ("433.92MHz", 433.92e6),
        ("433.92 MHz", 433.92e6),
        ("48k", 48e3),
        ("48K", 48e3),
        ("5.925GHz", 5.925e9),
        ("20e6", 20e6),
        ("1.5E+3", 1500.0),
        ("2.4MS/s", 2.4e6),
        ("2Msps", 2e6),
        (".5M", 5e5),
        ("1000.", 1000.0),
        (" 0 ", 0.0),
        ("77500hz", 77500.0),
    ],
)
def test_frequencies_and_rates(text: str, value: float) -> None:
    assert si_number(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "M", "2.4m", "2.4MM", "-1", "nan", "inf", "1e999", "1,5M", "2.4Q", "0x10", "٣"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError) as caught:
        si_number(text)
    assert repr(text) in caught.value.message
    assert "2.4M" in (caught.value.hint or "")
