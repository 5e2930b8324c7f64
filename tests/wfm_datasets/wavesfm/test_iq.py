"""Pickles, RadCom, POWDER and ICARUS against the numbers that were put into the files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.fakes import wavesfm as fakes
from tests.wfm_datasets.wavesfm.conftest import Make
from wfm_cli.errors import InputError
from wfm_datasets.wavesfm.pickled import scan

ARRAYS = fakes.rml_arrays()
WRITERS = {
    "python 2, protocol 2": lambda d: fakes.python2_pickle(d),
    "python 2, protocol 0": lambda d: fakes.python2_pickle(d, text=True),
    **{f"python 3, protocol {p}": (lambda d, p=p: pickle.dumps(d, p)) for p in range(6)},
    "ordered": lambda d: pickle.dumps(OrderedDict(d), 2),
    "numpy keys, big endian": lambda d: pickle.dumps({(m, np.int64(s)): a.astype(">f8") for (m, s), a in d.items()}, 4),
}


def columns(plan) -> dict[str, np.ndarray]:
    return {spec.name: values for spec, values in plan.columns}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_form_of_pickle_gives_the_same_frames(writer: str, builder: Make, tmp_path: Path) -> None:
    (tmp_path / "RML22.pkl").write_bytes(WRITERS[writer](ARRAYS))
    made = builder("rml", tmp_path)
    plan = made.plan()
    got, col = made.rows(0, plan.samples, plan.state)["iq"], columns(plan)
    assert got.shape == (360, 1, 128)
    names = next(spec for spec, _ in plan.columns if spec.name == "labels/modulation").attrs["classes"]
    for (name, snr), values in ARRAYS.items():
        mine = (col["labels/modulation"] == names.index(name)) & (col["meta/snr_db"] == snr)
        np.testing.assert_array_equal(got[mine][:, 0].real, values[:, 0])
        np.testing.assert_array_equal(got[mine][:, 0].imag, values[:, 1])


def test_published_scale_of_rml(builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    for name, std in (("RML22.01A", (2.925, 2.924)), ("RML2016.10a_dict.pkl", (0.0058, 0.0062))):
        shutil.copy(raw["rml"], tmp_path / name)
        plan = builder("rml", tmp_path / name).plan()
        file = builder("rml", tmp_path / name).rows(0, 3, plan.state)["iq"]
        scaled = builder("rml", tmp_path / name, normalise="wavesfm").rows(0, 3, plan.state)["iq"]
        np.testing.assert_allclose(scaled.real, file.real / std[0], rtol=1e-6)
        np.testing.assert_allclose(scaled.imag, file.imag / std[1], rtol=1e-6)


def test_no_array_stays_in_memory(tmp_path: Path, builder: Make) -> None:
    arrays = {(f"m{i}", 0): np.ones((200, 2, 128), np.float32) for i in range(20)}
    path = tmp_path / "RML22.pkl"
    path.write_bytes(fakes.python2_pickle(arrays))
    tracemalloc.start()
    made = builder("rml", path)
    made.rows(0, 10, made.plan().state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * path.stat().st_size


class Evil:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return os.system, (f"touch {self.flag}",)


def test_a_pickle_never_runs_anything(builder: Make, tmp_path: Path) -> None:
    flag, path = tmp_path / "ran", tmp_path / "x.pkl"
    objects = np.empty(1, object)
    objects[0] = 1
    cases = {
        "system": {("a", 1): Evil(flag)},
        "object|instruction|array": {("a", 1): objects},
        "Fraction|instruction": {("a", 1): __import__("fractions").Fraction(1, 2)},
        "instruction": {("a", 1): [1, 2, 3]},
    }
    for words, value in cases.items():
        for protocol in range(6):
            path.write_bytes(pickle.dumps(value, protocol))
            with pytest.raises(InputError, match=r"x\.pkl: .*(refused|holds no dict)") as caught:
                builder("rml", path).plan()
            assert any(word in caught.value.message for word in words.split("|")), (caught.value.message, protocol)
            assert "\n" not in caught.value.message
    assert not flag.exists()


GOOD = fakes.python2_pickle({("QPSK", 0): np.ones((4, 2, 16), "f4")})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or truncated"),
        (GOOD[:-40], "damaged or truncated"),
        (GOOD[:-1], "damaged or truncated"),
        (b"PK\x03\x04 a zip", "damaged or truncated|refused"),
        (pickle.dumps([1, 2]), "refused|no dict"),
        (pickle.dumps({}), "no dict of arrays"),
        (pickle.dumps({"QPSK": np.ones((4, 2, 1600), "f4")}), "is not .modulation, snr."),
        (pickle.dumps({("QPSK", 0): np.ones((4, 1600), "f4")}), "not .n, 2, length."),
        (pickle.dumps({("QPSK", 0): np.ones((4, 2, 1600), "i4")}), "not .n, 2, length."),
        (pickle.dumps({("Q", 0): np.ones((40, 2, 160), "f4"), ("Q", 2): np.ones((40, 2, 80), "f4")}), "entry .'Q', 2."),
        (pickle.dumps({("Q", 0): np.asfortranarray(np.random.default_rng(0).random((40, 2, 160)))}), "Fortran"),
    ],
)
def test_bad_pickles(content: bytes, words: str, builder: Make, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.pkl: .*({words})") as caught:
        builder("rml", tmp_path).plan()
    assert "\n" not in caught.value.message


def test_every_truncation_of_a_pickle_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    for whole in (GOOD, pickle.dumps({("Q", 0): np.ones((2, 2, 8), "f4")}, 5)):
        for stop in range(0, len(whole), 3):
            path.write_bytes(whole[:stop])
            with pytest.raises(InputError):
                scan(path)


def test_nan_in_a_pickle(builder: Make, tmp_path: Path) -> None:
    arrays = {**ARRAYS, ("QPSK", 0): np.full((40, 2, 128), np.nan, np.float32)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(arrays))
    made = builder("rml", tmp_path)
    plan = made.plan()
    with pytest.raises(InputError, match=r"x\.pkl: frame among rows \d+ to \d+ holds NaN"):
        made.rows(0, plan.samples, plan.state)


@pytest.mark.real
def test_a_pickle_of_the_demo_with_tensors_inside_is_refused(real_data: Path) -> None:
    files = sorted((real_data / "lwm").glob("*.p"))
    assert files
    for path in files:
        with pytest.raises(InputError, match=r"refused|damaged|no dict"):
            scan(path)


def test_radcom_frames(builder: Make, raw: dict[str, Path]) -> None:
    made = builder("radcom")
    plan = made.plan()
    got, col = made.rows(0, plan.samples, plan.state)["iq"], columns(plan)
    classes = {spec.name: spec.attrs.get("classes") for spec, _ in plan.columns}
    assert classes["labels/waveform"] == ["bpsk, satcom", "fmcw, radar-altimeter", "pulsed, airborne-range"]
    with h5py.File(raw["radcom"]) as file:
        frame = file["('fmcw', 'radar-altimeter', 10, 7)"][()]
    mine = np.flatnonzero((col["labels/waveform"] == 1) & (col["meta/snr_db"] == 10))
    np.testing.assert_array_equal(got[mine[7], 0].real, frame[:128])
    np.testing.assert_array_equal(got[mine[7], 0].imag, frame[128:])
    assert [classes["labels/signal_type"][n] for n in col["labels/signal_type"][[0, -1]]] == [
        "satcom",
        "airborne-range",
    ]
    with pytest.raises(InputError, match="published constants of radcom"):
        builder("radcom", normalise="wavesfm")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("frames", np.ones(256, "f4"), "is not named as a tuple of four"),
        ("__import__('os').system('x')", np.ones(256, "f4"), "is not named as a tuple of four"),
        ("('a', 'b', 0, 0)", np.ones(100, "f4"), "not 256 floats"),
        ("('a', 'b', 0, 0)", np.full(256, np.inf, "f4"), "holds NaN or infinity"),
    ],
)
def test_bad_radcom(name: str, values: np.ndarray, words: str, builder: Make, tmp_path: Path) -> None:
    fakes.radcom(tmp_path / "x.hdf5")
    with h5py.File(tmp_path / "x.hdf5", "a") as file:
        file[name] = values
    with pytest.raises(InputError, match=rf"x\.hdf5: .*{words}") as caught:
        fakes.read_all(builder("radcom", tmp_path))
    assert "\n" not in caught.value.message
    (tmp_path / "x.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="damaged or truncated"):
        builder("radcom", tmp_path).plan()


def test_powder_cuts(builder: Make, raw: dict[str, Path]) -> None:
    made = builder("rfp")
    plan = made.plan()
    col = columns(plan)
    assert plan.samples == 2 * 2 * 4 * 3 * 3
    stems = next(spec for spec, _ in plan.columns if spec.name == "meta/recording").attrs["classes"]
    row = int(
        np.flatnonzero((col["meta/recording"] == stems.index("Wifi_Day_2_meb_s3")) & (col["meta/start"] == 512))[0]
    )
    want = np.fromfile(raw["rfp"] / "Wifi_Day_2_meb_s3.bin", np.complex64)[512:1024]
    np.testing.assert_array_equal(made.rows(row, row + 1, plan.state)["iq"][0, 0], want)
    names = ("labels/transmitter", "meta/standard", "meta/day", "meta/sample_rate_hz", "meta/centre_hz")
    assert [col[name][row] for name in names] == [3, 2, 2, 5e6, 2.685e9]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.with_suffix(".json").unlink(), r"s1\.json: is missing"),
        (lambda f: f.with_suffix(".json").write_text("{"), r"s1\.json: damaged"),
        (lambda f: f.with_suffix(".json").write_text("[1]"), r"s1\.json: damaged"),
        (lambda f: f.with_suffix(".json").write_text(json.dumps({"global": {}})), "sample_rate is missing"),
        (
            lambda f: f.with_suffix(".json").write_text(json.dumps({"global": {"core:datatype": "ci16_le"}})),
            "core:datatype is ci16_le, expected cf32",
        ),
        (lambda f: f.write_bytes(f.read_bytes()[:-3]), r"s1\.bin: damaged or truncated"),
        (lambda f: f.write_bytes(f.read_bytes()[:80]), r"s1\.bin: damaged or truncated"),
        (lambda f: f.write_bytes(np.full(1024, np.nan, "c8").tobytes()), r"s1\.bin: samples 0 to 1023 holds NaN"),
        (lambda f: f.rename(f.with_name("5G_meb.bin")), r"5G_meb\.bin: its name says no standard"),
    ],
)
def test_bad_powder(damage, words: str, builder: Make, tmp_path: Path) -> None:
    folder = fakes.powder(tmp_path / "p")
    damage(folder / "4G_Day_1_bes_s1.bin")
    with pytest.raises(InputError, match=words) as caught:
        fakes.read_all(builder("rfp", folder))
    assert "\n" not in caught.value.message


def test_icarus_types_crops_and_labels(builder: Make, raw: dict[str, Path]) -> None:
    made = builder("interf")
    plan = made.plan()
    col = columns(plan)
    got = made.rows(0, plan.samples, plan.state)["iq"][:, 0]
    spec = {spec.name: spec for spec, _ in plan.columns}
    assert spec["labels/spreading"].attrs["classes"] == ["LTE", "LTE + DSSS 2", "LTE + DSSS 4", "LTE + DSSS 8"]
    paths = [record["path"] for record in plan.sources]
    for stem, kind, full, level in (
        ("float32_none_3", "f4", 1, 0),
        ("int16_8_2", "i2", 32768, 3),
        ("int8_2_5", "i1", 128, 1),
    ):
        row = next(i for i, path in enumerate(paths) if stem in path)
        (file,) = raw["interf"].rglob(f"{stem}.bin")
        values = np.fromfile(file, kind).astype("f4").view("c8") / np.float32(full)
        first = (len(values) - 4096) // 2
        np.testing.assert_array_equal(got[row], values[first : first + 4096])
        assert (col["labels/spreading"][row], col["labels/interference"][row]) == (level, level > 0)
    scaled = builder("interf", normalise="wavesfm").rows(0, 2, plan.state)["iq"][:, 0]
    np.testing.assert_allclose(scaled.real, got[:2].real / 0.00275, rtol=1e-5)


HEADER = "Sampling_Rate,No_of_Samples,Frameduration,Signal_Type,DSSS_Mod\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"\.csv: is missing"),
        ("a,b\n1,2\n", "1 rows with columns a, b"),
        ("", "0 rows with columns nothing"),
        (HEADER + "x,,1,LTE,\n", "Sampling_Rate is 'x'"),
        (HEADER + "1e6,4000,,LTE,\n", "neither f32, i16 nor i8"),
        (HEADER + "1e6,2048,,LTE,\n", "fewer than the 4096|neither"),
        (HEADER + "1e6,4096,,LTE+DSSS,3\n", "DSSS_Mod is 3, no power of two"),
        (HEADER + "1e6,4096,,LTE+DSSS,\n", "DSSS_Mod is ''"),
    ],
)
def test_bad_icarus(content: str | None, words: str, builder: Make, tmp_path: Path) -> None:
    folder = fakes.icarus(tmp_path / "i")
    side = folder / "Batch1_5MHz" / "Metadata" / "float32_none_0.csv"
    side.unlink()
    if content is not None:
        side.write_text(content)
    with pytest.raises(InputError, match=rf"float32_none_0.*({words})") as caught:
        builder("interf", folder).plan()
    assert "\n" not in caught.value.message


def test_nan_in_icarus(builder: Make, tmp_path: Path) -> None:
    folder = fakes.icarus(tmp_path / "i")
    np.full(8192, np.nan, "f4").tofile(folder / "Batch1_5MHz" / "IQ" / "float32_none_0.bin")
    made = builder("interf", folder)
    plan = made.plan()
    with pytest.raises(InputError, match=r"float32_none_0\.bin: samples 0 to 4095 holds NaN"):
        made.rows(0, plan.samples, plan.state)
