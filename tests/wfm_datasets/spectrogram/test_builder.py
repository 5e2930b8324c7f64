"""From recordings to stores: what is cut, what is kept, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.wfm_datasets.spectrogram.sigmf import CENTRE_HZ, RATE_HZ, note, tone, write
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.signal.stft import STFT, spectrogram_db
from wfm_cli.core.store import BatchLoader, parts
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.core.store.verify import verify
from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import open_windows
from wfm_datasets.iq.scan import ReadOptions, scan
from wfm_datasets.spectrogram.survey import BadFiles

SMALL: Mapping[str, Any] = {"nfft": 16, "hop": 8, "frames": 7}
LENGTH = 64


def recipe(inputs: Path, layout: Mapping[str, Any] | None = None, **source: Any) -> PrepareRecipe:
    block = {"kind": "spectrogram", "inputs": [str(inputs)], **SMALL, **source}
    return PrepareRecipe.model_validate({"step": "prepare", "source": block, "layout": layout or {}})


def build(inputs: Path, layout: Mapping[str, Any] | None = None, **source: Any) -> Store:
    out = inputs.with_name("out.zarr")
    parts.run(recipe(inputs, layout, **source), out, progress=False)
    assert verify(out).problems == ()
    return open_store(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six recordings of two classes in folders, five windows and a bit each."""
    for kind, frequency in (("low", -0.25), ("high", 0.25)):
        for number in range(3):
            samples = tone(5 * LENGTH + 9, frequency, seed=number)
            write(tmp_path / "iq" / kind / f"r{number}", samples, snr_db=number - 1.0)
    return tmp_path / "iq"


def by_hand(store: Store, row: int, folder: Path) -> NDArray[np.complex64]:
    """Samples of a row, read one by one from its file."""
    names = store.spec("meta/recording").attrs["classes"]
    name = names[store.read("meta/recording")[row]]
    data = np.fromfile(next(folder.rglob(f"{name}.sigmf-data")), np.complex64)
    start = store.read("meta/start")[row]
    return data[start : start + LENGTH]


def test_windows_of_whole_recordings(folder: Path) -> None:
    store = build(folder, keep_iq=True)
    assert store.kind == "spectrogram"
    assert store.input == "spectrogram"
    assert store.samples == 30
    spec = store.spec("spectrogram")
    assert (spec.dtype, spec.shape, spec.dims) == ("float16", (1, 16, 7), ("sample", "channel", "frequency", "time"))
    assert spec.units == "dBFS"
    values, samples = store.read("spectrogram"), store.read("iq")
    for row in (0, 4, 17, 29):
        truth = by_hand(store, row, folder)
        np.testing.assert_array_equal(samples[row, 0], truth)
        np.testing.assert_array_equal(values[row, 0], spectrogram_db(truth[None], STFT(16, 8, 7))[0])
    label = store.read("labels/label")
    assert store.label_classes("label") == ["high", "low"]
    assert (values.mean(3)[:, 0].argmax(1) == np.where(label == 0, 12, 4)).all()
    np.testing.assert_allclose(store.read("meta/level_db"), 20 * np.log10(0.5), atol=0.1)
    np.testing.assert_array_equal(np.unique(store.read("meta/snr_db")), [-1, 0, 1])
    assert (store.read("meta/sample_rate_hz") == RATE_HZ).all()
    assert (store.read("meta/center_frequency_hz") == CENTRE_HZ).all()
    assert not store.read("meta/clipped").any()
    assert not store.read("meta/constant").any()
    assert not store.read("meta/gain_db").any()


def test_the_account(folder: Path) -> None:
    (folder / "README.md").write_text("hello")
    write(folder / "low" / "brief", tone(LENGTH - 1))
    attrs = build(folder).attrs
    assert attrs["counts"] == {
        "files_used": 6,
        "files_skipped": 2,
        "files_failed": 0,
        "files_beside": 7,
        "recordings": 6,
        "recordings_without_window": 1,
        "windows": 30,
        "samples_in_no_window": 6 * 9 + LENGTH - 1,
        "annotations_shorter_than_a_window": 0,
        "bytes_dropped": 0,
    }
    assert attrs["classes"] == {kind: {"windows": 15, "recordings": 3} for kind in ("high", "low")}
    files = {Path(entry["path"]).name: entry for entry in attrs["files"]}
    assert files["brief.sigmf-meta"]["reason"] == "shorter than a window (63 of 64 samples)"
    assert files["r0.sigmf-meta"]["windows"] == 5
    assert files["r0.sigmf-meta"]["sample_rate"] == RATE_HZ
    assert len(attrs["sources"]) == 6
    assert all(len(entry["sha256"]) == 64 and entry["bytes"] == 8 * 329 for entry in attrs["sources"])


