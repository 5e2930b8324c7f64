"""Windows of flat files against samples that are known, and against slices taken one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.fakes.iq import DATATYPES, Iq, encode, steps
from wfm_cli.errors import InputError
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording, from_key, open_windows


def flat(path: Path, datatype: str, samples: int, channels: int = 1, examples: int = 1, **layout: Any) -> Recording:
    return Recording(
        path.stem, path, "raw", datatype, samples, channels, examples, layout={**stamp(path), **layout}
    )  # fmt: skip


def read(recording: Recording, starts: list[int], length: int, examples: list[int] | None = None) -> NDArray[Any]:
    index = np.zeros(len(starts), np.int64) if examples is None else np.array(examples, np.int64)
    return open_windows(from_key(recording.key))(index, np.array(starts, np.int64), length)


def slices(iq: Iq, starts: list[int], length: int) -> NDArray[Any]:
    """One by one: (T, n) -> (B, n, length)."""
    return np.stack([iq[start : start + length].T for start in starts])


ALL = (*DATATYPES, "ci24_le", "ci24_be", "cu24_le")


@pytest.mark.parametrize(
    ("datatype", "order"), [*((name, "iq") for name in ALL), *((name, "qi") for name in ALL if name[0] == "c")]
)
def test_what_is_written_is_what_is_read(tmp_path: Path, datatype: str, order: str) -> None:
    iq = steps(60, 3, datatype=datatype)
    path = tmp_path / "x.bin"
    path.write_bytes(b"header!" + encode(iq, datatype, order))
    made = read(flat(path, datatype, 60, 3, offset=7, order=order), [0, 11, 50], 10)
    assert made.dtype == np.complex64
    assert made.shape == (3, 3, 10)
    tolerance = 2**-24 if datatype[1:] in ("i32_le", "i32_be", "u32_le", "u32_be") else 0  # float32 holds 24 bits
    np.testing.assert_allclose(made, slices(iq, [0, 11, 50], 10), rtol=0, atol=tolerance)


def test_extremes_of_integers_are_full_scale(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(np.array([-32768, 32767, 0, 1], "<i2").tobytes())
    made = read(flat(path, "ci16_le", 2), [0], 2)[0, 0]
    assert made.tolist() == [complex(-1, 32767 / 32768), complex(0, 1 / 32768)]
    path.write_bytes(bytes([0, 255, 128, 127]))
    np.testing.assert_array_equal(read(flat(path, "cu8", 2), [0], 2)[0, 0], np.array([-128 + 127j, -1j]) / 128)
    centred = read(flat(path, "cu8", 2, zero=127.5), [0], 2)[0, 0]
    np.testing.assert_array_equal(centred, np.array([-127.5 + 127.5j, 0.5 - 0.5j]) / 128)


def test_planes_blocks_of_channels_and_examples(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth = (rng.normal(size=(5, 3, 40)) + 1j * rng.normal(size=(5, 3, 40))).astype(np.complex64)
    path = tmp_path / "x.bin"
    planar = np.stack([truth.real, truth.imag], axis=1)  # example, part, channel, time
    path.write_bytes(planar.tobytes())
    block = flat(path, "cf32_le", 40, 3, 5, plane_bytes=480, channel_bytes=160, example_bytes=960)
    which, starts = [4, 0, 2, 2], [0, 30, 7, 8]
    want = np.stack([truth[e, :, s : s + 10] for e, s in zip(which, starts, strict=True)])
    np.testing.assert_array_equal(read(block, starts, 10, which), want)
    path.write_bytes(truth.transpose(0, 2, 1).tobytes())
    np.testing.assert_array_equal(read(flat(path, "cf32_le", 40, 3, 5), starts, 10, which), want)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_equal_slices(tmp_path: Path, data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(["cf32_le", "ci16_be", "cu8", "ci24_le", "ri16_le"]))
    channels = data.draw(st.integers(1, 3))
    iq = steps(data.draw(st.integers(1, 300)), channels, 3, datatype)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(iq) - 1)), max_size=4)) | {0}) if len(iq) > 1 else [0]
    content, segments = b"", []
    for low, high in zip(cuts, [*cuts[1:], len(iq)], strict=True):
        content += b"\xaa" * data.draw(st.integers(0, 9))
        segments.append([low, len(content)])
        content += encode(iq[low:high], datatype)
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    length = data.draw(st.integers(1, len(iq)))
    if data.draw(st.booleans()):
        starts = list(range(0, len(iq) - length + 1, data.draw(st.integers(1, 50))))
    else:
        starts = data.draw(st.lists(st.integers(0, len(iq) - length), min_size=1, max_size=30))
    made = read(flat(path, datatype, len(iq), channels, segments=segments), starts, length)
    np.testing.assert_array_equal(made, slices(iq, starts, length))


@pytest.mark.parametrize("starts", [[0, 10, 20], [20, 0, 3], [5]])
@pytest.mark.parametrize("datatype", ["cf32_le", "ci16_le"])
def test_windows_are_their_owners(tmp_path: Path, datatype: str, starts: list[int]) -> None:
    iq = steps(30, datatype=datatype)
    path = tmp_path / "x.bin"
    path.write_bytes(encode(iq, datatype))
    made = read(flat(path, datatype, 30), starts, 10)
    assert made.flags.writeable
    assert made.flags.c_contiguous
    path.write_bytes(bytes(path.stat().st_size))
    np.testing.assert_array_equal(made, slices(iq, starts, 10))


def test_many_windows_are_read_block_by_block(tmp_path: Path) -> None:
    iq = steps(70_000, 1, datatype="ci16_le")
    path = tmp_path / "x.bin"
    path.write_bytes(encode(iq, "ci16_le"))
    starts = np.random.default_rng(0).integers(0, 60_000, 90).tolist()  # 90 * 10 000 samples: several blocks
    np.testing.assert_array_equal(read(flat(path, "ci16_le", 70_000), starts, 10_000), slices(iq, starts, 10_000))
    assert read(flat(path, "ci16_le", 70_000), [], 10).shape == (0, 1, 10)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_unfinite_samples_are_refused_with_their_place(tmp_path: Path, value: float, word: str) -> None:
    iq = steps(3 * 50, 1).astype(np.complex64)
    iq[57] = complex(0, value)
    path = tmp_path / "x.cf32"
    path.write_bytes(iq.tobytes())
    recording = flat(path, "cf32_le", 50, 1, 3)
    assert read(recording, [0], 50, [0]).shape == (1, 1, 50)
    with pytest.raises(InputError, match=rf"x\.cf32: sample 7 of example 1 is .*{word}"):
        read(recording, [0, 5], 20, [0, 1])


def test_large_finite_samples_are_no_mistake_of_the_check(tmp_path: Path) -> None:
    path = tmp_path / "x.cf32"
    path.write_bytes(np.full(64, 3e38, "<f4").tobytes())  # their sum is infinite in float32
    assert read(flat(path, "cf32_le", 32), [0], 32)[0, 0, 0] == np.complex64(3e38 + 3e38j)
    path.write_bytes(np.full(64, 1e300, "<f8").tobytes())  # beyond single precision
    with pytest.raises(InputError, match="sample 0 is NaN or infinite"):
        read(flat(path, "cf64_le", 32), [0], 32)


def test_files_that_change_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(80))
    recording = flat(path, "ci16_le", 20)
    reader = open_windows(recording)
    zero = np.zeros(1, np.int64)
    reader(zero, zero, 20)
    path.write_bytes(bytes(40))
    with pytest.raises(InputError, match=r"x\.bin: has changed since it was scanned \(80 -> 40 bytes\)"):
        reader(zero, zero, 20)
    path.write_bytes(bytes(80))
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="written to"):
        open_windows(recording)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        open_windows(recording)


@pytest.mark.parametrize(("start", "length", "example"), [(-1, 5, 0), (16, 5, 0), (0, 21, 0), (0, 5, 1), (0, 0, 0)])
def test_windows_beyond_the_samples_are_a_mistake_of_the_caller(
    tmp_path: Path, start: int, length: int, example: int
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(80))
    with pytest.raises(ValueError, match="beyond 1 x 20 samples"):
        read(flat(path, "ci16_le", 20), [start], length, [example])


def test_a_recording_that_says_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(80))
    with pytest.raises(InputError, match="shorter than it says"):
        read(flat(path, "ci16_le", 25), [20], 5)
