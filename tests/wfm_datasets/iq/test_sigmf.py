"""SigMF: pairs, headers, captures, archives, collections, and what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fakes.iq import DATATYPES, encode, meta, sigmf, steps, tar
from wfm_cli.errors import InputError
from wfm_datasets.iq import memory
from wfm_datasets.iq.formats.sigmf import recordings
from wfm_datasets.iq.recording import Annotation, Recording, from_key, open_windows
from wfm_datasets.iq.scan import ReadOptions, scan
from wfm_datasets.iq.write import write_sigmf

AUTO = ReadOptions()


def whole(recording: Recording) -> NDArray[np.complex64]:
    """(T, n)."""
    zero = np.zeros(1, np.int64)
    return open_windows(from_key(recording.key))(zero, zero, recording.samples)[0].T


def only(path: Path, options: ReadOptions = AUTO) -> Recording:
    (made,) = recordings(path, options)
    return made


@pytest.mark.parametrize("datatype", DATATYPES)
def test_all_datatypes_and_channels(tmp_path: Path, datatype: str) -> None:
    iq = steps(50, 2, datatype=datatype)
    made = only(sigmf(tmp_path, "x", encode(iq, datatype), meta(datatype, core_num_channels=2)))
    assert (made.datatype, made.samples, made.channels, made.sample_rate) == (datatype, 50, 2, 1e6)
    assert made.center_frequency == 2.4e9
    np.testing.assert_allclose(whole(made), iq, rtol=0, atol=2**-24)
    assert any("imaginary" in note for note in made.notes) == (datatype[0] == "r")


def test_a_type_without_byte_order_is_little_endian(tmp_path: Path) -> None:
    iq = steps(20)
    made = only(sigmf(tmp_path, "x", encode(iq, "cf32_le"), meta("cf32")))
    assert made.datatype == "cf32_le"
    np.testing.assert_array_equal(whole(made), iq)


def test_headers_of_captures_and_bytes_at_the_end_are_no_samples(tmp_path: Path) -> None:
    iq = steps(60, datatype="ci16_le")
    data = b"A" * 13 + encode(iq[:25], "ci16_le") + b"B" * 6 + encode(iq[25:], "ci16_le") + b"C" * 5
    captures = [
        {"core:sample_start": 0, "core:frequency": 1e9, "core:header_bytes": 13},
        {"core:sample_start": 25, "core:frequency": 1e9, "core:header_bytes": 6},
    ]
    described = meta("ci16_le", core_trailing_bytes=5, captures=captures)
    made = only(sigmf(tmp_path, "x", data, described))
    assert (made.samples, made.dropped_bytes) == (60, 0)
    np.testing.assert_array_equal(whole(made), iq)
    (tmp_path / "y.bin").write_bytes(data + b"D")
    described["global"]["core:dataset"] = "y.bin"
    path = tmp_path / "y.sigmf-meta"
    path.write_text(json.dumps(described))
    assert (only(path).dropped_bytes, only(path).samples) == (1, 60)
    np.testing.assert_array_equal(whole(only(path)), iq)
    found = scan([str(tmp_path)], AUTO)
    assert {o.path.rpartition("/")[2]: o.status for o in found.outcomes} == {
        "x.sigmf-data": "skipped", "x.sigmf-meta": "used", "y.bin": "skipped", "y.sigmf-meta": "used"
    }  # fmt: skip


def test_captures_at_other_frequencies_are_recordings_of_their_own(tmp_path: Path) -> None:
    iq = steps(60, datatype="ci8")
    captures = [{"core:sample_start": start, "core:frequency": f} for start, f in ((0, 1e9), (20, 1e9), (30, 2e9))]
    notes = [{"core:sample_start": 25, "core:sample_count": 10, "core:label": "a"}]
    path = sigmf(tmp_path, "x", encode(iq, "ci8"), meta("ci8", captures=captures, annotations=notes))
    first, second = recordings(path, AUTO)
    assert [(m.name, m.samples, m.center_frequency) for m in (first, second)] == [("x#0", 30, 1e9), ("x#1", 30, 2e9)]
    np.testing.assert_array_equal(np.concatenate([whole(first), whole(second)]), iq)
    assert first.annotations == (Annotation(25, 5, "a"),)
    assert second.annotations == (Annotation(0, 5, "a"),)
    captures = [
        {"core:sample_start": 0, "core:frequency": 1e9},
        {"core:sample_start": 20, "core:frequency": 2e9, "core:header_bytes": 2},  # holds no sample
        {"core:sample_start": 20, "core:frequency": 1e9},
    ]
    data = encode(iq[:20], "ci8") + b"HH" + encode(iq[20:], "ci8")
    (made,) = recordings(sigmf(tmp_path, "empty", data, meta("ci8", captures=captures)), AUTO)
    np.testing.assert_array_equal(whole(made), iq)
    captures = [{"core:sample_start": 0, "core:global_index": 0}, {"core:sample_start": 20, "core:global_index": 900}]
    path = sigmf(tmp_path, "gap", encode(iq, "ci8"), meta("ci8", captures=captures))
    assert [made.samples for made in recordings(path, AUTO)] == [20, 40]


def test_annotations_count_from_the_offset_and_carry_our_fields(tmp_path: Path) -> None:
    notes = [
        {"core:sample_start": 1010, "core:sample_count": 5, "core:label": "qpsk", "wfm:snr_db": -5,
         "core:freq_lower_edge": 1e9, "core:freq_upper_edge": 2e9, "wfm:mobility": "static", "other:x": 1},
        {"core:sample_start": 1030},
        {"core:sample_start": 1090, "core:sample_count": 50, "core:label": "late"},
        {"core:sample_start": 5000, "core:sample_count": 5},
    ]  # fmt: skip
    captures = [{"core:sample_start": 1000}]
    described = meta("ci8", core_offset=1000, annotations=notes, captures=captures, wfm_standard="lte", wfm_user=3)
    made = only(sigmf(tmp_path, "x", bytes(200), described))
    assert made.annotations == (
        Annotation(10, 5, "qpsk", 1e9, 2e9, {"snr_db": -5.0, "mobility": "static"}),
        Annotation(30, 70),
        Annotation(90, 10, "late"),
    )
    assert made.fields == {"standard": "lte", "user": 3.0}
    assert any("1 annotations lie outside" in note for note in made.notes)


def test_what_we_write_is_what_we_read(tmp_path: Path) -> None:
    iq = steps(300_000, 2, datatype="ci16_le").astype(np.complex64)
    notes = [Annotation(5, 10, "qpsk", 1.0, 2.0, {"snr_db": 5.0, "user": "a"}), Annotation(0, 3)]
    data, described = write_sigmf(
        tmp_path / "a.b", iq, "ci16_le", sample_rate=2e6, center_frequency=1e9, annotations=notes,
        fields={"standard": "nr"}, meta={"core:license": "CC0"},
    )  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.b.sigmf-data", "a.b.sigmf-meta"]
    made = only(described)
    np.testing.assert_array_equal(whole(made), iq)
    assert made.annotations == (notes[1], notes[0])
    assert (made.sample_rate, made.center_frequency, made.fields) == (2e6, 1e9, {"standard": "nr"})
    head = json.loads(described.read_text())["global"]
    assert head["core:extensions"] == [{"name": "wfm", "version": "1.0.0", "optional": True}]
    assert head["core:sha512"] == hashlib.sha512(data.read_bytes()).hexdigest()
    for datatype in ("cf32_le", "cf64_be", "cu8", "ci32_le"):
        some = steps(40, datatype=datatype)[:, 0]
        _, described = write_sigmf(tmp_path / "b", some, datatype, sample_rate=1.0)
        np.testing.assert_allclose(whole(only(described))[:, 0], some, rtol=0, atol=2**-24)


def test_the_writer_leaves_nothing_half_done(tmp_path: Path) -> None:
    write_sigmf(tmp_path / "x", np.ones(10, np.complex64), sample_rate=1.0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for iq, datatype, word in (
        (np.full(5, 1.5 + 0j), "ci16_le", "does not fit"),
        (np.array([np.nan + 0j]), "cf32_le", "NaN"),
    ):
        with pytest.raises(InputError, match=word):
            write_sigmf(tmp_path / "y", iq, datatype, sample_rate=1.0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(ValueError, match="complex type"):
        write_sigmf(tmp_path / "y", np.ones(3, np.complex64), "rf32_le", sample_rate=1.0)


@pytest.mark.parametrize("kind", ["plain", "gz", "xz", "bz2", "zip"])
def test_archives(tmp_path: Path, kind: str) -> None:
    one, two = steps(40, 2, seed=1, datatype="ci16_le"), steps(30, 1, seed=2)
    members: dict[str, bytes] = {}
    for name, iq, datatype in (("s/one", one, "ci16_le"), ("s/two", two, "cf32_le")):
        data = encode(iq, datatype)
        described = meta(datatype, core_num_channels=iq.shape[1], core_sha512=hashlib.sha512(data).hexdigest())
        members |= {f"{name}.sigmf-data": data, f"{name}.sigmf-meta": json.dumps(described).encode()}
    if kind == "zip":
        path = tmp_path / "a.sigmf.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        path = tar(
            tmp_path / ("a.sigmf" if kind == "plain" else f"a.sigmf.{kind}"),
            members,
            "w" if kind == "plain" else f"w:{kind}",
        )
    first, second = recordings(path, AUTO)
    assert [first.name, second.name] == ["a#one", "a#two"]
    assert first.backend == ("flat" if kind == "plain" else "memory")
    np.testing.assert_array_equal(whole(first), one)
    np.testing.assert_array_equal(whole(second), two)


@pytest.mark.parametrize("kind", ["plain", "zip"])
def test_a_wrong_checksum_in_an_archive(tmp_path: Path, kind: str) -> None:
    described = json.dumps(meta("ci8", core_sha512="0" * 128)).encode()
    members = {"x.sigmf-data": bytes(range(100)), "x.sigmf-meta": described}
    path = tar(tmp_path / "a.sigmf", members) if kind == "plain" else tmp_path / "a.sigmf.zip"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    with pytest.raises(InputError, match="SHA-512"):
        recordings(path, AUTO)
    assert only(path, ReadOptions(checksum=False)).samples == 50


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"../x.sigmf-meta": b"{}", "../x.sigmf-data": b""}, "leaves the archive"),
        ({"/x.sigmf-meta": b"{}"}, "leaves the archive"),
        ({"x.sigmf-meta": b"{}"}, "x.sigmf-data is missing"),
        ({"x.sigmf-data": b"1234"}, "holds no .sigmf-meta"),
        ({"x.sigmf-meta": b"{}", "x.sigmf-data": b"1234"}, "no object 'global'"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, members: dict[str, bytes], word: str) -> None:
    with pytest.raises(InputError, match=word):
        recordings(tar(tmp_path / "a.sigmf", members), AUTO)


def test_compressed_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"x.sigmf-data": bytes(100_000), "x.sigmf-meta": json.dumps(meta("ci8")).encode()}
    path = tar(tmp_path / "a.sigmf.gz", members, "w:gz")
    monkeypatch.setattr(memory, "LIMIT_BYTES", 50_000)
    with pytest.raises(InputError, match="decodes to 100000 bytes"):
        recordings(path, AUTO)
    plain = tar(tmp_path / "a.sigmf", members)
    plain.write_bytes(plain.read_bytes()[:60_000])
    with pytest.raises(InputError, match="damaged"):
        recordings(plain, AUTO)


def test_collections(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sigmf(tmp_path, name, encode(steps(20, datatype="ci8"), "ci8"), meta("ci8", core_collection="pair"))
    streams = [{"name": "a", "hash": "0"}, {"name": "b", "hash": "0"}]
    path = tmp_path / "c.sigmf-collection"
    path.write_text(json.dumps({"collection": {"core:version": "1.2.0", "core:streams": streams}}))
    assert [made.name for made in scan([str(path)], AUTO).recordings] == ["a", "b"]
    found = scan([str(tmp_path)], AUTO)
    assert [(made.name, made.fields) for made in found.recordings] == [
        ("a", {"collection": "pair"}), ("b", {"collection": "pair"})
    ]  # fmt: skip
    (tmp_path / "b.sigmf-meta").unlink()
    assert [o.path.rpartition("/")[2] for o in scan([str(tmp_path)], AUTO).failed] == [
        "b.sigmf-data",
        "c.sigmf-collection",
    ]


GOOD = meta("ci8")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "no valid JSON"), ("[" * 100_000, "no valid JSON"), ("[]", "no JSON object"),
        ("{}", "no object 'global'"),
        (json.dumps({"global": {}}), "core:datatype is None"), (json.dumps(meta("cx8")), "core:datatype: sample type"),
        (json.dumps(meta("ci8", core_num_channels=0)), "core:num_channels is 0"),
        (json.dumps(meta("ci8", core_num_channels="2")), "core:num_channels is 2"),
        (json.dumps(meta("ci8", rate=-1)), "core:sample_rate is -1"),
        (json.dumps(meta("ci8", rate=float("nan"))), "sample_rate is nan"),
        ('{"global": {"core:datatype": "ci8", "core:sample_rate": 1e999}}', "core:sample_rate is inf"),
        (json.dumps(meta("ci8", captures={})), None), (json.dumps(meta("ci8", captures=[1])), "captures is no list"),
        (json.dumps(meta("ci8", annotations=[{"core:sample_start": -1}])), "core:sample_start is -1"),
        (json.dumps(meta("ci8", captures=[{"core:header_bytes": 1e6}])), "hold no whole sample"),
        (json.dumps(meta("ci8", core_offset=5)), "captures start at sample 0"),
        (json.dumps(meta("ci8", core_dataset="../y.bin")), "leaves the folder"),
        (json.dumps(meta("ci8", core_dataset="/etc/passwd")), "leaves the folder"),
        (json.dumps(meta("ci8", core_dataset="y.bin")), "data file y.bin is missing"),
        (json.dumps(meta("ci8", core_sha512="ab")), "SHA-512"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)  # fmt: skip
def test_metadata_that_make_no_sense(tmp_path: Path, text: str, word: str | None) -> None:
    path = sigmf(tmp_path, "x", bytes(100), GOOD)
    path.write_text(text)
    if word is None:
        assert only(path).samples == 50
        return
    with pytest.raises(InputError, match=word) as caught:
        recordings(path, AUTO)
    assert "\n" not in caught.value.message
    assert caught.value.hint or "git lfs" in caught.value.message


@pytest.mark.parametrize(
    ("described", "word"), [(GOOD, "x.sigmf-data is missing"), (meta("ci8", core_metadata_only=True), "metadata only")]
)
def test_metadata_without_data_fail(tmp_path: Path, described: dict[str, Any], word: str) -> None:
    path = sigmf(tmp_path, "x", b"", described)
    (tmp_path / "x.sigmf-data").unlink()
    (outcome,) = scan([str(path)], AUTO).outcomes
    assert outcome.status == "failed"
    assert word in outcome.reason


def test_data_without_metadata_and_data_named_alone(tmp_path: Path) -> None:
    path = sigmf(tmp_path, "x", bytes(range(100)), GOOD)
    assert [made.name for made in scan([str(tmp_path / "x.sigmf-data")], AUTO).recordings] == ["x"]
    assert len(scan([str(tmp_path / "x.sigmf-data"), str(path)], AUTO).recordings) == 1
    path.unlink()
    with pytest.raises(InputError, match=r"has no metadata file x\.sigmf-meta"):
        recordings(tmp_path / "x.sigmf-data", AUTO)
    (tmp_path / "x.sigmf-data").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    path.write_text(json.dumps(GOOD))
    with pytest.raises(InputError, match=r"x\.sigmf-data: a Git LFS pointer"):
        recordings(path, AUTO)