def test_large_files_are_known_by_their_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfm_datasets.spectrogram import survey

    monkeypatch.setattr(survey, "WHOLE_BYTES", 1000)
    attrs = build(folder).attrs
    assert all(entry["sha256"] is None and entry["mtime_ns"] > 0 for entry in attrs["sources"])
    assert any("not by a checksum" in text for text in attrs["notes"])


def test_splits_keep_recordings_whole(folder: Path) -> None:
    store = build(folder, folds=3, hold_out={"snr_db": 1})
    assert store.default_split == "recording"
    recording = store.read("meta/recording")
    label = store.read("labels/label")
    for name in ("recording", "snr_db", "fold_0", "fold_1", "fold_2"):
        split = store.split(name)
        assert not set(recording[split == 0]) & set(recording[split == 2])
        assert (np.bincount(split, minlength=3) > 0).all()
        assert set(label[split == 2]) == {0, 1}
        assert store.attrs["splits"]["available"][name]["leak"]["share"] == 0
    assert (store.read("meta/snr_db")[store.split("snr_db") == 2] == 1).all()
    tested = np.stack([store.split(f"fold_{k}") == 2 for k in range(3)]).sum(0)
    assert (tested == 1).all()
    assert store.attrs["splits"]["available"]["random"]["leak"]["share"] > 0.5


def test_a_class_of_one_recording_is_named(folder: Path) -> None:
    write(folder / "odd" / "r9", tone(3 * LENGTH))
    store = build(folder, folds=2)
    assert any(text.startswith("class odd has one recording") for text in store.attrs["notes"])
    odd = store.label_classes("label").index("odd")  # type: ignore[union-attr]
    rows = store.read("labels/label") == odd
    for name in ("recording", "fold_0", "fold_1"):
        assert not (store.split(name)[rows] == 2).any()


def test_one_recording_makes_a_store_with_a_random_split(tmp_path: Path) -> None:
    write(tmp_path / "iq" / "one", tone(20 * LENGTH))
    store = build(tmp_path / "iq", label="none")
    assert store.default_split == "random"
    assert "labels/label" not in store.names
    assert any("windows of one recording lie in training and test" in text for text in store.attrs["notes"])
    with pytest.raises(InputError, match="'recording' cannot be made"):
        parts.init(recipe(tmp_path / "iq", split="recording"), tmp_path / "other.zarr")


def test_windows_of_annotations_with_fields(tmp_path: Path) -> None:
    notes = [
        note(0, 2 * LENGTH, "a", snr_db=-5, mobility="walk"),
        note(150, LENGTH + 3, "b", snr_db=10, mobility="drive"),
        note(300, LENGTH - 1, "b", snr_db=10, mobility="drive"),
        note(400, 1000, None, snr_db=10, mobility="walk"),
    ]
    for number in range(3):
        write(tmp_path / "iq" / f"r{number}", tone(480, seed=number), annotations=notes)
    joint = {"both": ["snr_db", "mobility"]}
    store = build(tmp_path / "iq", windows="annotation", joint=joint, label="auto")
    np.testing.assert_array_equal(store.read("meta/start"), [0, 64, 150, 400] * 3)
    assert store.label_classes("label") == ["a", "b"]
    np.testing.assert_array_equal(store.read("labels/label"), [0, 0, 1, -1] * 3)
    assert store.label_classes("mobility") == ["drive", "walk"]
    assert store.label_classes("both") == ["-5 walk", "10 drive", "10 walk"]
    np.testing.assert_array_equal(store.read("labels/both"), [0, 0, 1, 2] * 3)
    np.testing.assert_array_equal(store.read("meta/snr_db"), [-5, -5, 10, 10] * 3)
    assert store.attrs["counts"]["annotations_shorter_than_a_window"] == 3
    assert store.attrs["counts"]["samples_in_no_window"] == 3 * (480 - 4 * LENGTH)
    assert store.attrs["classes"]["(none)"] == {"windows": 3, "recordings": 3}


