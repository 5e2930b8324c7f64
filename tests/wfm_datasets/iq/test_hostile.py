"""Files made to do harm: names that leave the folder, bombs, programs in pickles, sizes beyond all bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes import iq_sets
from tests.fakes.hostile import Opened, explore, limited_memory, watched
from tests.fakes.iq_seeds import META, archive_members, iq, tar, wav, zipped
from wfm_cli.errors import InputError
from wfm_cli.main import main
from wfm_datasets.iq import memory
from wfm_datasets.iq.formats import matlab
from wfm_datasets.iq.recording import open_windows
from wfm_datasets.iq.scan import ReadOptions, Scan, scan

OUTSIDE = ("../outside", "../../inside/../outside", "/etc/hosts", "x/../../outside", "..\\outside")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder beside files that nobody may open."""
    for suffix in ("", ".sigmf-data", ".bin", ".h5"):
        (tmp_path / f"outside{suffix}").write_bytes(iq().tobytes())
    (tmp_path / "outside.sigmf-meta").write_text(json.dumps(META))
    made = tmp_path / "inside"
    made.mkdir()
    with limited_memory():
        yield made


def refused(folder: Path, *words: str) -> None:
    """Every file fails or is skipped, none is read; one reason holds the words."""
    found = explore(folder)
    assert isinstance(found, Scan)
    assert not found.recordings
    reasons = " ".join(outcome.reason for outcome in found.outcomes)
    assert not words or any(word in reasons for word in words), reasons


def unreadable(folder: Path) -> None:
    """No file gives a window: refused by the scan, or by the reader."""
    found = explore(folder)
    assert isinstance(found, Scan)
    for recording in found.recordings:
        with pytest.raises(InputError):
            open_windows(recording)(np.zeros(1, np.int64), np.zeros(1, np.int64), min(16, recording.samples))


def test_the_watch_hears_of_files_elsewhere_and_of_memory(folder: Path) -> None:
    with pytest.raises(Opened), watched(folder):
        (folder.parent / "outside").read_bytes()
    with pytest.raises(Opened), watched(folder):
        (folder / ".." / "outside").read_bytes()
    with pytest.raises(AssertionError, match="allocated"), watched(folder):
        np.zeros(100 << 20, np.uint8)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_in_archives_do_not_leave_them(folder: Path, name: str) -> None:
    members = archive_members(name)
    (folder / "a.sigmf").write_bytes(tar(members))
    (folder / "b.sigmf.gz").write_bytes(gzip.compress(tar(members)))
    (folder / "c.sigmf.zip").write_bytes(zipped(members))
    refused(folder, "leaves", "outside")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("suffix", [".sigmf", ".sigmf.xz"])
def test_links_and_devices_in_archives_are_not_followed(folder: Path, kind: bytes, suffix: str) -> None:
    link = tarfile.TarInfo("x/x.sigmf-data")
    link.type, link.linkname = kind, "../../outside.sigmf-data"
    meta = {"x/x.sigmf-meta": archive_members()["x/x.sigmf-meta"]}
    content = tar(meta, "w", link)
    (folder / f"a{suffix}").write_bytes(lzma.compress(content) if suffix.endswith("xz") else content)
    refused(folder, "link or device")


@pytest.mark.parametrize("name", [*OUTSIDE, "outside\0.bin", ".", "..", "", "x" * 5000, "a/" * 3000, "\ud800", 7])
def test_metadata_name_no_data_elsewhere(folder: Path, name: Any) -> None:
    head = {**META["global"], "core:dataset": f"{name}.bin" if isinstance(name, str) and "outside" in name else name}
    (folder / "a.sigmf-meta").write_text(json.dumps({**META, "global": head}))
    refused(folder)


