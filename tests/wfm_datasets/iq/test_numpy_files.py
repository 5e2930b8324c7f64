"""NumPy files: the layout rule in closed form, mapped and decoded, and what is never opened."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wfm_cli.errors import InputError
from wfm_datasets.iq.formats.numpy_files import recognise, recordings
from wfm_datasets.iq.recording import Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions

AUTO = ReadOptions()
RNG = np.random.default_rng(0)
Z = (RNG.normal(size=(6, 3, 40)) + 1j * RNG.normal(size=(6, 3, 40))).astype(np.complex64)
"""(example, channel, time)."""
ONE, SOLO = Z[:, :1], Z[:1, :1]
COUNTS = RNG.integers(-1000, 1000, (6, 40, 2)).astype(np.int16)
BYTES = (COUNTS // 8 + 128).astype(np.uint8)
COUNTED = ((COUNTS[..., 0] + 1j * COUNTS[..., 1]) / 32768)[:, None]


def parts(values: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.stack([values.real, values.imag], axis)


def record(names: tuple[str, str], first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    made = np.zeros(first.shape, [(names[0], first.dtype), (names[1], second.dtype)])
    made[names[0]], made[names[1]] = first, second
    return made


HALF = parts(Z[:, 0], 1).astype(np.float16)
CASES: dict[str, tuple[NDArray[Any], NDArray[Any], str, str]] = {
    "(L,)": (Z[0, 0], SOLO, "cf32_le", "flat"),
    "(L, 1)": (Z[0, 0][:, None], SOLO, "cf32_le", "flat"),
    "(N, L)": (Z[:, 0], ONE, "cf32_le", "flat"),
    "(N, C, L)": (Z, Z, "cf32_le", "flat"),
    "double": (Z[:, 0].astype(np.complex128), ONE, "cf64_le", "flat"),
    "big endian": (Z[:, 0].astype(">c8"), ONE, "cf32_be", "flat"),
    "(2, L)": (parts(Z[0, 0], 0), SOLO, "cf32_le", "flat"),
    "(L, 2)": (parts(Z[0, 0], 1), SOLO, "cf32_le", "flat"),
    "(N, 2, L)": (parts(Z[:, 0], 1), ONE, "cf32_le", "flat"),
    "(N, L, 2)": (parts(Z[:, 0], 2), ONE, "cf32_le", "flat"),
    "(N, C, 2, L)": (parts(Z, 2), Z, "cf32_le", "flat"),
    "(N, C, L, 2)": (parts(Z, 3), Z, "cf32_le", "flat"),
    "Fortran (2, L)": (np.asfortranarray(parts(Z[0, 0], 0)), SOLO, "cf32_le", "flat"),
    "Fortran (L, 2)": (np.asfortranarray(parts(Z[0, 0], 1)), SOLO, "cf32_le", "flat"),
    "Fortran (N, L)": (np.asfortranarray(Z[:, 0]), ONE, "cf32_le", "memory"),
    "Fortran (N, 2, L)": (np.asfortranarray(parts(Z[:, 0], 1)), ONE, "cf32_le", "memory"),
    "integers": (COUNTS, COUNTED, "ci16_le", "flat"),
    "unsigned": (BYTES, (BYTES - 128.0).view(np.complex128)[..., 0][:, None] / 128, "cu8", "flat"),
    "record": (record(("re", "im"), COUNTS[..., 0], COUNTS[..., 1]), COUNTED, "ci16_le", "flat"),
    "record, Q first": (record(("Q", "I"), Z[:, 0].imag, Z[:, 0].real), ONE, "cf32_le", "flat"),
    "half": (HALF, (HALF[:, 0].astype(np.float32) + 1j * HALF[:, 1].astype(np.float32))[:, None], "cf32_le", "memory"),
}  # fmt: skip


def check(made: Recording, truth: NDArray[Any]) -> None:
    assert (made.examples, made.channels, made.samples) == truth.shape
    which, starts = np.repeat(np.arange(made.examples), 3), np.tile([0, 5, 27], made.examples)
    got = open_windows(from_key(made.key))(which, starts, 13)
    want = np.stack([truth[e, :, s : s + 13] for e, s in zip(which, starts, strict=True)])
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_layouts(tmp_path: Path, case: str) -> None:
    array, truth, datatype, backend = CASES[case]
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "stored.npz", data=array)
    np.savez_compressed(tmp_path / "packed.npz", data=array)
    for name in ("x.npy", "stored.npz", "packed.npz"):
        path = tmp_path / name
        assert recognise(path, path.read_bytes()[:8192])
        (made,) = recordings(path, AUTO)
        assert (made.name, made.datatype) == (path.stem, datatype)
        assert made.backend == ("memory" if name == "packed.npz" else backend)
        check(made, truth)


def test_the_layout_option(tmp_path: Path) -> None:
    square = parts(Z[:, 0, :2], 1)  # (6, 2, 2)
    path = tmp_path / "x.npy"
    np.save(path, square)
    with pytest.raises(InputError, match="two axes have length 2") as caught:
        recordings(path, AUTO)
    assert "--layout" in (caught.value.hint or "")
    for layout, truth in (("parts_first", Z[:, 0, :2]), ("parts_last", square[..., 0] + 1j * square[..., 1])):
        (made,) = recordings(path, ReadOptions(layout=layout))  # type: ignore[arg-type]
        got = open_windows(made)(np.arange(6), np.zeros(6, np.int64), 2)[:, 0]
        np.testing.assert_array_equal(got, truth)
    np.save(path, Z[:, 0].real)
    with pytest.raises(InputError, match="no axis of length 2"):
        recordings(path, AUTO)
    (made,) = recordings(path, ReadOptions(layout="samples"))
    assert made.datatype == "rf32_le"
    check(made, ONE.real + 0j)


def test_labels_and_numbers_of_the_examples(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    names = np.array(["a", "b", "a", "c", "c", "a"])
    np.savez(path, X=parts(Z[:, 0], 1), y=names, snr=np.arange(6), position=RNG.normal(size=(6, 2)), t=np.arange(40.0))
    (made,) = recordings(path, AUTO)
    assert made.name == "x"
    assert sorted(made.columns) == ["label", "snr_db"]
    assert made.columns["label"].tolist() == names.tolist()
    assert made.columns["snr_db"].tolist() == list(range(6))
    np.savez_compressed(path, a=Z[:, 0], b=Z[:2, 0], label=np.array([b"u", b"v"]))
    first, second = recordings(path, AUTO)
    assert [first.name, second.name] == ["x#a", "x#b"]
    assert second.columns["label"].tolist() == ["u", "v"]
    (only,) = recordings(path, ReadOptions(variable="b"))
    check(only, ONE[:2])
    with pytest.raises(InputError, match=r"no array 'z'"):
        recordings(path, ReadOptions(variable="z"))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must never be printed",)


def test_pickles_are_never_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([Bomb(), 1], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled Python objects"):
        recordings(path, AUTO)
    np.savez(tmp_path / "x.npz", bad=np.array([Bomb()], dtype=object), good=Z[0, 0])
    assert [made.name for made in recordings(tmp_path / "x.npz", AUTO)] == ["x"]
    bare = pickle.dumps(Bomb())
    path.write_bytes(b"\x93NUMPY" + bare)
    with pytest.raises(InputError, match="damaged"):
        recordings(path, AUTO)
    assert capsys.readouterr().out == ""


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (header("{'descr': '<c8', 'fortran_order': False, 'shape': (99999999999999,)}"), "damaged"),
        (header("{'descr': '<c8', 'fortran_order': False, 'shape': (-1,)}"), "damaged"),
        (header("{'descr': '<c8', 'fortran_order': False, 'shape': (0,)}"), "is empty"),
        (header("{'descr': '<c8', 'fortran_order': False}"), "damaged"),
        (header("__import__('os').system('true')"), "damaged"),
        (header("{'descr': '<U4', 'fortran_order': False, 'shape': (2, 2)}") + bytes(64), "numbers of type|two axes"),
        (header("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 9)}") + bytes(144), "numbers of type int64"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of 4294967295 bytes"),
        (b"\x93NUMPY", "damaged"),
    ],
)
def test_headers_that_make_no_sense(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=word):
        recordings(path, AUTO)


def test_damaged_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=Z[:, 0])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged"):
        recordings(path, AUTO)
    content = io.BytesIO()
    np.save(content, Z[:, 0])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content.getvalue()[:-100])
    with pytest.raises(InputError, match="by its header"):
        recordings(path, AUTO)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "words")
    with pytest.raises(InputError, match="no array of I/Q"):
        recordings(path, AUTO)


def test_unfinite_numbers_are_refused(tmp_path: Path) -> None:
    bad = Z[:, 0].copy()
    bad[2, 7] = np.inf
    for name, save in (("x.npy", np.save), ("x.npz", np.savez_compressed)):
        save(tmp_path / name, bad)
        with pytest.raises(InputError, match="sample 7 of example 2 is NaN or infinite"):
            recordings(tmp_path / name, AUTO)