def test_channels_separate_and_joint(tmp_path: Path) -> None:
    two = np.stack([tone(6 * LENGTH, 0.25), tone(6 * LENGTH, -0.25)], axis=1)
    for number in range(3):
        write(tmp_path / "iq" / f"r{number}", two)
    separate = build(tmp_path / "iq", {"shard_mib": 0.002, "chunk_mib": 0.001})
    assert separate.samples == 36
    np.testing.assert_array_equal(separate.read("meta/channel"), [0, 1] * 18)
    peaks = separate.read("spectrogram").mean(3)[:, 0].argmax(1)
    np.testing.assert_array_equal(peaks, [12, 4] * 18)
    (tmp_path / "out.zarr").rename(tmp_path / "separate.zarr")
    joint = build(tmp_path / "iq", channels="joint", keep_iq=True)
    assert joint.spec("spectrogram").shape == (2, 16, 7)
    assert joint.spec("iq").shape == (2, LENGTH)
    np.testing.assert_array_equal(
        joint.read("spectrogram").reshape(36, 1, 16, 7), open_store(tmp_path / "separate.zarr").read("spectrogram")
    )
    write(tmp_path / "iq" / "mono", tone(6 * LENGTH))
    with pytest.raises(InputError, match=r"recordings have 1 \(mono\) and 2 \("):
        parts.init(recipe(tmp_path / "iq", channels="joint"), tmp_path / "x.zarr")


def test_gain_faults_and_number_types(tmp_path: Path) -> None:
    loud = np.clip(2 * tone(4 * LENGTH, 0.1).view(np.float32), -1, 1).view(np.complex64)
    write(tmp_path / "iq" / "loud", loud, "ci16_le")
    write(tmp_path / "iq" / "still", np.full(4 * LENGTH, 0.25 + 0.5j, np.complex64))
    write(tmp_path / "iq" / "zero", np.zeros(4 * LENGTH, np.complex64))
    store = build(tmp_path / "iq", gain_db=-20, dtype_out="float32")
    name = np.array(store.spec("meta/recording").attrs["classes"])[store.read("meta/recording")]
    constant, clipped = store.read("meta/constant"), store.read("meta/clipped")
    np.testing.assert_array_equal(constant, name != "loud")
    parts_ = np.abs(loud.view(np.float32).reshape(4, LENGTH, 2))
    np.testing.assert_allclose(clipped[name == "loud"], (parts_ >= 1 - 2**-15).any(2).mean(1), atol=1e-6)
    assert not clipped[name != "loud"].any()
    level = 10 * np.log10(0.25**2 + 0.5**2)
    np.testing.assert_allclose(store.read("meta/level_db")[name == "still"], level, rtol=1e-5)
    assert (store.read("meta/level_db")[name == "zero"] == -200).all()
    np.testing.assert_allclose(store.read("spectrogram")[name == "still"][:, 0, 8], level - 20, atol=1e-4)
    np.testing.assert_allclose(store.read("spectrogram")[name == "zero"], -120, atol=1e-4)
    assert (store.read("meta/gain_db") == -20).all()


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_eight_bits_are_decoded_when_they_are_read(folder: Path, compression: str) -> None:
    exact = build(folder, dtype_out="float32").read("spectrogram")
    (folder.parent / "out.zarr").rename(folder.parent / "exact.zarr")
    store = build(folder, {"compression": compression}, dtype_out="uint8")
    spec = store.spec("spectrogram")
    assert (spec.dtype, spec.attrs["scale_factor"], spec.attrs["add_offset"]) == ("uint8", 0.5, -120.0)
    assert store.array("spectrogram").dtype == np.uint8
    for values in (store.read("spectrogram"), store.rows("spectrogram").take(np.arange(30))):
        assert values.dtype == np.float32
        assert np.abs(values - exact).max() <= 0.25 + 1e-4
    with closing(BatchLoader(store, "spectrogram", np.arange(30), 10, seed=0)) as loader:
        assert loader.how == "memory"
        for batch in loader.iterate(0, 3):
            np.testing.assert_array_equal(batch.data, values[batch.ids])
    with closing(BatchLoader(store, "spectrogram", np.arange(30), 10, seed=0, in_memory=False)) as loader:
        assert loader.how == {"none": "preadv", "zstd": "zarr"}[compression]
        for batch in loader.iterate(0, 3):
            np.testing.assert_array_equal(batch.data, values[batch.ids])


def test_the_gain_of_a_recording_is_kept(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "iq" / f"r{number}", tone(4 * LENGTH), gain_db=-30.5 - number)
    write(tmp_path / "iq" / "s", tone(4 * LENGTH))
    gain = build(tmp_path / "iq", gain_db=2).read("meta/gain_db")
    np.testing.assert_allclose(gain, np.repeat([-28.5, -29.5, 2], 4))


def test_stride_and_most_windows(folder: Path) -> None:
    store = build(folder, stride=0.5, max_windows=4)
    # 9 half-overlapping windows fit; four of them, evenly spread.
    np.testing.assert_array_equal(store.read("meta/start")[:4], np.array([0, 3, 5, 8]) * 32)
    assert store.samples == 24


