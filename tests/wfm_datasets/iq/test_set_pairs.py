"""Samples with their metadata in another file, RadCom, and forms that are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.fakes import wavesfm
from tests.fakes.iq_sets import noise, oracle
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, Scan, scan


def read(recording: Recording, examples: Any, starts: Any, length: int) -> np.ndarray[Any, Any]:
    return open_windows(from_key(recording.key))(np.asarray(examples), np.asarray(starts), length)


def look(path: Path) -> Scan:
    found = scan([str(path)], ReadOptions())
    assert all("\n" not in outcome.reason for outcome in found.outcomes)
    return found


def refused(path: Path) -> str:
    found = look(path)
    assert not found.recordings
    return found.failed[0].reason


def test_powder_pairs(tmp_path: Path) -> None:
    found = look(wavesfm.powder(tmp_path / "p"))
    assert not found.failed
    assert len(found.recordings) == 48
    first = found.recordings[0]
    assert (first.name, first.label, first.datatype, first.samples) == ("4G_Day_1_bes_s1", "bes", "cf32_le", 1636)
    assert first.fields == {"standard": "4G", "day": 1.0, "take": 1.0}
    assert (first.sample_rate, first.center_frequency) == (5e6, 2.685e9)
    raw = np.fromfile(first.path, "<c8")
    np.testing.assert_array_equal(read(first, [0], [100], 50)[0, 0], raw[100:150])
    assert {outcome.status for outcome in found.outcomes if outcome.path.endswith("json")} == {"skipped"}


def test_powder_metadata_may_be_maps(tmp_path: Path) -> None:
    noise(60).tofile(tmp_path / "x.bin")
    meta = {
        "global": {"core:datatype": "cf32", "core:sample_rate": 5e6},
        "captures": {"core:center_frequency": 2e9},
        "annotations": {"transmitter": {"core:location": "meb"}},
    }
    (tmp_path / "x.json").write_text(json.dumps(meta))
    (recording,) = look(tmp_path).recordings
    assert (recording.label, recording.center_frequency) == ("meb", 2e9)


def test_bad_powder_pairs_are_one_line(tmp_path: Path) -> None:
    path = wavesfm.powder(tmp_path / "p") / "4G_Day_1_bes_s1.bin"
    side = path.with_suffix(".json")
    side.write_text('{"global": {"core:datatype": "cf99"}}')
    assert "cf99" in refused(path)
    side.write_text('{"global": "core:')
    assert "damaged" in refused(path)
    side.write_text('{"_metadata": 3}')
    assert "damaged" in refused(path)
    side.unlink()
    assert "missing" in refused(path)
    path.write_bytes(b"abc")
    side.write_text('{"global": {"core:datatype": "cf32"}}')
    assert "no sample" in refused(path)


@pytest.mark.parametrize(("kind", "name"), [("<c16", "cf64_le"), ("<c8", "cf32_le")])
def test_oracle_is_typed_by_its_size(kind: str, name: str, tmp_path: Path) -> None:
    values = oracle(tmp_path / "8ft", kind)
    (recording,) = look(tmp_path).recordings
    assert (recording.datatype, recording.samples, recording.label) == (name, 200, "3123D7B")
    assert recording.fields == {"serial": "3123D7B", "distance_ft": 8.0, "run": 2.0}
    assert (recording.sample_rate, recording.center_frequency) == (5e6, 2.45e9)
    assert bool(recording.notes) == (name == "cf64_le")
    np.testing.assert_array_equal(read(recording, [0], [20], 90)[0, 0], values[20:110])


def test_bad_oracle_pairs_are_one_line(tmp_path: Path) -> None:
    oracle(tmp_path)
    (data,), (meta,) = tmp_path.glob("*-data"), tmp_path.glob("*-meta")
    whole = data.read_bytes()
    data.write_bytes(whole[:-7])
    assert "neither cf32 nor cf64" in refused(tmp_path)
    data.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert "LFS" in refused(tmp_path)
    data.write_bytes(whole)
    meta.write_text(meta.read_text().replace("core:sample_count", "core:other"))
    assert "core:sample_count" in refused(tmp_path)
    data.unlink()
    assert "missing" in refused(tmp_path)


def test_icarus_is_typed_by_its_size(tmp_path: Path) -> None:
    found = look(wavesfm.icarus(tmp_path / "i"))
    assert not found.failed
    assert {recording.datatype for recording in found.recordings} == {"cf32_le", "ci16_le", "ci8"}
    assert {recording.label for recording in found.recordings} == {"LTE", "LTE + DSSS 2", "LTE + DSSS 8"}
    recording = next(r for r in found.recordings if r.name.endswith("int16_8_1"))
    assert (recording.samples, recording.sample_rate) == (4106, 7.68e6)
    assert recording.fields == {
        "interference": "yes", "signal_type": "LTE+DSSS", "dsss_factor": 8.0, "band_mhz": 10.0,
    }  # fmt: skip
    assert "by its size" in recording.notes[0]
    raw = np.fromfile(recording.path, "<i2")[:20].astype("f4") / 32768
    np.testing.assert_allclose(read(recording, [0], [0], 10)[0, 0], raw[::2] + 1j * raw[1::2], rtol=1e-6)
    path = recording.path
    path.write_bytes(path.read_bytes()[:-600])
    assert "neither f32, i16 nor i8" in refused(path)
    (path.parent.parent / "Metadata" / f"{path.stem}.csv").unlink()
    assert "missing" in refused(path)


def test_radcom_has_columns_of_its_keys(tmp_path: Path) -> None:
    path = wavesfm.radcom(tmp_path / "RadComOta2.45GHz.hdf5", 4)
    (recording,) = look(path).recordings
    assert (recording.samples, recording.examples, recording.datatype) == (128, 24, "cf32_le")
    assert set(recording.columns) == {"label", "modulation", "signal_type", "snr_db"}
    assert recording.columns["label"][0] == "bpsk, satcom"
    with h5py.File(path) as file:
        values = file[str(("fmcw", "radar-altimeter", 10, 2))][()]
    at = int(np.flatnonzero((recording.columns["modulation"] == "fmcw") & (recording.columns["snr_db"] == 10))[2])
    np.testing.assert_array_equal(read(recording, [0, at], [0, 8], 100)[1, 0], values[8:108] + 1j * values[136:236])


def test_bad_radcom_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["(__import__('os').system('true'), 1, 2, 3)"] = np.zeros(256, "f4")
    assert "not named as a tuple" in refused(path)
    with h5py.File(path, "w") as file:
        file["('a', 'b', 1, 2)"] = np.zeros(255, "f4")
    assert "(255,)" in refused(path)
    with h5py.File(path, "w") as file:
        file["('a', 'b', 1, 2)"], file["('a', 'b', 1, 3)"] = np.zeros(256, "f4"), np.zeros(2, "f4")
    assert "another kind" in refused(path)
    with h5py.File(path, "w") as file:
        file["('a', 'b', 1, 2)"] = np.full(256, np.nan, "f4")
    with pytest.raises(InputError, match="NaN"):
        read(look(path).recordings[0], [0], [0], 128)


FOREIGN = {
    "x.it": (b"IT++\x03" + bytes(100), "IT++"),
    "x.sdriq": (bytes(range(200)), "SDRangel"),
    "x.cdif": (b"BLUEEEEIEEEI" + bytes(500), "BLUE"),
    "x.xml": (b'<?xml version="1.0"?><SignalHoundIQFile Version="1.0">', "Signal Hound"),
    "x.ogg": (b"OggS" + bytes(100), "Ogg"),
    "x.flac": (b"fLaC" + bytes(100), "FLAC"),
    "x.csv": (b"0.5+0.25i,-1.5e-3-2i,3+4i\n0.5+0.25i,1-2i,3+4i\n", "HisarMod"),
    "x.txt": (b"12 -4\n13 5\n-7 8\n9 9\n1 0\n", "two columns of text"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_forms_are_refused_by_name(name: str, tmp_path: Path) -> None:
    data, words = FOREIGN[name]
    (tmp_path / name).write_bytes(data)
    reason = refused(tmp_path / name)
    assert words in reason
    assert ";" in reason  # the way out follows


def test_what_belongs_to_other_builders_names_them(tmp_path: Path) -> None:
    wavesfm.positioning(tmp_path / "pos", 3, (10,))
    assert "wfm prepare wavesfm pos" in refused(tmp_path / "pos")
    wavesfm.commrad(tmp_path / "rfs", 2, 1)
    assert all("wfm prepare wavesfm rfs" in outcome.reason for outcome in look(tmp_path / "rfs").failed)
    noise(600).tofile(tmp_path / "a.cf32")
    Image.new("RGB", (4, 4)).save(tmp_path / "a_b.png")
    assert not [outcome for outcome in look(tmp_path).failed if outcome.path.endswith("a_b.png")]