@pytest.mark.parametrize("name", [*OUTSIDE, "", None, 3, {"a": 1}, "x" * 300, "a/" * 3000 + "x", "\ud800", "a\0b"])
def test_collections_name_no_metadata_elsewhere(folder: Path, name: Any) -> None:
    streams = {"collection": {"core:streams": [{"name": name, "hash": "0"}]}}
    (folder / "a.sigmf-collection").write_text(json.dumps(streams))
    refused(folder)


def _external(folder: Path, how: str) -> None:
    """An HDF5 file whose I/Q lie in another one."""
    secret = folder.parent / "outside.h5"
    with h5py.File(secret, "w") as file:
        file["iq"], file["g/iq"] = np.stack([iq(50)] * 4), np.stack([iq(50)] * 4)
    with h5py.File(folder / "a.h5", "w") as file:
        file["sample_rate"] = 1e6
        if how == "link":
            file["iq"] = h5py.ExternalLink(str(secret), "/iq")
        elif how == "group":
            file["g"] = h5py.ExternalLink("../outside.h5", "/g")
        elif how == "storage":
            file.create_dataset("iq", (40,), np.complex64, external=[("../outside.bin", 0, 320)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((4, 50), np.complex64)
            layout[...] = h5py.VirtualSource(str(secret), "iq", (4, 50))
            file.create_virtual_dataset("iq", layout)
        elif how == "soft link":
            file["far"] = h5py.ExternalLink(str(secret), "/")
            file["iq"], file["g"] = h5py.SoftLink("/far/iq"), h5py.SoftLink("far/g")
        else:
            file["iq"] = h5py.SoftLink("/b")
            file["b"] = h5py.SoftLink("/iq")
            file["loop"] = file["/"]


@pytest.mark.parametrize("how", ["link", "group", "storage", "virtual", "soft link", "loop"])
def test_hdf5_files_read_nothing_but_themselves(folder: Path, how: str) -> None:
    _external(folder, how)
    unreadable(folder)
    assert not scan([str(folder)], ReadOptions(variable="g/iq")).recordings
    assert not scan([str(folder)], ReadOptions(variable="iq")).recordings


@pytest.mark.parametrize("name", ["data", "metadata", "index", "component_signals", "metadata/140000"])
def test_torchsig_groups_lie_in_the_file(folder: Path, name: str) -> None:
    whole, secret = folder / "a.h5", folder.parent / "outside.h5"
    iq_sets.torchsig_indexed(whole, iq_sets.signals(2, 40))
    secret.write_bytes(whole.read_bytes())
    with h5py.File(whole, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink(str(secret), f"/{name}")
    refused(folder, "another file", "damaged")


def test_text_of_gigabytes_is_not_read(folder: Path) -> None:
    """A scalar of two billion characters takes a few bytes in a file that never wrote it."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(2**31 - 1)
    scalar = h5py.h5s.create(h5py.h5s.SCALAR)
    with h5py.File(folder / "plain.h5", "w") as file:
        file["iq"] = iq(100)
        h5py.h5d.create(file.id, b"name", kind, scalar)
    iq_sets.torchsig_indexed(folder / "indexed.h5", iq_sets.signals(2, 40))
    iq_sets.torchsig_packed(folder / "packed.h5", iq_sets.signals(2, 40))
    with h5py.File(folder / "indexed.h5", "r+") as file:
        place = next(group for group in file["metadata"].values() if "class_name" in group)
        del place["class_name"]
        h5py.h5d.create(place.id, b"class_name", kind, scalar)
    with h5py.File(folder / "packed.h5", "r+") as file:
        del file["schema"]
        h5py.h5d.create(file.id, b"schema", kind, scalar)
    found = explore(folder)
    assert isinstance(found, Scan)
    assert "plain" in {recording.name for recording in found.recordings}


def _edit(name: str, field: str | None, value: Any) -> Any:
    """Overwrites a table of a packed file."""

    def edit(file: h5py.File) -> None:
        table = file[name][...]
        if field is None:
            table[...] = value
        else:
            table[field] = value
        file[name][...] = table

    return edit


PACKED = [
    _edit("components", None, 0), _edit("parent_records", "parent_id", [0, 0]),
    _edit("parent_records", "parent_id", [1, 0]), _edit("records", "component_count", 2**31),
    _edit("records", "component_count", 6), _edit("records", "shape_count", 65535),
    _edit("records", "data_length", 2**62), _edit("shapes", None, 2**62), _edit("index", None, 2**63),
    _edit("records", "data_offset", 2**64 - 8), _edit("records", "parent_id", 2**63),
    *(_edit("metadata", None, text) for text in ("[]", "1", "null", "", "{", "[" * 3000, '{"items": []}')),
    *(_edit("schema", None, text) for text in ("[]", "1", "{}", "[" * 3000, '{"required_features": 5}')),
    _edit("metadata", None, '{"items": {"sample_rate": NaN, "snr_db": 1e999, "center_freq": "x", "class_name": [1]}}'),
    _edit("metadata", None, '{"items": {"snr_db": {"__torchsig_type__": "ndarray", "data": "gA==", "scalar": true}}}'),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(PACKED)))
def test_tables_of_torchsig_that_contradict_each_other(folder: Path, number: int) -> None:
    iq_sets.torchsig_packed(folder / "a.h5", iq_sets.crowded(3, 40))
    with h5py.File(folder / "a.h5", "r+") as file:
        PACKED[number](file)
    explore(folder)


NAMES = (
    "f1e999_s9e999.bin", f"f{'9' * 30}_s1.92_g0.bin", "g001_433.92M_0k.cs16", "gqrx_20200101_000000_0_0_fc.raw",
    f"gqrx_20200101_000000_{'9' * 200}_1_fc.raw", "-1MSps_x.bin", "0_0_0.iq", "n78.fo35028.fs0M.data", "s1e-400.dat",
    "f0_s0.bin", "u\u00e9_2MSps.cf32", "a b\tc.cf32", "nan_infMHz_2MHz.cf32", "a\nb.cf32", "a\nb.sigmf-meta",
    "bad\udcff_2MSps.cf32", "[red]x[red].cf32", "[bold].cf32", "*.cf32", "[a-b].bin", "#1.cf32",
    "SDRSharp_0kHz_IQ.cf32",
)  # fmt: skip


def test_file_names_of_any_kind(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (folder / os.fsdecode(name.encode("utf-8", "surrogateescape"))).write_bytes(iq(300).tobytes())
    found = explore(folder)
    assert isinstance(found, Scan)
    assert len(found.recordings) >= len(NAMES) - 3
    for path in folder.iterdir():
        explore(folder, inputs=(str(path),))
    monkeypatch.setattr("sys.argv", ["wfm", "show", str(folder)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert "[red]x[red]" in capsys.readouterr().out


class Program:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_execute_nothing(folder: Path, protocol: int) -> None:
    mark = folder.parent / "executed"
    code = f"open({str(mark)!r}, 'w').close()"
    for number, bad in enumerate((Program(os.system, f"touch {mark}"), Program(exec, code), Program(eval, code))):
        content = {("QPSK", 0): np.zeros((2, 2, 16), np.float32), ("QPSK", 2): bad}
        for name in (f"RML2016.10a_dict{number}.pkl", f"RML2016.10b{number}.dat", f"RML22{number}.01A"):
            (folder / name).write_bytes(pickle.dumps(content, protocol))
        objects = np.array([bad, 1], dtype=object)
        np.save(folder / f"o{number}.npy", objects, allow_pickle=True)
        np.savez(folder / f"o{number}.npz", iq=iq(), label=objects)
    found = explore(folder)
    assert isinstance(found, Scan)
    assert not mark.exists()
    assert not [recording.path for recording in found.recordings if recording.path.suffix != ".npz"]


ZEROS = 24 << 20


def _bombs(folder: Path) -> None:
    zeros = bytes(ZEROS)
    (folder / "a.cs16.gz").write_bytes(gzip.compress(zeros, 1))
    (folder / "b.cs16.bz2").write_bytes(bz2.compress(zeros))
    (folder / "c.cs16.xz").write_bytes(lzma.compress(zeros, preset=0))
    (folder / "d.coco").write_bytes(bz2.compress(tar({"d.complex": zeros})))
    (folder / "e.sigmf.gz").write_bytes(gzip.compress(tar({**archive_members(), "x/x.sigmf-data": zeros}), 1))
    (folder / "f.sigmf.zip").write_bytes(zipped({**archive_members(), "x/x.sigmf-data": zeros}))
    np.savez_compressed(folder / "g.npz", iq=np.zeros(ZEROS // 8, np.complex64))
    (folder / "h.sigmf.gz").write_bytes(gzip.compress(tar({**archive_members(), "x/x.sigmf-meta": b" " * ZEROS}), 1))


def test_bombs_stop_at_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _bombs(folder)
    monkeypatch.setattr(memory, "LIMIT_BYTES", 1 << 20)
    for path in sorted(folder.iterdir()):
        found = explore(folder, inputs=(str(path),))
        for recording in found.recordings if isinstance(found, Scan) else ():
            with pytest.raises(InputError):
                open_windows(recording)(np.zeros(1, np.int64), np.zeros(1, np.int64), 16)


def test_matlab_bombs_stop_at_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed v5 variable that claims and yields far more than the file holds."""
    monkeypatch.setattr(matlab, "LIMIT_BYTES", 1 << 20)
    count = ZEROS // 8
    flags = struct.pack("<IIII", 6, 8, 0x0806, 0)
    shape = struct.pack("<IIii", 5, 8, count, 1)
    name = struct.pack("<II", 1, 2) + b"rx" + bytes(6)
    part = struct.pack("<II", 9, 8 * count) + bytes(8 * count)
    element = flags + shape + name + part + part
    packed = zlib.compress(struct.pack("<II", 14, len(element)) + element, 1)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (folder / "a.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    found = explore(folder)
    assert isinstance(found, Scan)
    assert not found.recordings


def _npy(shape: str, descr: str = "'<c8'", data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + (data or iq(64).tobytes())


NPY_SHAPES = (
    "(4611686018427387904,)", "(9223372036854775807,)", "(1099511627776, 1099511627776)", "(-1,)", "(0,)", "()",
    "(10**30,)", "(1e3,)", "'x'", "(1,)*99999", "(" * 3000, "__import__('os').system('true'),", "(64, 10**18)",
    "(" + "1, " * 33 + "64)", "(True,)", "(18446744073709551616,)", f"({'9' * 6000},)",
)  # fmt: skip


@pytest.mark.parametrize("shape", NPY_SHAPES)
def test_npy_headers_promise_what_they_want(folder: Path, shape: str) -> None:
    (folder / "a.npy").write_bytes(_npy(shape))
    (folder / "b.npz").write_bytes(zipped({"iq.npy": _npy(shape)}))
    refused(folder)


@pytest.mark.parametrize(
    "descr", ["'O'", "'|O8'", "'<U1000000000'", "'V4294967296'", "[('a','<c8')]*3", "None", "'<c8'*99", "'m8[s]'",
              "[('r','<f4'),('r','<f4')]", "'<i8'", "'?'", "'S0'", "'<c32'", "'<f2'"],
)  # fmt: skip
def test_npy_types_that_are_no_samples_are_refused(folder: Path, descr: str) -> None:
    (folder / "a.npy").write_bytes(_npy("(64,)", descr))
    (folder / "b.npz").write_bytes(zipped({"iq.npy": _npy("(64,)", descr)}))
    refused(folder)


@pytest.mark.parametrize("version", [0, 1, 2, 3, 99])
def test_npy_headers_of_any_length(folder: Path, version: int) -> None:
    for name, size in (("a", 2**32 - 1), ("b", 2**29), ("c", 0)):
        (folder / f"{name}.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", size) + bytes(200))
    refused(folder)
    (folder / "metadata.csv").write_text("0,a,b,1.0\n" * 3)  # the same as a data set of TorchSig
    (folder / "info.json").write_text('{"size": 3}')
    refused(folder)


HEAD_NUMBERS = (0, -1, 0.5, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), "1", True, [], {})


@pytest.mark.parametrize("key", ["core:num_channels", "core:sample_rate", "core:offset", "core:trailing_bytes"])
def test_numbers_of_sigmf_beyond_all_bounds(folder: Path, key: str) -> None:
    for number, value in enumerate(HEAD_NUMBERS):
        meta = {**META, "global": {**META["global"], key: value}}
        (folder / f"{number}.sigmf-meta").write_text(json.dumps(meta) if value != 10**400 else _huge(key))
        (folder / f"{number}.sigmf-data").write_bytes(iq().tobytes())
    explore(folder)


def _huge(key: str) -> str:
    """More digits than Python turns into a number."""
    return json.dumps({**META, "global": {**META["global"], key: "@"}}).replace('"@"', "9" * 6000)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"global":' * 50_000, "", "null", "[]", '{"global": []}', "{", "\ufeff{}", "\0" * 99,
             '{"global": {"core:datatype": "cf32_le"}, "captures": {"core:sample_start": 0}}',
             '{"global": {"core:datatype": "\\ud800"}}', '{"global": {"core:datatype": "cf32_le", "wfm:x": 1e999}}'],
)  # fmt: skip
def test_json_of_any_kind(folder: Path, text: str) -> None:
    (folder / "a.sigmf-meta").write_text(text, encoding="utf-8")
    (folder / "a.sigmf-data").write_bytes(iq().tobytes())
    (folder / "a.json").write_text(text, encoding="utf-8")
    (folder / "a.bin").write_bytes(iq().tobytes())
    explore(folder)


@pytest.mark.parametrize("frequencies", [1, 3000])
def test_thousands_of_annotations_and_captures_do_not_multiply(folder: Path, frequencies: int) -> None:
    notes = [{"core:sample_start": n, "core:sample_count": 2**40} for n in range(3000)]
    captures = [
        {"core:sample_start": n, "core:frequency": float(n % frequencies), "core:header_bytes": 8} for n in range(3000)
    ]
    (folder / "a.sigmf-meta").write_text(json.dumps({**META, "annotations": notes, "captures": captures}))
    (folder / "a.sigmf-data").write_bytes(iq(6000).tobytes())
    found = explore(folder)
    assert isinstance(found, Scan)
    if frequencies == 1:
        assert len(found.recordings[0].annotations) == 3000
    else:  # 4.5 million pieces
        assert "pieces" in found.failed[0].reason


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("where", [4, 16, 36, 40, 22, 24])
def test_sizes_of_wav_chunks(folder: Path, size: int, where: int) -> None:
    content = bytearray(wav(1, 16, (iq(100).view(np.float32) * 2e4).astype("<i2").tobytes()))
    struct.pack_into("<I", content, where, size)
    (folder / "a.wav").write_bytes(bytes(content))
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 2**64 - 1, 2**64 - 1 if size else 0, 2**63, size)
    (folder / "b.wav").write_bytes(wav(1, 16, bytes(content[44:]), extra=ds64, riff=b"RF64"))
    explore(folder)