def test_a_build_in_pieces_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    layout = {"shard_mib": 0.001, "chunk_mib": 0.0005}
    store = build(folder, layout)
    first = recipe(folder, layout)
    parts.init(first, tmp_path / "b.zarr")
    parts.load(tmp_path / "b.zarr", (2, 3), progress=False)
    parts.run(first, tmp_path / "b.zarr", progress=False)
    assert store.attrs["parts"] > 3
    assert open_store(tmp_path / "b.zarr").digest == store.digest


def test_bad_files_stop_the_build_or_are_left_out(folder: Path, tmp_path: Path) -> None:
    bad = tone(4 * LENGTH)
    bad[70] = np.nan
    write(folder / "low" / "nan", bad)
    (folder / "high" / "lost.sigmf-meta").write_text((folder / "high" / "r0.sigmf-meta").read_text())
    with pytest.raises(BadFiles, match=r"and 1 more file\)") as caught:
        parts.init(recipe(folder), tmp_path / "x.zarr")
    assert "--skip-bad" in (caught.value.hint or "")
    assert sum(entry["status"] == "failed" for entry in caught.value.report) == 2
    assert not (tmp_path / "x.zarr").exists()
    store = build(folder, skip_bad=True)
    assert store.samples == 30
    assert store.attrs["counts"]["files_failed"] == 2
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in store.attrs["files"]}
    assert "NaN" in reasons["nan.sigmf-meta"]


def test_a_file_that_changes_meanwhile_is_noticed(folder: Path, tmp_path: Path) -> None:
    parts.init(recipe(folder), tmp_path / "x.zarr")
    write(folder / "low" / "r1", tone(5 * LENGTH + 9, 0.4))
    with pytest.raises(InputError, match="has changed since it was scanned"):
        parts.load(tmp_path / "x.zarr", progress=False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"joint": {"x": ["nothing"]}}, r"joint\.x: no recording has a field 'nothing'"),
        ({"joint": {"snr_db": ["snr_db"]}}, r"joint\.snr_db: is no free name"),
        ({"hold_out": {"city": "x"}}, r"hold_out\.city: no recording has such a field"),
        ({"hold_out": {"snr_db": 7}}, r"hold_out\.snr_db: no recording has the value '7'"),
        ({"hold_out": {"snr_db": [-1, 0, 1]}}, "nothing is left to train on"),
        ({"windows": "annotation"}, "no annotation holds a window"),
        ({"frames": 1000}, r"every recording is shorter than a window of 8,008 samples \(longest: 329\)"),
    ],
)
def test_requests_that_cannot_be_met(folder: Path, tmp_path: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parts.init(recipe(folder, **source), tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfm_datasets.spectrogram import builder

    write(tmp_path / "iq" / "long", tone(100 * LENGTH))
    monkeypatch.setattr(builder, "BATCH_SAMPLES", 3 * LENGTH)
    seen = []

    def watched(recording: Any) -> Any:
        read = open_windows(recording)

        def windows(examples: Any, starts: Any, length: int) -> Any:
            seen.append(len(starts))
            return read(examples, starts, length)

        return windows

    monkeypatch.setattr(builder, "open_windows", watched)
    store = build(tmp_path / "iq")
    assert store.samples == 100
    assert max(seen) == 3
    assert len(scan([str(tmp_path / "iq")], ReadOptions()).recordings) == 1


@pytest.mark.real
def test_real_recordings(real_data: Path, tmp_path: Path) -> None:
    """Counts by hand from the manifest: every whole window of 4,160 samples, at most 40 of a recording."""
    import json

    about = {entry["path"]: entry for entry in json.loads((real_data / "iq" / "MANIFEST.json").read_text())}
    source = {"nfft": 64, "hop": 64, "frames": 65, "skip_bad": True, "max_windows": 40, "folds": 3, "label": "folder"}
    parts.run(recipe(real_data / "iq", **source), tmp_path / "real.zarr", progress=False)
    store = open_store(tmp_path / "real.zarr")
    files = {str(Path(e["path"]).relative_to(real_data / "iq")): e for e in store.attrs["files"]}
    checked = 0
    for path, entry in files.items():
        known = about.get(path, {}).get("n_samples")
        if entry["status"] == "used" and known:
            assert entry["windows"] == min(known // 4160, 40), path
            checked += 1
    assert checked >= 30
    classes = store.attrs["classes"]
    assert classes["wifi"] == {"windows": 90, "recordings": 10}
    assert classes["adsb"] == {"windows": 71, "recordings": 2}
    assert store.samples == sum(entry["windows"] for entry in files.values())
    assert files["bad/00_crcon_cr4_sf7.cfile"]["status"] == "failed"
    assert set(store.attrs["splits"]["available"]) >= {"recording", "random", "fold_0", "fold_1", "fold_2"}
