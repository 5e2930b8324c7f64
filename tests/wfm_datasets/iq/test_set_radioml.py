"""RadioML pickles and HDF5: every form that is published, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes.iq_sets import noise, radioml, radioml2018
from wfm_cli.errors import InputError
from wfm_datasets.iq.formats import radioml2018 as format2018
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, scan


def read(recording: Recording, examples: Any, starts: Any, length: int) -> np.ndarray[Any, Any]:
    """Windows through the key alone, as another process reads them."""
    return open_windows(from_key(recording.key))(np.asarray(examples), np.asarray(starts), length)


def only(path: Path) -> Recording:
    found = scan([str(path)], ReadOptions())
    assert not found.failed, found.failed
    (recording,) = found.recordings
    return recording


def refused(path: Path, **options: Any) -> str:
    """The one line that is told of a bad file."""
    found = scan([str(path)], ReadOptions(**options))
    assert not found.recordings
    (outcome,) = found.failed
    assert "\n" not in outcome.reason
    return outcome.reason


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("RML2016.10a_dict.pkl", "python2"), ("RML2016.10b.dat", "python2"), ("2016.04C.multisnr.pkl", "python2-text"),
        ("RML22.01A", "3"), ("RML22.01A", "4"), ("RML22.01A", "5"), ("RML22.01A", "2"),
    ],
)  # fmt: skip
def test_every_pickle_comes_back(name: str, form: str, tmp_path: Path) -> None:
    arrays = radioml(tmp_path / name, form)
    recording = only(tmp_path / name)
    assert (recording.datatype, recording.samples, recording.examples) == ("cf32_le", 128, 9 * 12)
    keys = sorted(arrays)
    assert recording.columns["label"].tolist() == [key[0] for key in keys for _ in range(12)]
    assert recording.columns["snr_db"].tolist() == [key[1] for key in keys for _ in range(12)]
    whole = np.concatenate([arrays[key] for key in keys])
    expected = whole[:, 0] + 1j * whole[:, 1]
    examples = np.random.default_rng(0).permutation(108)
    np.testing.assert_array_equal(read(recording, examples, examples * 0, 128)[:, 0], expected[examples])
    starts = np.arange(108) % 60
    cut = np.stack([expected[e, s : s + 60] for e, s in zip(examples, starts, strict=True)])
    np.testing.assert_array_equal(read(recording, examples, starts, 60)[:, 0], cut)
    noted = any("noise alone" in note for note in recording.notes)
    assert noted == ("10a" in name)


def test_small_arrays_come_back(tmp_path: Path) -> None:
    arrays = radioml(tmp_path / "small.pkl", "4", frames=1)
    recording = only(tmp_path / "small.pkl")
    first = arrays[min(arrays)]
    np.testing.assert_array_equal(read(recording, [0], [0], 128)[0, 0], first[0, 0] + 1j * first[0, 1])


def test_the_file_is_mapped_not_read(tmp_path: Path) -> None:
    radioml(tmp_path / "x.pkl", "python2")
    recording = only(tmp_path / "x.pkl")
    assert recording.backend == "blocks"
    assert "inline" not in recording.layout


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("name", ["evil.pkl", "evil.dat"])
def test_a_pickle_executes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, 4):
        (tmp_path / name).write_bytes(pickle.dumps({("a", 1): Evil()}, protocol))
        if protocol or name.endswith("pkl"):
            assert "refused" in refused(tmp_path / name) or "pickle" in refused(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


def test_bad_pickles_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    radioml(path, "python2")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "ends" in refused(path)
    path.write_bytes(pickle.dumps([1, 2]))
    assert "instruction" in refused(path) or "no dict" in refused(path)
    for shape, kind in (((3, 3, 128), "f4"), ((3, 2), "f4"), ((0, 2, 8), "f4"), ((3, 2, 9), "?")):
        path.write_bytes(pickle.dumps({("a", 1): np.zeros(shape, kind)}, 4))
        refused(path)
    path.write_bytes(pickle.dumps({("a", 1): np.zeros((9, 2, 128), "f4"), ("a", 2): np.zeros((9, 2, 64), "f4")}, 4))
    assert "others are" in refused(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert "LFS" in refused(path)
    path.write_bytes(b"")
    refused(path)


def test_a_pickle_that_claims_a_terabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    data = pickle.dumps({("a", 1): np.zeros((10, 2, 128), "f4")}, 4)
    at = data.index(b"\x4b\x0a\x4b\x02\x4b\x80")  # the shape: 10, 2, 128
    path.write_bytes(data[:at] + b"\x8a\x06" + (10**12).to_bytes(6, "little") + data[at + 2 :])
    assert "has 10240 bytes" in refused(path)
    path.write_bytes(b"\x80\x04}(\x8e" + (10**12).to_bytes(8, "little") + b"abc")
    assert "early" in refused(path)


def test_infinite_samples_are_refused(tmp_path: Path) -> None:
    bad = np.zeros((10, 2, 128), "f4")
    bad[7, 1, 5] = np.inf
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({("a", 1): np.zeros((10, 2, 128), "f4"), ("b", 1): bad}, 4))
    with pytest.raises(InputError, match="sample 5 of example 17"):
        read(only(tmp_path / "x.pkl"), [17], [0], 128)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_2018_has_the_corrected_classes(chunked: bool, column: bool, tmp_path: Path) -> None:
    path = tmp_path / "GOLD_XYZ_OSC.0001_1024.hdf5"
    samples, number, snr = radioml2018(path, column=column, chunked=chunked)
    recording = only(path)
    assert (recording.datatype, recording.samples, recording.examples) == ("cf32_le", 64, 96)
    assert recording.backend == ("hdf5" if chunked else "flat")
    assert recording.columns["label"].tolist() == [format2018.CLASSES[k] for k in number]
    assert (format2018.CLASSES[0], format2018.CLASSES[12], format2018.CLASSES[23]) == ("OOK", "16QAM", "OQPSK")
    assert recording.columns["snr_db"].tolist() == snr.tolist()
    assert any("classes.txt" in note and "wrong" in note for note in recording.notes)
    examples = np.random.default_rng(1).permutation(96)
    expected = samples[..., 0] + 1j * samples[..., 1]
    np.testing.assert_array_equal(read(recording, examples, examples * 0 + 3, 50)[:, 0], expected[examples, 3:53])
    starts = examples % 14
    cut = np.stack([expected[e, s : s + 50] for e, s in zip(examples, starts, strict=True)])
    np.testing.assert_array_equal(read(recording, examples, starts, 50)[:, 0], cut)


def test_2018_without_or_with_right_classes_txt_says_nothing(tmp_path: Path) -> None:
    radioml2018(tmp_path / "x.hdf5", wrong=False)
    assert only(tmp_path / "x.hdf5").notes == ()
    (tmp_path / "classes.txt").write_text("\n".join(format2018.CLASSES))
    assert only(tmp_path / "x.hdf5").notes == ()


def test_bad_2018_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"

    def write(**arrays: np.ndarray[Any, Any]) -> None:
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values

    x, y, z = np.zeros((4, 8, 2), "f4"), np.eye(4, 24, dtype="i1"), np.zeros((4, 1), "i4")
    write(X=x[..., :1], Y=y, Z=z)
    assert "X is float32 (4, 8, 1)" in refused(path)
    write(X=x, Y=y[:3], Z=z)
    assert "Y is" in refused(path)
    write(X=x, Y=y, Z=z[:3])
    assert "Z is" in refused(path)
    y[2] = 0
    write(X=x, Y=y, Z=z)
    assert "row 2 of Y is not one-hot" in refused(path)
    radioml2018(path)
    path.write_bytes(path.read_bytes()[:-4000])
    refused(path)


def test_an_hdf5_that_claims_a_terabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (10**9, 1024, 2), "f4", chunks=(1, 1024, 2), compression="gzip")
        file.create_dataset("Y", (10**9, 24), "i1", chunks=(1024, 24))
        file.create_dataset("Z", (10**9, 1), "i1", chunks=(1024, 1))
    assert "declares" in refused(path)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    radioml2018(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name in "XYZ":
            file[name] = h5py.ExternalLink("other.hdf5", name)
    assert "another file" in refused(tmp_path / "x.hdf5")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        noise(4).tofile(tmp_path / "raw")
        file.create_dataset("iq", (4,), "c8", external=[(str(tmp_path / "raw"), 0, 32)])
        file.create_dataset("more", data=noise(40))
    assert "in other files" in refused(tmp_path / "x.hdf5", variable="iq")