PICKLE_HEADS = (
    b"\x80\x02c__builtin__\neval\n", b"\x80\x04\x8e" + struct.pack("<Q", 2**63), b"\x80\x04\x8d" + b"\xff" * 8,
    b"\x80\x02T" + struct.pack("<i", 2**31 - 1), b"\x80\x02T" + struct.pack("<i", -5), b"\x80\x02" + b"(" * 20_000,
    b"\x80\x02}r" + struct.pack("<I", 2**32 - 1), b"\x80\x04\x95" + b"\xff" * 8 + b"}.", b"\x80\x02\x8b" + b"\xff" * 4,
    b"\x80\x02}q\x00" + b"h\x00" * 9_000, b"\x80\x02]" * 9_000, b"\x80\x02" + b"I" + b"9" * 9000 + b"\n.",
    b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", b"(dp1\n(S'a'\nI1\ntp2\nI1\ns.", b"\x80\xff}.", b"\x80\x02}.", b".",
)  # fmt: skip


@pytest.mark.parametrize("head", PICKLE_HEADS)
def test_pickles_of_any_kind(folder: Path, head: bytes) -> None:
    (folder / "RML2016.10a_dict.pkl").write_bytes(head + bytes(64))
    (folder / "RML2016.10b.dat").write_bytes(head)
    found = explore(folder, inputs=(str(folder / "RML2016.10a_dict.pkl"),))
    assert isinstance(found, Scan)
    assert not found.recordings
    explore(folder)


