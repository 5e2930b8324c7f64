"""WAV and RF64: every encoding, every chunk, and audio that is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.iq import auxi, encode, tone, wav
from wfm_cli.errors import InputError
from wfm_datasets.iq.formats.wav import recognise, recordings
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions

IQ = tone(1000)
AUTO = ReadOptions()


def only(path: Path, options: ReadOptions = AUTO) -> Recording:
    assert recognise(path, path.read_bytes()[:8192])
    (made,) = recordings(path, options)
    return made


def whole(recording: Recording) -> Any:
    zero = np.zeros(1, np.int64)
    return open_windows(from_key(recording.key))(zero, zero, recording.samples)[0].T


@pytest.mark.parametrize("form", [{}, {"extensible": True}, {"rf64": True}])
@pytest.mark.parametrize(
    ("tag", "bits", "datatype"),
    [(1, 8, "cu8"), (1, 16, "ci16_le"), (1, 24, "ci24_le"), (1, 32, "ci32_le"), (3, 32, "cf32_le"), (3, 64, "cf64_le")],
)
def test_encodings(tmp_path: Path, tag: int, bits: int, datatype: str, form: dict[str, Any]) -> None:
    data = encode(IQ, datatype)
    made = only(wav(tmp_path / "x.wav", data, tag=tag, bits=bits, **form))
    assert (made.datatype, made.samples, made.sample_rate, made.notes) == (datatype, 1000, 96000.0, ())
    np.testing.assert_allclose(whole(made), IQ, rtol=0, atol=0.71 * 2.0 ** (1 - min(bits, 24)))


def test_hundreds_of_data_chunks_are_one_recording(tmp_path: Path) -> None:
    data = encode(IQ, "ci16_le")
    path = wav(tmp_path / "20200813T065220Z_77500_HB9ODP_iq.wav", data, rate=12001, pieces=[128] * 32, stamps=True)
    made = only(path)
    assert (made.samples, made.center_frequency, made.origin["center_frequency"]) == (1000, 77500.0, "file name")
    assert any("joined" in note for note in made.notes)
    np.testing.assert_allclose(whole(made), IQ, rtol=0, atol=2**-15)
    starts = np.array([0, 31, 32, 500, 985])
    many = open_windows(made)(np.zeros(5, np.int64), starts, 15)
    np.testing.assert_array_equal(many[:, 0], np.stack([whole(made)[s : s + 15, 0] for s in starts]))


def test_odd_chunks_have_a_byte_of_padding(tmp_path: Path) -> None:
    data = encode(IQ, "cu8")
    path = wav(tmp_path / "x.wav", data[:301] + data[302:], bits=8, pieces=[301, 1698], before=[(b"LIST", b"odd")])
    made = only(path)
    assert (made.samples, made.dropped_bytes) == (150 + 849, 1)


def test_tuning_of_the_receiver(tmp_path: Path) -> None:
    data = encode(IQ, "ci16_le")
    made = only(wav(tmp_path / "a.wav", data, rate=96000, before=[auxi(7_050_000, 96000)]))
    assert (made.center_frequency, made.sample_rate, made.origin["center_frequency"]) == (7.05e6, 96e3, "auxi chunk")
    made = only(wav(tmp_path / "b.wav", data, rate=44100, before=[auxi(7_050_000, 2_000_000)]))
    assert made.sample_rate == 2e6
    assert any("44100" in note and "2000000" in note for note in made.notes)
    xml = '<Definition RadioCenterFreq="9470000" SampleRate="1000000">'.encode("utf-16-le")
    made = only(wav(tmp_path / "c.wav", data, rate=1_000_000, before=[(b"auxi", b"\x3c\x00" + xml[2:])]))
    assert made.center_frequency == 9.47e6
    made = only(wav(tmp_path / "SDRSharp_20150804_204359Z_7050kHz_IQ.wav", data, rate=48000))
    assert (made.center_frequency, made.sample_rate) == (7.05e6, 48e3)


def test_a_wrong_rate_in_the_header_is_told(tmp_path: Path) -> None:
    made = only(wav(tmp_path / "vdl2_model_16b_1050kHz.wav", encode(IQ, "ci16_le"), rate=44100))
    assert (made.sample_rate, made.origin["sample_rate"]) == (1.05e6, "file name")
    assert made.notes == (
        "the header says 44100 samples per second, the file name 1050000: the latter is taken",
    )  # fmt: skip


def test_files_that_were_never_closed_are_read_to_their_end(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", encode(IQ, "ci16_le"))
    path.write_bytes(path.read_bytes()[:-401])
    made = only(path)
    assert (made.samples, made.dropped_bytes) == (899, 3)
    assert any("cut off" in note for note in made.notes)


def test_q_in_the_left_track(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", encode(IQ, "cf32_le", "qi"), tag=3, bits=32)
    np.testing.assert_array_equal(whole(only(path, ReadOptions(order="qi"))), IQ.astype(np.complex64))


def test_audio_is_refused(tmp_path: Path) -> None:
    voice = IQ.real + 1j * IQ.real
    with pytest.raises(InputError, match="both parts are equal: audio"):
        recordings(wav(tmp_path / "x.wav", encode(voice, "ci16_le")), AUTO)
    quieter = np.tile(IQ.real + 0.5j * IQ.real, (20, 1))
    with pytest.raises(InputError, match="spectrum is symmetric"):
        recordings(wav(tmp_path / "y.wav", encode(quieter, "cf32_le"), tag=3, bits=32), AUTO)


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ({"channels": 1}, "1 tracks"), ({"channels": 4, "extensible": True}, "4 tracks"),
        ({"tag": 6, "bits": 8}, "encoding 6"), ({"bits": 12}, "12 bits"), ({"pieces": [0]}, "holds no samples"),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, form: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        recordings(wav(tmp_path / "x.wav", encode(IQ, "ci16_le"), **form), AUTO)


def test_a_file_without_its_chunks(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4) + b"WAVE")
    with pytest.raises(InputError, match="no fmt chunk"):
        recordings(path, AUTO)
