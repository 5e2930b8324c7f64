"""Names of sample types."""

from __future__ import annotations

import pytest

from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import canonical, sample_type


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("cs16", "ci16_le"), ("ci16", "ci16_le"), ("sc16", "ci16_le"), ("CI16_LE", "ci16_le"), (".cs16", "ci16_le"),
        ("cs16be", "ci16_be"), ("ci16_be", "ci16_be"), ("cs8", "ci8"), ("sc8", "ci8"), ("cu8", "cu8"),
        ("cs32", "ci32_le"), ("fc32", "cf32_le"), ("cf32", "cf32_le"), ("c64", "cf32_le"), ("complex64", "cf32_le"),
        ("cfile", "cf32_le"),
        ("complex64_be", "cf32_be"), ("fc64", "cf64_le"), ("c128", "cf64_le"), ("complex128", "cf64_le"),
        ("complex", "cf32_le"), ("complex16s", "ci8"), ("complex16u", "cu8"), ("complex32s", "ci16_le"),
        ("complex32u", "cu16_le"), ("ri16_le", "ri16_le"), ("rf32", "rf32_le"), ("ci24", "ci24_le"), ("hackrf", "ci8"),
        ("rtl_sdr", "cu8"), ("cu16_be", "cu16_be"), ("ru8", "ru8"),
    ],
)  # fmt: skip
def test_aliases(alias: str, name: str) -> None:
    assert canonical(alias) == name


@pytest.mark.parametrize("alias", ["", "i16", "cf16", "ci64", "c32", "cx8", "cf8", "float", "ci16_me", "cu64", "rf24"])
def test_unknown_types_are_refused_with_the_known_ones(alias: str) -> None:
    with pytest.raises(InputError, match="sample type") as caught:
        canonical(alias)
    assert "cf32" in (caught.value.hint or "")


def test_sizes_and_scales() -> None:
    cu8, ci24 = sample_type("cu8"), sample_type("ci24_be")
    assert (cu8.sample_bytes, cu8.zero, cu8.full_scale) == (2, 128.0, 128.0)
    assert (ci24.sample_bytes, ci24.zero, ci24.full_scale, ci24.big) == (6, 0.0, 2.0**23, True)
    assert (sample_type("rf64_be").sample_bytes, sample_type("rf64_be").full_scale) == (8, 1.0)
