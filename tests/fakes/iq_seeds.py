"""The smallest files of every kind of recording that is read: what damage is done to."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from tests.fakes import iq_sets
from tests.fakes.wavesfm import python2_pickle

META: dict[str, Any] = {
    "global": {
        "core:datatype": "cf32_le", "core:version": "1.2.0", "core:sample_rate": 1e6, "core:num_channels": 1,
        "core:offset": 0, "wfm:scenario": "street",
        "core:extensions": [{"name": "wfm", "version": "1.0.0", "optional": True}],
    },
    "captures": [{"core:sample_start": 0, "core:frequency": 1e9, "core:header_bytes": 0},
                 {"core:sample_start": 48, "core:frequency": 1e9}],
    "annotations": [
        {"core:sample_start": 8, "core:sample_count": 24, "core:label": "qpsk", "core:freq_lower_edge": 999.9e6,
         "core:freq_upper_edge": 1000.1e6, "wfm:snr_db": 10.0, "wfm:modulation": "qpsk"},
        {"core:sample_start": 40, "core:sample_count": 8, "core:comment": "x"},
    ],
}  # fmt: skip


def iq(count: int = 96, seed: int = 0) -> NDArray[np.complex64]:
    """A tone in weak noise."""
    rng = np.random.default_rng(seed)
    tone = 0.5 * np.exp(2j * np.pi * 0.1 * np.arange(count))
    return (tone + 0.02 * (rng.standard_normal(count) + 1j * rng.standard_normal(count))).astype(np.complex64)


def parts(kind: str, scale: float, zero: float = 0.0, count: int = 400, seed: int = 0) -> bytes:
    """Interleaved I and Q of another type."""
    return (iq(count, seed).view(np.float32) * scale + zero).astype(kind).tobytes()


def tar(members: Mapping[str, bytes], mode: str = "w", *extra: tarfile.TarInfo) -> bytes:
    """A tar archive with any names, and members without content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return stream.getvalue()


def archive_members(name: str = "x/x", **changes: Any) -> dict[str, bytes]:
    """Metadata and data of one recording as members of an archive."""
    meta = {**META, "global": {**META["global"], **changes}}
    return {f"{name}.sigmf-meta": json.dumps(meta).encode(), f"{name}.sigmf-data": iq().tobytes()}


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A ZIP archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wav(tag: int, bits: int, data: bytes, *, extra: bytes = b"", rate: int = 250_000, riff: bytes = b"RIFF") -> bytes:
    """A WAV file of two tracks; `extra` are chunks before the data."""
    frame = bits // 4
    form = struct.pack("<HHIIHH", tag, 2, rate, rate * frame, frame, bits)
    size = 0xFFFFFFFF if riff == b"RF64" else len(data)
    body = b"WAVE" + extra + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + data
    return riff + struct.pack("<I", 0xFFFFFFFF if riff == b"RF64" else len(body)) + body


def _sigmf(folder: Path) -> None:
    (folder / "x.sigmf-meta").write_text(json.dumps(META))
    (folder / "x.sigmf-data").write_bytes(iq().tobytes())


def _sigmf_headers(folder: Path) -> None:
    captures = [{"core:sample_start": 0, "core:header_bytes": 16}, {"core:sample_start": 50, "core:header_bytes": 8}]
    head = {**META["global"], "core:datatype": "ci16_be", "core:num_channels": 2, "core:dataset": "y.raw"}
    head["core:trailing_bytes"] = 4
    (folder / "y.sigmf-meta").write_text(json.dumps({**META, "global": head, "captures": captures}))
    data = parts(">i2", 2e4, count=200)
    (folder / "y.raw").write_bytes(bytes(16) + data[:400] + bytes(8) + data[400:] + bytes(4))


def _sigmf_collection(folder: Path) -> None:
    _sigmf(folder)
    streams = {"collection": {"core:version": "1.2.0", "core:streams": [{"name": "x", "hash": "0" * 128}]}}
    (folder / "all.sigmf-collection").write_text(json.dumps(streams))


