"""TorchSig's files of every version."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes import iq_sets
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, scan

WRITERS: dict[str, Callable[..., None]] = {
    "packed": iq_sets.torchsig_packed,
    "homogeneous": iq_sets.torchsig_homogeneous,
    "indexed": iq_sets.torchsig_indexed,
    "grouped": iq_sets.torchsig_grouped,
}


def read(recording: Recording, examples: Any, starts: Any, length: int) -> np.ndarray[Any, Any]:
    return open_windows(from_key(recording.key))(np.asarray(examples), np.asarray(starts), length)


def found(path: Path) -> list[Recording]:
    made = scan([str(path)], ReadOptions())
    assert not made.failed, made.failed
    return list(made.recordings)


def refused(path: Path) -> str:
    made = scan([str(path)], ReadOptions())
    assert not made.recordings
    assert "\n" not in made.failed[0].reason
    return made.failed[0].reason


@pytest.mark.parametrize("writer", WRITERS)
def test_signals_with_one_component_are_examples(writer: str, tmp_path: Path) -> None:
    signals = iq_sets.signals(12)
    WRITERS[writer](tmp_path / "data.h5", signals)
    (recording,) = found(tmp_path / "data.h5")
    assert (recording.samples, recording.examples, recording.datatype) == (50, 12, "cf32_le")
    assert recording.sample_rate == 1e7
    assert recording.columns["label"].tolist() == [s["components"][0]["class_name"] for s in signals]
    assert recording.columns["snr_db"].tolist() == list(map(float, range(12)))
    assert recording.columns["bandwidth_hz"][0] == 2e5
    assert recording.columns["offset_hz"][0] == 1e5
    examples = np.array([7, 0, 3, 3, 11, 2])
    starts = np.array([0, 4, 10, 9, 20, 1])
    cut = np.stack([signals[e]["data"][s : s + 30] for e, s in zip(examples, starts, strict=True)])
    np.testing.assert_array_equal(read(recording, examples, starts, 30)[:, 0], cut)


@pytest.mark.parametrize("writer", WRITERS)
def test_signals_with_several_components_are_annotated(writer: str, tmp_path: Path) -> None:
    signals = iq_sets.crowded(3)
    WRITERS[writer](tmp_path / "data.h5", signals)
    recordings = found(tmp_path / "data.h5")
    assert [recording.name for recording in recordings] == ["data#0", "data#1", "data#2"]
    for signal, recording in zip(signals, recordings, strict=True):
        first, second = recording.annotations
        assert (first.label, first.start, first.count) == (signal["components"][0]["class_name"], 5, 40)
        assert (first.low_hz, first.high_hz) == (0.0, 2e5)
        assert (second.label, second.low_hz) == ("tone", -1.1e6)
        np.testing.assert_array_equal(read(recording, [0], [3], 20)[0, 0], signal["data"][3:23])


@pytest.mark.parametrize("writer", ["packed", "indexed"])
def test_lengths_are_recordings_of_their_own(writer: str, tmp_path: Path) -> None:
    signals = iq_sets.signals(3, 50) + iq_sets.signals(4, 70)
    WRITERS[writer](tmp_path / "data.h5", [signals[k] for k in (0, 3, 1, 4, 5, 2, 6)])
    short, long = found(tmp_path / "data.h5")
    assert (short.samples, short.examples, long.samples, long.examples) == (50, 3, 70, 4)
    np.testing.assert_array_equal(read(short, [2], [0], 50)[0, 0], signals[2]["data"])
    np.testing.assert_array_equal(read(long, [3], [0], 70)[0, 0], signals[6]["data"])


@pytest.mark.parametrize("writer", WRITERS)
def test_planes_of_i_and_q_are_joined(writer: str, tmp_path: Path) -> None:
    signals = iq_sets.signals(4)
    for signal in signals:
        signal["data"] = np.stack([signal["data"].real, signal["data"].imag])
    WRITERS[writer](tmp_path / "data.h5", signals)
    (recording,) = found(tmp_path / "data.h5")
    expected = signals[2]["data"][0] + 1j * signals[2]["data"][1]
    np.testing.assert_array_equal(read(recording, [2], [1], 40)[0, 0], expected[1:41])


def test_unfinished_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    iq_sets.torchsig_packed(path, iq_sets.signals(), complete=False)
    assert "not finished" in refused(path)
    iq_sets.torchsig_packed(path, iq_sets.signals(), features=["quantised_samples"])
    assert "quantised_samples" in refused(path)
    iq_sets.torchsig_packed(path, iq_sets.signals(), major=2)
    assert "newer" in refused(path)
    iq_sets.torchsig_homogeneous(path, iq_sets.signals(), complete=False)
    assert "not finished" in refused(path)
    with h5py.File(path, "r+") as file:
        file.attrs["complete"], file.attrs["schema_version"] = True, 2
    assert "newer" in refused(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_offset", 10**12), ("data_length", 10**12), ("shape_offset", 2**63 - 1), ("dtype_id", 7), ("parent_id", 9),
     ("component_count", 10**9)],
)  # fmt: skip
def test_tables_that_contradict_each_other_are_refused(field: str, value: int, tmp_path: Path) -> None:
    iq_sets.torchsig_packed(tmp_path / "data.h5", iq_sets.signals())
    with h5py.File(tmp_path / "data.h5", "r+") as file:
        rows = file["records"][()]
        rows[field][0] = value
        file["records"][...] = rows
    assert "damaged" in refused(tmp_path / "data.h5")


def test_spectrograms_are_refused(tmp_path: Path) -> None:
    signals = iq_sets.signals(2)
    for signal in signals:
        signal["data"] = np.zeros((20, 30), np.float32)
    iq_sets.torchsig_homogeneous(tmp_path / "data.h5", signals)
    assert "no I/Q" in refused(tmp_path / "data.h5")


def test_a_folder_of_npy_takes_labels_from_its_table(tmp_path: Path) -> None:
    arrays = iq_sets.torchsig_npy(tmp_path / "set")
    first, second = found(tmp_path / "set")
    assert first.columns["label"].tolist() == ["BPSK", "QPSK", "BPSK"]
    assert second.columns["label"].tolist() == ["QPSK", "BPSK", "QPSK"]
    assert second.sample_rate == 1e6
    np.testing.assert_array_equal(read(second, [2, 0], [5, 6], 10)[:, 0], [arrays[1][2, 5:15], arrays[1][0, 6:16]])
    table = tmp_path / "set" / "metadata.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:5]))
    assert "5 rows, 6 signals" in scan([str(tmp_path / "set")], ReadOptions()).failed[0].reason
    table.write_text("a,b\n")
    assert len(scan([str(tmp_path / "set")], ReadOptions()).failed) == 2


def test_damaged_metadata_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    iq_sets.torchsig_homogeneous(path, iq_sets.signals())
    with h5py.File(path, "r+") as file:
        file["metadata"][2] = json.dumps({"items": 3})
    assert "metadata" in refused(path)
    iq_sets.torchsig_indexed(path, iq_sets.signals())
    with h5py.File(path, "r+") as file:
        del file["data/140000"]
    assert "no data" in refused(path)


def test_a_damaged_number_in_the_metadata_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    iq_sets.torchsig_homogeneous(path, iq_sets.signals())
    header = base64.b64encode(b"\x93NUMPY\x01\x00\x10\x00{'a': '''\n(      \n".ljust(40)).decode()
    number = {"__torchsig_type__": "ndarray", "scalar": True, "data": header}
    with h5py.File(path, "r+") as file:
        file["component_metadata"][1] = json.dumps({"items": {"snr_db": number}})
    assert "metadata" in refused(path)


def test_a_heap_that_runs_in_circles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    for writer in ("indexed", "packed"):
        WRITERS[writer](path, iq_sets.signals())
        data = bytearray(path.read_bytes())
        heap = data.index(b"GCOL")
        length, at = struct.unpack_from("<Q", data, heap + 8)[0], heap + 16
        while number := struct.unpack_from("<H", data, at)[0]:  # on to the free rest
            assert number < 1000
            at += 16 + (struct.unpack_from("<Q", data, at + 8)[0] + 7) // 8 * 8
        assert at + struct.unpack_from("<Q", data, at + 8)[0] == heap + length
        data[at + 8 : at + 16] = bytes(8)
        path.write_bytes(data)
        assert f"heap of strings at byte {heap}" in refused(path)
