"""What is said of recordings: facts with their sources, levels of known signals, bounded reading of long files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.iq_seeds import META
from wfm_cli.core.signal.waterfall import FLOOR_DBFS
from wfm_cli.errors import InputError
from wfm_datasets.iq import inspection
from wfm_datasets.iq.inspection import converter_step, describe, excerpt, look
from wfm_datasets.iq.scan import ReadOptions


def tone(count: int, share: float, amplitude: float = 0.5) -> np.ndarray[Any, Any]:
    return (amplitude * np.exp(2j * np.pi * share * np.arange(count))).astype(np.complex64)


def sigmf(folder: Path, name: str, samples: np.ndarray[Any, Any], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    samples.tofile(folder / f"{name}.sigmf-data")
    meta = folder / f"{name}.sigmf-meta"
    meta.write_text(json.dumps({**META, **changes}))
    return meta


def test_one_recording_with_everything(tmp_path: Path) -> None:
    meta = sigmf(tmp_path, "x", tone(4096, 0.125))
    facts = describe(look(meta, ReadOptions(rate=2e6)))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    (found,) = facts["recordings"]
    assert (found["format"], found["datatype"], found["samples"]) == ("SigMF", "cf32_le", 4096)
    assert (found["sample_rate_hz"], found["center_frequency_hz"]) == (2e6, 1e9)
    assert found["duration_s"] == 4096 / 2e6
    assert found["origin"]["sample_rate"] == "--rate"
    assert found["fields"]["scenario"] == "street"
    assert [note["label"] for note in found["annotations"]] == ["qpsk", None]
    assert facts["classes"] == {"qpsk": {"recordings": 0, "examples": 0, "annotations": 1}}
    (levels,) = found["levels"]
    assert levels["mean_dbfs"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert levels["centre"] == pytest.approx(0.125, abs=1e-3)
    assert found["measured_samples"] == 4096


def test_a_folder_counts_files_and_classes(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(2):
            (tmp_path / label).mkdir(exist_ok=True)
            tone(400, 0.1).tofile(tmp_path / label / f"{number}.cf32")
    (tmp_path / "a" / "README.md").write_text("words")
    (tmp_path / "a" / "bad.cf32").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    facts = describe(look(tmp_path, ReadOptions()))
    assert facts["counts"] == {"used": 4, "skipped": 1, "failed": 1}
    assert [found["name"] for found in facts["recordings"]] == ["a/0", "a/1", "b/0", "b/1"]
    assert {name: counts["recordings"] for name, counts in facts["classes"].items()} == {"a": 2, "b": 2}
    assert all(found["levels"] for found in facts["recordings"])
    assert not any(found["levels"] for found in describe(look(tmp_path, ReadOptions()), limit=0)["recordings"])


def test_channels_are_measured_apart(tmp_path: Path) -> None:
    both = np.stack([tone(1000, 0.1, 0.5), tone(1000, -0.2, 0.05)], axis=1)
    meta = sigmf(tmp_path, "x", both, **{"global": {**META["global"], "core:num_channels": 2}})
    (found,) = describe(look(meta, ReadOptions()))["recordings"]
    assert [levels["mean_dbfs"] for levels in found["levels"]] == pytest.approx([-6.02, -26.02], abs=0.01)
    assert [levels["centre"] for levels in found["levels"]] == pytest.approx([0.1, -0.2], abs=2e-3)
    shown = [excerpt(look(meta, ReadOptions()).recordings[0], channel) for channel in range(2)]
    places = [(part.spectrum.argmax() / part.spectrum.size - 0.5) for part in shown]
    assert places == pytest.approx([0.1, -0.2], abs=0.05)


def test_a_long_recording_is_measured_in_stretches_of_bounded_memory(tmp_path: Path) -> None:
    """64 million samples in a sparse file, a tone in its last eighth."""
    path = tmp_path / "long.cs16"
    count = 1 << 26
    with path.open("wb") as stream:
        stream.truncate(4 * count)
    stored = np.memmap(path, "<i2", "r+", shape=(count, 2))
    burst = tone(1 << 16, 0.25)
    for start in range(count * 7 // 8, count, 1 << 20):
        stored[start : start + (1 << 16)] = (burst.view(np.float32).reshape(-1, 2) * 32768).astype("<i2")
    del stored
    recording = look(path, ReadOptions()).recordings[0]
    tracemalloc.start()
    facts = inspection.describe_recording(recording)
    shown = excerpt(recording)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 << 20
    assert facts["measured_samples"] == inspection.BUDGET
    strong = shown.waterfall.max(0) > -40
    assert strong.any()
    assert not strong[: shown.waterfall.shape[1] * 6 // 8].any()
    assert shown.waterfall[:, 0] == pytest.approx(FLOOR_DBFS, abs=1e-3)
    assert shown.extent == count


def test_examples_are_columns_in_their_order(tmp_path: Path) -> None:
    rows = np.stack([tone(64, (row - 4) / 16, 0.5) for row in range(8)])
    np.save(tmp_path / "set.npy", rows)
    recording = look(tmp_path / "set.npy", ReadOptions()).recordings[0]
    shown = excerpt(recording, example=5)
    assert (shown.axis, shown.extent, shown.example) == ("example", 8, 5)
    bins = shown.waterfall.shape[0]
    assert (shown.waterfall.argmax(0) / bins - 0.5).tolist() == pytest.approx([(row - 4) / 16 for row in range(8)])
    assert np.array_equal(shown.trace, rows[5])
    with pytest.raises(InputError, match="no example 8") as caught:
        excerpt(recording, example=8)
    assert "0 to 7" in (caught.value.hint or "")


@pytest.mark.parametrize("count", [1, 2, 5, 17, 100])
def test_short_recordings_are_shown(tmp_path: Path, count: int) -> None:
    recording = look(sigmf(tmp_path, "x", tone(count, 0.1)), ReadOptions()).recordings[0]
    shown = excerpt(recording)
    assert shown.trace.size == count
    assert np.isfinite(shown.waterfall).all()
    assert inspection.describe_recording(recording)["levels"][0]["samples"] == count


def test_samples_that_cannot_be_read_are_an_error_of_that_recording(tmp_path: Path) -> None:
    samples = tone(200_000, 0.1)
    samples[190_000] = np.nan  # behind what a scan looks at
    meta = sigmf(tmp_path, "x", samples)
    (found,) = describe(look(meta, ReadOptions()))["recordings"]
    assert "NaN" in found["error"]
    assert found["levels"] == []


def test_a_file_that_is_no_recording_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("plain words, no samples")
    with pytest.raises(InputError, match=r"notes\.md: no recording") as caught:
        look(path, ReadOptions())
    assert "stores and runs" in (caught.value.hint or "")
    with pytest.raises(InputError, match="does not exist"):
        look(tmp_path / "none.bin", ReadOptions())


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (tone(4096, 0.1, 1.4).real.clip(-1, 1) + 1j * tone(4096, 0.1, 1.4).imag.clip(-1, 1), "clipped"),
        (tone(4096, 0.1, 300.0), "beyond full scale"),
        (tone(4096, 0.1, 0.01) + 0.5, "0 Hz"),
        (np.where(np.arange(4096) % 4000 < 40, 0.5, 0.0), "constant runs"),
        (np.random.default_rng(0).standard_normal(40_000) * 0.1, "symmetric"),
    ],
)
def test_what_is_conspicuous_is_said(signal: np.ndarray[Any, Any], words: str) -> None:
    from wfm_cli.core.signal.levels import measure

    levels = [measure(signal.astype(np.complex64))]
    assert any(words in text for text in inspection.findings(levels))
    assert not any("symmetric" in text for text in inspection.findings(levels, real=True))


def test_nothing_is_said_of_a_plain_signal() -> None:
    from wfm_cli.core.signal.levels import measure

    rng = np.random.default_rng(0)
    noise = 0.1 * (rng.standard_normal(20_000) + 1j * rng.standard_normal(20_000))
    assert inspection.findings([measure(tone(20_000, 0.1) * 0.5 + noise)]) == []


@pytest.mark.parametrize(
    ("datatype", "step"), [("ci8", 2**-7), ("cu8", 2**-7), ("ci16_le", 2**-15), ("ri24_be", 2**-23), ("cf32_le", 0)]
)
def test_steps_of_converters(datatype: str, step: float) -> None:
    assert converter_step(datatype) == step


def test_columns_are_counted_or_summed_up(tmp_path: Path) -> None:
    labels = np.array(["b", "a", "b", "b"])
    np.savez(tmp_path / "set.npz", x=np.stack([tone(64, 0.1)] * 4), label=labels, snr=np.array([0.0, 5.0, 0.0, 5.0]))
    facts = describe(look(tmp_path / "set.npz", ReadOptions()))
    assert facts["recordings"][0]["columns"]["label"] == {"counts": {"a": 1, "b": 3}}
    assert {name: counts["examples"] for name, counts in facts["classes"].items()} == {"a": 1, "b": 3}
    assert inspection._column(np.array([np.nan, 2.0, np.nan])) == {"counts": {"2.0": 1}}
    many = inspection._column(np.arange(1000.0))
    assert many == {"min": 0.0, "max": 999.0, "distinct": 1000}
    assert inspection._column(np.array([f"n{n}" for n in range(100)])) == {"distinct": 100}
