"""MATLAB files of every version, and plain HDF5."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from tests.fakes.iq_sets import matlab73, matlab_string, noise
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, scan


def read(recording: Recording, examples: Any, starts: Any, length: int) -> np.ndarray[Any, Any]:
    return open_windows(from_key(recording.key))(np.asarray(examples), np.asarray(starts), length)


def only(path: Path, **options: Any) -> Recording:
    found = scan([str(path)], ReadOptions(**options))
    assert not found.failed, found.failed
    (recording,) = found.recordings
    return recording


def refused(path: Path, **options: Any) -> str:
    found = scan([str(path)], ReadOptions(**options))
    assert not found.recordings
    assert "\n" not in found.failed[0].reason
    return found.failed[0].reason


def save(path: Path, variables: dict[str, Any], version: str) -> None:
    if version == "v7.3":
        matlab73(path, variables)
    elif version == "v7.3 chunked":
        matlab73(path, variables, chunked=True)
    else:
        scipy.io.savemat(path, variables, do_compression=version == "v7")


VERSIONS = ["v6", "v7", "v7.3", "v7.3 chunked"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["c8", "c16"])
@pytest.mark.parametrize("shape", [(200, 1), (1, 200)])
def test_vectors_come_back(version: str, kind: str, shape: tuple[int, int], tmp_path: Path) -> None:
    values = noise(200).astype(kind)
    save(tmp_path / "x.mat", {"rx": values.reshape(shape), "Fs": np.array([[2e6]]), "fc": np.array([[9e8]])}, version)
    recording = only(tmp_path / "x.mat")
    assert (recording.samples, recording.channels, recording.examples) == (200, 1, 1)
    assert recording.datatype == {"c8": "cf32_le", "c16": "cf64_le"}[kind]
    assert (recording.sample_rate, recording.center_frequency) == (2e6, 9e8)
    starts = np.array([150, 0, 7])
    expected = np.stack([values[s : s + 50] for s in starts]).astype("c8")
    np.testing.assert_array_equal(read(recording, [0, 0, 0], starts, 50)[:, 0], expected)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("columns", [True, False])
def test_time_runs_along_the_longer_axis(version: str, columns: bool, tmp_path: Path) -> None:
    values = noise(6, 90)
    save(tmp_path / "x.mat", {"rx": values.T if columns else values}, version)
    recording = only(tmp_path / "x.mat")
    assert (recording.samples, recording.examples) == (90, 6)
    assert any("6 examples" in note for note in recording.notes)
    np.testing.assert_array_equal(read(recording, [4, 1], [3, 20], 60)[:, 0], [values[4, 3:63], values[1, 20:80]])


@pytest.mark.parametrize("version", VERSIONS)
def test_real_arrays_need_an_axis_of_two(version: str, tmp_path: Path) -> None:
    values = noise(5, 64)
    parts = np.stack([values.real, values.imag], axis=1)
    save(tmp_path / "x.mat", {"X": parts}, version)
    np.testing.assert_array_equal(read(only(tmp_path / "x.mat"), [3], [0], 64)[0, 0], values[3])
    save(tmp_path / "x.mat", {"X": parts.transpose(0, 2, 1)}, version)
    np.testing.assert_array_equal(read(only(tmp_path / "x.mat"), [3], [0], 64)[0, 0], values[3])
    save(tmp_path / "x.mat", {"X": parts.real[:, :1]}, version)
    assert "no I/Q" in refused(tmp_path / "x.mat")


def test_counts_are_divided_by_full_scale_and_said(tmp_path: Path) -> None:
    counts = np.array([[100, -200, 32767, -32768, 1, 2, 3, 4, 5]], np.int16).T
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"waveform": np.zeros((9, 1), np.int16), "x": np.zeros((9, 1), "c16")})
    # scipy cannot write complex int16: flag the matrix as complex and append the imaginary numbers.
    scipy.io.savemat(path, {"waveform": counts})
    data = bytearray(path.read_bytes())
    numbers = data[-32:]  # tag and 9 numbers, padded
    assert numbers[:8] == bytes([3, 0, 0, 0, 18, 0, 0, 0])
    data += numbers
    data[128 + 4 : 128 + 8] = (int.from_bytes(data[132:136], "little") + 32).to_bytes(4, "little")
    data[128 + 8 + 8 + 1] |= 0x08
    path.write_bytes(data)
    assert scipy.io.loadmat(path)["waveform"].dtype == "c16"
    recording = only(path)
    assert recording.datatype == "ci16_le"
    assert any("2^15" in note for note in recording.notes)
    np.testing.assert_allclose(read(recording, [0], [0], 9)[0, 0], counts[:, 0] / 32768 * (1 + 1j), rtol=1e-6)


def test_doubles_stored_as_small_integers_keep_their_value(tmp_path: Path) -> None:
    whole = np.arange(40.0).reshape(-1, 1) * (1 + 2j)
    scipy.io.savemat(tmp_path / "x.mat", {"x": whole})
    recording = only(tmp_path / "x.mat")
    assert recording.datatype == "cf64_le"
    np.testing.assert_array_equal(read(recording, [0], [0], 40)[0, 0], whole[:, 0])


@pytest.mark.parametrize("version", VERSIONS)
def test_one_of_several_variables_is_named(version: str, tmp_path: Path) -> None:
    save(tmp_path / "x.mat", {"a": noise(50, 1), "b": noise(60, 1), "n": np.ones((3, 3))}, version)
    assert "several arrays of samples: a, b" in refused(tmp_path / "x.mat")
    assert only(tmp_path / "x.mat", variable="b").samples == 60
    assert "holds no variable 'c'" in refused(tmp_path / "x.mat", variable="c")
    assert "no I/Q" in refused(tmp_path / "x.mat", variable="n")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_without_samples_is_refused(version: str, tmp_path: Path) -> None:
    save(tmp_path / "x.mat", {"n": np.ones((30, 3)), "t": "some text"}, version)
    assert "holds no I/Q samples (it holds n, t)" in refused(tmp_path / "x.mat")


def test_structs_tell_rate_and_fields(tmp_path: Path) -> None:
    meta = {"sampleRate": np.int32(4000000), "snrDb": 12.5, "label": "wlan", "note": np.ones(3)}
    scipy.io.savemat(tmp_path / "x.mat", {"rx": noise(50, 1), "meta": meta}, do_compression=True)
    recording = only(tmp_path / "x.mat")
    assert (recording.sample_rate, recording.label) == (4e6, "wlan")
    assert recording.fields == {"snr_db": 12.5}
    matlab73(tmp_path / "y.mat", {"rx": noise(50, 1), "meta/Fs": np.array([[4e6]]), "meta/modulation": "qpsk"})
    recording = only(tmp_path / "y.mat")
    assert (recording.sample_rate, recording.label) == (4e6, "qpsk")


def test_labels_that_only_matlab_reads_are_said(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"rx": noise(50, 1)})
    with (tmp_path / "x.mat").open("ab") as stream:
        stream.write(matlab_string("label"))
    recording = only(tmp_path / "x.mat")
    assert recording.label is None
    assert any("only MATLAB reads label" in note for note in recording.notes)


def test_bytes_decide_not_the_text_of_the_header(tmp_path: Path) -> None:
    matlab73(tmp_path / "x.mat", {"capbuf": noise(1, 90)}, text=b"MATLAB 7.0 MAT-file, Platform: PCWIN")
    assert only(tmp_path / "x.mat").format == "MATLAB v7.3"


def test_plain_hdf5_follows_the_rule_of_npy(tmp_path: Path) -> None:
    values = noise(40, 9)  # more examples than samples
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["iq"], file["sample_rate"] = values, 1e6
        file["modulation"] = "ook"
    recording = only(tmp_path / "x.h5")
    assert (recording.format, recording.samples, recording.examples) == ("HDF5", 9, 40)
    assert (recording.sample_rate, recording.label) == (1e6, "ook")
    np.testing.assert_array_equal(read(recording, [33], [1], 8)[0, 0], values[33, 1:])
    three = noise(4, 2, 50)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["iq"] = three
    recording = only(tmp_path / "x.h5")
    assert (recording.samples, recording.channels, recording.examples) == (50, 2, 4)
    np.testing.assert_array_equal(read(recording, [3, 0], [1, 1], 40), three[[3, 0], :, 1:41])
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["iq"] = np.ones((30, 2), np.int16)
    np.testing.assert_array_equal(read(only(tmp_path / "x.h5"), [0], [0], 30)[0, 0], np.full(30, (1 + 1j) / 32768))


def test_windows_far_apart_and_in_any_order(tmp_path: Path) -> None:
    values = noise(200_000)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("iq", data=values, chunks=(5000,))
    starts = np.random.default_rng(0).integers(0, 199_000, 40)
    expected = np.stack([values[s : s + 1000] for s in starts])
    np.testing.assert_array_equal(read(only(tmp_path / "x.h5"), starts * 0, starts, 1000)[:, 0], expected)


def test_hollow_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("iq", (10**12,), "c8", chunks=(1 << 16,), compression="gzip")
    assert "declares 8000000000000 bytes" in refused(path)
    with h5py.File(path, "w") as file:
        file["iq"] = noise(5000)
    path.write_bytes(path.read_bytes()[:-30000])
    refused(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert "LFS" in refused(path)
    path.write_bytes(b"\0\0\0\0\x01\0\0\0" * 40)
    assert "version 4" in refused(path)
    scipy.io.savemat(path, {"x": noise(4000, 1)}, do_compression=True)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    assert "damaged" in refused(path)
    scipy.io.savemat(path, {"x": np.zeros((4_000_000, 1), "c8")}, do_compression=True)
    assert "packed bytes" in refused(path)  # 32 MB out of 32 kB


@pytest.mark.parametrize("packed", [False, True])
def test_flipped_bytes_give_numbers_or_one_line(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"rx": noise(30, 1), "meta": {"Fs": 1e6, "label": "a"}}, do_compression=packed)
    whole, rng = path.read_bytes(), np.random.default_rng(2)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(120, len(data))] = rng.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            for recording in scan([str(path)], ReadOptions()).recordings:
                read(recording, [0], [0], 8)


@pytest.mark.real
def test_real_files_are_what_their_manifest_says(real_data: Path) -> None:
    for path in sorted((real_data / "iq" / "matlab_wlan_bt").glob("*.mat")):
        recording = only(path)
        expected = scipy.io.loadmat(path, variable_names=["rxWave"])["rxWave"][:, 0]
        assert (recording.datatype, recording.samples, recording.sample_rate) == ("cf32_le", 81920, 4e7)
        assert recording.center_frequency == 2.437e9
        assert any("label (string)" in note for note in recording.notes)
        np.testing.assert_array_equal(read(recording, [0], [1000], 500)[0, 0], expected[1000:1500])
    recording = only(real_data / "iq" / "lte" / "test_xcorr_pss.mat")
    assert (recording.format, recording.datatype, recording.samples) == ("MATLAB v7.3", "cf64_le", 135360)