@pytest.mark.parametrize("shape", [(2**50, 1024, 2), (2**20, 2**20, 2), (1, 2**40, 2), (2**62, 2)])
def test_hdf5_datasets_that_declare_more_than_they_hold(folder: Path, shape: tuple[int, ...]) -> None:
    rows = shape[0]
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("X", shape, np.float32, chunks=(1,) * (len(shape) - 1) + (2,), compression="gzip")
        file.create_dataset("Y", (rows, 24), np.int8, chunks=(1, 24))
        file.create_dataset("Z", (rows, 1), np.int8, chunks=(1, 1))
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("iq", shape, np.float32, chunks=(1,) * (len(shape) - 1) + (2,), compression="gzip")
    with h5py.File(folder / "c.h5", "w") as file:
        file.create_dataset("data", shape, np.complex64, chunks=(1,) * (len(shape) - 1) + (2,))
        file.attrs.update({"format": "torchsig-homogeneous", "schema_version": 1, "complete": True})
        file.create_dataset("metadata", data=["{}"] * 3)
        file.create_dataset("component_offsets", data=np.array([0, 2**63, 1], np.uint64))
        file.create_dataset("component_metadata", data=["{}"])
    with h5py.File(folder / "d.h5", "w") as file:
        for index in range(3):
            file.create_dataset(f"('a', 'b', 1, {index})", (2**40,), np.float32, chunks=(1024,))
    unreadable(folder)


