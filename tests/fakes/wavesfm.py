"""Tiny data sets in the published layouts of the WavesFM and LatentWave tasks."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from PIL import Image

from wfm_datasets.wavesfm import WavesFMBuilder


def read_all(builder: WavesFMBuilder) -> np.ndarray[Any, Any]:
    """Scan the files, and make every row of the input array."""
    scan = builder.reader.scan()
    return builder.reader.rows(0, len(scan.stratum), scan.state)


ACTIVITIES = ("box", "circle", "clean", "fall", "run", "walk")
SIGNALS = ("bluetooth", "lora", "RS41-Radiosonde", "wifi")


def csi(seed: int) -> np.ndarray[Any, Any]:
    """One recording of WiFi CSI amplitudes, (342, 2000)."""
    rng = np.random.default_rng([7, seed])
    values = np.abs(rng.standard_normal((342, 1)) * 20 + np.sin(np.arange(2000) / (20 + seed)) * 5)
    return values.astype(np.float32)


def ntu_fi(folder: Path, per_class: int = 2, names: Sequence[str] = ACTIVITIES) -> Path:
    """`{train_amp,test_amp}/<class>/*.mat`, MATLAB v5."""
    for part, count in (("train_amp", 2 * per_class), ("test_amp", per_class)):
        for number, name in enumerate(names):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                seed = number * 1000 + index * 2 + (part == "test_amp")
                scipy.io.savemat(folder / part / name / f"{name}{index}.mat", {"CSIamp": csi(seed)})
    return folder


def commrad(folder: Path, recordings: int = 8, slices: int = 2, shape: tuple[int, int] = (20, 30)) -> Path:
    """`<label>_<recording>_<slice>.png`, RGB."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in SIGNALS:
        for recording in range(recordings):
            for part in range(slices):
                pixels = rng.integers(0, 255, (*shape, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}_rec{recording}_{part}.png")
    return folder


def positioning(folder: Path, n: int = 30, snrs: Sequence[int] = (10, 20, 50), scene: str = "outdoor") -> Path:
    """`dataset_SNR{..}_outdoor.mat` as MATLAB writes v7.3: HDF5, last axis first; the same positions at every SNR."""
    folder.mkdir(parents=True, exist_ok=True)
    place = np.random.default_rng(5).uniform(0, 60, (n, 3))
    for snr in snrs:
        matlab_v73(
            folder / f"dataset_SNR{snr}_{scene}.mat",
            {"features": features(snr, n), "labels/position": place},
        )
    return folder


def features(snr: int, n: int = 30) -> np.ndarray[Any, Any]:
    """Features of one file, (n, 4, 16, 193)."""
    return np.random.default_rng([5, snr]).uniform(0, 1, (n, 4, 16, 193))


def matlab_v73(path: Path, variables: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """MATLAB's 512-byte header before an HDF5 file whose arrays have their axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            made = file.create_dataset(name, data=np.ascontiguousarray(values.T))
            made.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def radcom(path: Path, frames: int = 24) -> Path:
    """Root data sets named by tuples, 128 I then 128 Q."""
    kinds = (("bpsk", "satcom"), ("fmcw", "radar-altimeter"), ("pulsed", "airborne-range"))
    rng = np.random.default_rng(11)
    with h5py.File(path, "w") as file:
        for modulation, signal in kinds:
            for snr in (-4, 10):
                for index in range(frames):
                    file[str((modulation, signal, snr, index))] = rng.standard_normal(256).astype(np.float32)
    return path


def rml_arrays(frames: int = 40) -> dict[tuple[str, int], np.ndarray[Any, Any]]:
    """The dict of RML2016 and RML22, with fewer frames."""
    rng = np.random.default_rng(13)
    return {
        (name, snr): rng.standard_normal((frames, 2, 128)).astype(np.float32)
        for name in ("QPSK", "AM-SSB", "8PSK")
        for snr in (-20, 0, 18)
    }


def python2_pickle(arrays: Mapping[tuple[str, int], np.ndarray[Any, Any]], *, text: bool = False) -> bytes:
    """What Python 2's cPickle writes: protocol 2, or `text` with every string escaped as protocol 0 does."""

    def string(value: bytes) -> bytes:
        if text:
            escaped = "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in value)
            return f"S'{escaped}'\n".encode()
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def integer(value: int) -> bytes:
        return f"I{value}\n".encode() if text else b"J" + struct.pack("<i", value)

    made = [b"" if text else b"\x80\x02", b"(dp1\n" if text else b"}q\x01"]
    for (name, snr), array in arrays.items():
        data = np.ascontiguousarray(array, "<f4")
        shape = b"(" + b"".join(integer(size) for size in data.shape) + b"t"
        made += [
            b"(" + string(name.encode()) + integer(snr) + b"t",
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integer(0) + b"t" + string(b"b") + b"tR",
            b"(" + integer(1) + shape + b"cnumpy\ndtype\n(" + string(b"f4") + integer(0) + integer(1) + b"tR",
            b"(" + integer(3) + string(b"<") + b"NNN" + 2 * integer(-1) + integer(0) + b"tb",
            (b"I00\n" if text else b"\x89") + string(data.tobytes()) + b"tb",
            b"s",
        ]
    return b"".join([*made, b"."])


def powder(folder: Path, chunks: int = 3) -> Path:
    """`{4G,5G}_Day_{1,2}_<transmitter>_s{1..3}.bin` with their .json; the last chunk is not whole."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(17)
    for standard in ("4G", "Wifi"):
        for day in (1, 2):
            for device in ("bes", "browning", "honors", "meb"):
                for take in (1, 2, 3):
                    stem = folder / f"{standard}_Day_{day}_{device}_s{take}"
                    values = rng.standard_normal((chunks * 512 + 100, 2)).astype(np.float32)
                    values.tofile(stem.with_suffix(".bin"))
                    meta = {
                        "global": {"core:datatype": "cf32_le", "core:sample_rate": 5e6},
                        "captures": [{"core:sample_start": 0, "core:center_frequency": 2.685e9}],
                        "annotations": [{"core:sample_start": 0, "transmitter": {"core:location": device}}],
                    }
                    stem.with_suffix(".json").write_text(json.dumps(meta))
    return folder


def icarus(folder: Path, per_kind: int = 6) -> Path:
    """`Batch1_{5,10}MHz/{Metadata/*.csv,IQ/*.bin}` in f32, i16 and i8, told apart by the file size alone."""
    rng = np.random.default_rng(19)
    for band, dtype in ((5, "<f4"), (10, "<i2"), (10, "i1")):
        root = folder / f"Batch1_{band}MHz"
        for name in ("Metadata", "IQ"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for kind, factor in (("LTE", ""), ("LTE+DSSS", "2"), ("LTE+DSSS", "8")):
            for index in range(per_kind):
                stem = f"{np.dtype(dtype).name}_{factor or 'none'}_{index}"
                samples = 4096 + 10 * index
                values = rng.uniform(-1, 1, 2 * samples) * (1 if dtype == "<f4" else 100)
                values.astype(dtype).tofile(root / "IQ" / f"{stem}.bin")
                duration = f"{samples / 7.68e6:.12g}"
                count = (samples, "") if index % 2 else ("", duration)
                (root / "Metadata" / f"{stem}.csv").write_text(
                    "Sampling_Rate,No_of_Samples,Frameduration,Signal_Type,DSSS_Mod\n"
                    f"7680000,{count[0]},{count[1]},{kind},{factor}\n"
                )
    return folder


def response(*key: int, length: int = 12) -> np.ndarray[Any, Any]:
    """An impulse response, complex64."""
    return np.random.default_rng([23, *key]).standard_normal((length, 2)).astype(np.float32) @ np.array([1, 1j], "c8")


def uwb_indoor(folder: Path, locations: int = 6) -> Path:
    """`environmentX/data.json`; environment 1 lacks anchor A3, location 0 lacks one repetition of A1."""
    for room in (0, 1):
        measurements = {}
        for place in range(locations):
            anchors: dict[str, dict[str, list[dict[str, Any]]]] = {}
            for anchor in (1, 2) if room else (1, 2, 3):
                anchors[f"A{anchor}"] = {
                    str(channel): [
                        {
                            "tag_id": "0x4", "anchor_id": f"A{anchor}", "x_tag": place, "nlos": 0, "fp_index": 7.5,
                            "cir": [str(complex(v)) for v in response(room, place, anchor, channel, copy)],
                        }
                        for copy in range(1 if (place, anchor) == (0, 1) else 2)
                    ]
                    for channel in (1, 5)
                }  # fmt: skip
            measurements[f"{place}.50_{2 * room}.25_1.2"] = anchors
        path = folder / f"environment{room}" / "data.json"
        path.parent.mkdir(parents=True)
        head = {"path": ["0.5_1_2", "1_1_2"], "anchors": {"A1": {"x": 0.0}}, "channels": {"ch1": {"cfreq": 3.5e9}}}
        path.write_text(json.dumps(head | {"measurements": measurements, "after": {"note": "x"}}, indent=room or None))
    return folder


def uwb_industrial(folder: Path, bursts: int = 24) -> Path:
    """`train.jsonl` and `test.jsonl`: the published table as JSON lines; every fourth burst has too few anchors."""
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        lines = []
        for burst in range(bursts):
            for anchor in range(3 if burst % 4 == 3 else 5):
                values = response(part == "test", burst, anchor, length=10)
                row = {
                    "anch_id": anchor, "cir_real": values.real.tolist(), "cir_imag": values.imag.tolist(),
                    "ref_x": 0.5 * burst, "ref_y": 2.0, "rec_time": 1000 + burst, "burst_id": burst,
                }  # fmt: skip
                lines.append(json.dumps(row))
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