def _archive(name: str, make: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(make())

    return write


def _raw(folder: Path) -> None:
    (folder / "g001_433.92M_250k.cs16").write_bytes(parts("<i2", 20_000))
    (folder / "b.bin").write_bytes(parts("u1", 100, 127.5))
    (folder / "c.cf32").write_bytes(iq(200).tobytes())
    (folder / "HackRF-Light-2_475GHz-2MSps-2MHz.complex16s").write_bytes(parts("i1", 100))


def _compressed(folder: Path) -> None:
    (folder / "a.cs16.gz").write_bytes(gzip.compress(parts("<i2", 20_000)))
    (folder / "b.cu8.bz2").write_bytes(bz2.compress(parts("u1", 100, 127.5)))
    (folder / "c.cf32.xz").write_bytes(lzma.compress(iq(200).tobytes()))
    (folder / "d.coco").write_bytes(bz2.compress(tar({"d.complex": iq(200).tobytes()})))


def _wav(folder: Path) -> None:
    (folder / "a.wav").write_bytes(wav(1, 8, parts("u1", 100, 127.5)))
    auxi = b"auxi" + struct.pack("<I", 64) + struct.pack("<16H", *range(1, 17)) + struct.pack("<8I", *[7_050_000] * 8)
    (folder / "SDRSharp_7050kHz_IQ.wav").write_bytes(wav(1, 16, parts("<i2", 2e4), extra=auxi))
    (folder / "c.wav").write_bytes(wav(3, 32, iq(200).tobytes()))
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 2000, 1600, 400, 0)
    (folder / "d.wav").write_bytes(wav(1, 16, parts("<i2", 2e4), extra=ds64, riff=b"RF64"))
    kiwi = b"".join(
        b"kiwi" + struct.pack("<I", 10) + bytes(10) + b"data" + struct.pack("<I", 400) + parts("<i2", 2e4, count=100)
        for _ in range(3)
    )
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, 12001, 48004, 4, 16)
    (folder / "kiwi_77500_iq.wav").write_bytes(b"RIFF" + struct.pack("<I", len(kiwi) + 28) + b"WAVE" + form + kiwi)


def _numpy(folder: Path) -> None:
    np.save(folder / "line.npy", iq(200))
    np.save(folder / "rows.npy", np.stack([iq(50, seed) for seed in range(4)]))
    np.save(folder / "parts.npy", np.stack([iq(50, seed).view(np.float32).reshape(50, 2).T for seed in range(4)]))
    np.save(folder / "fortran.npy", np.asfortranarray(np.stack([iq(50, seed) for seed in range(4)])))
    labels = np.array(["a", "b", "a", "b"])
    np.savez(folder / "set.npz", x=np.stack([iq(50, seed) for seed in range(4)]), label=labels, snr=np.arange(4.0))
    np.savez_compressed(folder / "packed.npz", iq=iq(200))


def _matlab(folder: Path) -> None:
    value = {"rx": iq(100)[:, None], "fs": 1e6, "name": "qpsk"}
    scipy.io.savemat(folder / "a.mat", value)
    scipy.io.savemat(folder / "b.mat", value, do_compression=True)
    counts = {"x": np.stack([iq(50, seed).view(np.float32).reshape(50, 2).T for seed in range(4)]) * 1000}
    scipy.io.savemat(folder / "c.mat", {"x": counts["x"].astype(np.int16)})


def _matlab73(folder: Path) -> None:
    iq_sets.matlab73(folder / "a.mat", {"rx": iq(100), "fs": 1e6, "name": "qpsk"})
    iq_sets.matlab73(folder / "b.mat", {"rx": iq(100)}, chunked=True, text=b"MATLAB 7.0 MAT-file")