def test_zip_directories_that_lie(folder: Path) -> None:
    """Sizes in the directory that are not those of the members, and members on top of one another."""
    content = bytearray(zipped(archive_members()))
    at = content.index(b"PK\x01\x02")
    for place, value in ((20, 2**32 - 2), (24, 2**32 - 2), (42, 2**32 - 2), (42, 0), (24, 1), (20, 1)):
        changed = bytearray(content)
        struct.pack_into("<I", changed, at + place, value)
        (folder / f"{place}-{value}.sigmf.zip").write_bytes(bytes(changed))
    explore(folder)


def test_members_of_archives_without_number(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.npy", b"")
    (folder / "a.npz").write_bytes(stream.getvalue())
    (folder / "b.sigmf.zip").write_bytes(stream.getvalue())
    explore(folder)


def test_what_is_no_regular_file_does_not_stop_a_scan(folder: Path) -> None:
    os.mkfifo(folder / "pipe.bin")
    (folder / "loop").symlink_to(folder)
    (folder / "broken.bin").symlink_to(folder / "nothing")
    (folder / "a.cf32").write_bytes(iq(200).tobytes())
    found = explore(folder)
    assert isinstance(found, Scan)
    assert [recording.name for recording in found.recordings] == ["a"]
    named = explore(folder, inputs=(str(folder / "pipe.bin"),))
    assert isinstance(named, InputError) or not named.recordings
