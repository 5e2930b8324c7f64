"""Headerless files: the guess and its margin, what the name and the options say, and what is no I/Q."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.iq import Iq, encode, tar, tone
from wfm_cli.errors import InputError
from wfm_datasets.iq import memory
from wfm_datasets.iq.formats.raw import recognise, recordings
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, scan
from wfm_datasets.iq.sniff import guess, spectral_symmetry

AUTO = ReadOptions()


def noise(count: int, scale: float) -> Iq:
    rng = np.random.default_rng(2)
    return scale * (rng.normal(size=(count, 1)) + 1j * rng.normal(size=(count, 1)))


def only(path: Path, options: ReadOptions = AUTO) -> Recording:
    (made,) = recordings(path, options)
    return made


def whole(recording: Recording) -> Any:
    zero = np.zeros(1, np.int64)
    return open_windows(from_key(recording.key))(zero, zero, recording.samples)[0].T


@pytest.mark.parametrize("datatype", ["cf32_le", "cf32_be", "ci16_le", "ci16_be", "ci8", "cu8", "cf64_le"])
def test_types_are_guessed_and_the_margin_is_told(tmp_path: Path, datatype: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(encode(noise(20_000, 0.02), datatype))
    made = only(path)
    assert made.datatype == datatype
    assert made.origin["datatype"].startswith("guess, margin ")
    assert float(made.origin["datatype"].split()[2]) >= 0.25
    assert made.samples == 20_000
    assert made.sample_rate is None


def test_an_uncertain_guess_is_refused_and_the_option_wins(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes())
    with pytest.raises(InputError, match=r"sample type not certain: .* \(margin 0\.[012]") as caught:
        recordings(path, AUTO)
    assert "--dtype" in (caught.value.hint or "")
    made = only(path, ReadOptions(dtype="cs16"))
    assert (made.datatype, made.samples, made.origin["datatype"]) == ("ci16_le", 10_000, "--dtype")


def test_rtl_zero_is_between_two_steps(tmp_path: Path) -> None:
    path = tmp_path / "x.cu8"
    path.write_bytes(bytes([127, 128] * 3000))
    np.testing.assert_array_equal(whole(only(path))[0], [(-0.5 + 0.5j) / 128])


def test_what_is_written_is_what_is_read_in_either_order(tmp_path: Path) -> None:
    iq = tone(500)
    path = tmp_path / "x.cs16"
    path.write_bytes(b"head" + encode(iq, "ci16_le", "qi") + b"\1")
    made = only(path, ReadOptions(order="qi", skip_bytes=4))
    assert (made.samples, made.dropped_bytes) == (500, 1)
    assert made.origin == {"datatype": "file name", "order": "--order"}
    assert [note.split()[0] for note in made.notes] == ["4", "1"]
    np.testing.assert_allclose(whole(made), iq, rtol=0, atol=2**-15)


def test_q_first_by_the_name_of_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "test_1641427457780.iq"
    path.write_bytes(encode(tone(500), "ci16_le", "qi"))
    made = only(path)
    assert made.layout["order"] == "qi"
    assert made.origin["order"] == "file name (dump1090_rs)"
    np.testing.assert_allclose(whole(made), tone(500), rtol=0, atol=2**-15)
    assert "order" not in only(path, ReadOptions(order="iq")).layout


def test_a_private_header_is_known_and_read(tmp_path: Path) -> None:
    marks = ["0ad7a37043f1f140", "4c63c5ba025be9bf", "00000018afa5a6c1", "b000a60c1c485740"]
    values = [1_860_000_000, 1_860_000_000, 1_920_000, 1_920_000]
    header = b"".join(bytes.fromhex(m) + struct.pack("<Q", v) for m, v in zip(marks, values, strict=True)) + bytes(64)
    path = tmp_path / "x.bin"
    path.write_bytes(header + encode(noise(5000, 0.05), "cu8"))
    made = only(path)
    assert (made.samples, made.datatype, made.layout["offset"]) == (5000, "cu8", 128)
    assert (made.sample_rate, made.center_frequency) == (1.92e6, 1.86e9)
    assert made.origin["sample_rate"] == "header of LTE-Cell-Scanner"


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_files_are_decoded_once_and_bounded(
    tmp_path: Path, suffix: str, pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    iq = tone(3000)
    path = tmp_path / f"a_433.92M_250k.cs16.{suffix}"
    path.write_bytes(pack(encode(iq, "ci16_le")))
    (made,) = scan([str(path)], AUTO).recordings
    assert (made.backend, made.samples, made.sample_rate, made.name) == ("memory", 3000, 250e3, "a_433.92M_250k")
    np.testing.assert_allclose(whole(made), iq, rtol=0, atol=2**-15)
    assert memory.decoded(made) is memory.decoded(made)
    memory._kept.clear()
    monkeypatch.setattr(memory, "LIMIT_BYTES", 5000)
    with pytest.raises(InputError, match="decodes to more than"):
        memory.decoded(made)
    path.write_bytes(path.read_bytes()[:-200])
    monkeypatch.undo()
    with pytest.raises(InputError, match="damaged or truncated"):
        recordings(path, AUTO)


def test_the_archive_of_universal_radio_hacker(tmp_path: Path) -> None:
    iq = tone(700)
    path = tar(tmp_path / "x.coco", {"tmp/tmpfile": encode(iq, "cf32_le")}, "w:bz2")
    assert recognise(path, path.read_bytes()[:8192])
    made = only(path)
    assert (made.datatype, made.samples, made.origin["datatype"]) == ("cf32_le", 700, "Universal Radio Hacker")
    np.testing.assert_array_equal(whole(made), iq.astype(np.complex64))
    with pytest.raises(InputError, match="holds 2 files"):
        recordings(tar(tmp_path / "y.coco", {"a": b"1", "b": b"2"}, "w:bz2"), AUTO)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("x.cfile", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        ("x.dat", b"0 0\n" * 300, "is text"),
        ("x.cf32", np.full(4000, 3e9, "<f4").tobytes(), "no receiver writes"),
        (
            "x.cf32",
            np.full(400, np.nan, "<f4").tobytes(),
            r"sample 0 is NaN or infinite \(read as cf32_le: file name\)",
        ),
        ("x.cs16", b"\1\2", "hold no sample"),
        ("x.bin", b"\1\2" * 9, "too short to guess"),
        ("x.cs16", np.repeat(np.arange(4000, dtype="<i2"), 2).tobytes(), "both parts are equal"),
        ("x.iq", b"\x89HDF\r\n\x1a\n" + bytes(100), "is a HDF5 file"),
    ],
)
def test_files_that_are_no_iq(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=word):
        recordings(path, AUTO)


def test_remarks(tmp_path: Path) -> None:
    def notes(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return "; ".join(only(tmp_path / name).notes)

    assert "all zero" in notes("x.cs16", bytes(4000))
    assert "constant" in notes("y.cs16", bytes([1, 0, 2, 0] * 1000))
    assert "counts" in notes("z.cf32", encode(100 * noise(3000, 1.0), "cf32_le"))
    assert "look like cf32_le" in notes("w.cs8", encode(noise(3000, 1.0), "cf32_le"))
    assert notes("v.cs16", encode(noise(3000, 0.1), "ci16_le")) == ""


def test_symmetry_tells_real_signals_from_iq() -> None:
    iq = noise(100_000, 1.0)[:, 0].astype(np.complex64)
    assert spectral_symmetry(iq) < 0.9
    assert spectral_symmetry((iq.real * (0.3 + 1j)).astype(np.complex64)) > 0.9999
    assert spectral_symmetry(iq[:100]) == 0.0


def test_short_heads_are_not_guessed() -> None:
    assert guess(bytes(63)) is None