def _hdf5(folder: Path) -> None:
    with h5py.File(folder / "plain.h5", "w") as file:
        file["iq"] = np.stack([iq(50, seed) for seed in range(4)])
        file["sample_rate"] = 1e6
    with h5py.File(folder / "packed.h5", "w") as file:
        file.create_dataset("iq", data=iq(400), chunks=(100,), compression="gzip", shuffle=True)


def _radioml(folder: Path) -> None:
    arrays = {
        (name, snr): np.stack([iq(16, seed).view(np.float32).reshape(16, 2).T for seed in range(3)])
        for name in ("QPSK", "WBFM")
        for snr in (-2, 18)
    }
    (folder / "RML2016.10a_dict.pkl").write_bytes(python2_pickle(arrays))
    (folder / "RML2016.10b.dat").write_bytes(python2_pickle(arrays, text=True))
    (folder / "RML22.01A").write_bytes(pickle.dumps(arrays, 4))


def _radioml2018(folder: Path) -> None:
    iq_sets.radioml2018(folder / "a.hdf5", 24, 16)
    iq_sets.radioml2018(folder / "b.hdf5", 24, 16, chunked=False, column=False)


def _torchsig(folder: Path) -> None:
    iq_sets.torchsig_packed(folder / "packed.h5", iq_sets.signals(3, 40))
    iq_sets.torchsig_homogeneous(folder / "homogeneous.h5", iq_sets.signals(3, 40))


def _torchsig_old(folder: Path) -> None:
    iq_sets.torchsig_indexed(folder / "indexed.h5", iq_sets.signals(2, 40))
    iq_sets.torchsig_grouped(folder / "grouped.h5", iq_sets.crowded(2, 40))
    iq_sets.torchsig_npy(folder / "npy")


def _pairs(folder: Path) -> None:
    iq_sets.oracle(folder, samples=60)
    stem = folder / "4G_Day_1_bes_1"
    Path(f"{stem}.bin").write_bytes(iq().tobytes())
    said = {
        "global": {"core:datatype": "cf32", "core:sample_rate": 7.69e6},
        "captures": {"core:center_frequency": 2.685e9},
        "annotations": {"transmitter": {"core:location": "bes"}, "core:sample_count": 96},
    }
    Path(f"{stem}.json").write_text(json.dumps(said))


def _icarus(folder: Path) -> None:
    (folder / "IQ").mkdir()
    (folder / "Metadata").mkdir()
    (folder / "IQ" / "a.bin").write_bytes(iq().tobytes())
    (folder / "Metadata" / "a.csv").write_text(
        "Sampling_Rate,Frameduration,No_of_Samples,Signal_Type,DSSS_Mod\n1000000,0.000096,96,LTE,2\n"
    )


def _radcom(folder: Path) -> None:
    with h5py.File(folder / "radcom.h5", "w") as file:
        for index in range(4):
            value = iq(32, index)
            file[str(("bpsk", "satcom", 2 * index - 4, index))] = np.concatenate([value.real, value.imag])


SEEDS: dict[str, Callable[[Path], None]] = {
    "sigmf": _sigmf,
    "sigmf-headers": _sigmf_headers,
    "sigmf-collection": _sigmf_collection,
    "sigmf-tar": _archive("x.sigmf", lambda: tar(archive_members())),
    "sigmf-tar-gz": _archive("x.sigmf.gz", lambda: gzip.compress(tar(archive_members()))),
    "sigmf-tar-xz": _archive("x.sigmf.xz", lambda: lzma.compress(tar(archive_members()))),
    "sigmf-zip": _archive("x.sigmf.zip", lambda: zipped(archive_members())),
    "raw": _raw,
    "compressed": _compressed,
    "wav": _wav,
    "numpy": _numpy,
    "matlab": _matlab,
    "matlab73": _matlab73,
    "hdf5": _hdf5,
    "radioml": _radioml,
    "radioml2018": _radioml2018,
    "torchsig": _torchsig,
    "torchsig-old": _torchsig_old,
    "pairs": _pairs,
    "icarus": _icarus,
    "radcom": _radcom,
}
"""What writes the files of one kind into a folder."""
