"""The real recordings of `iq/MANIFEST.json`: each is read as what it is, or refused for its reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wfm_cli.errors import InputError
from wfm_datasets.iq.recording import Recording, open_windows
from wfm_datasets.iq.scan import Outcome, ReadOptions, Scan, scan

pytestmark = pytest.mark.real

CONTAINERS = {
    "wav u8 stereo I/Q": "cu8",
    "wav i16 stereo I/Q": "ci16_le",
    "mat 5 complex single": "cf32_le",
    "mat 7.3 complex double": "cf64_le",
    "tar.bz2 of cf32": "cf32_le",
}
REFUSED = {
    "iq_mixed_for_side_ch_openwifi.txt": ("failed", "text"),
    "00_crcon_cr4_sf7.cfile": ("failed", "LFS"),
    "acarsdec_test.wav": ("failed", "4 tracks"),
    "gqrx-20150211-143803.wav": ("failed", "audio"),
}
"""Status and a word of the reason."""
NO_DATA = ("failed", "data")


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    if not (real_data / "iq" / "MANIFEST.json").is_file():
        pytest.skip("real data: no iq/MANIFEST.json")
    return real_data / "iq"


@pytest.fixture(scope="module")
def found(folder: Path) -> Scan:
    return scan([str(folder)], ReadOptions())


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "MANIFEST.json").read_text())
    return entries


def outcome_of(found: Scan, path: str) -> Outcome:
    return next(outcome for outcome in found.outcomes if outcome.path.endswith(f"/{path}"))


def recordings_of(found: Scan, folder: Path, path: str) -> list[Recording]:
    return [recording for recording in found.recordings if recording.path == folder / path]


def refused(entry: dict[str, Any]) -> tuple[str, str] | None:
    """Status and word of the reason of a file that holds no I/Q."""
    name = entry["path"].rpartition("/")[2]
    return NO_DATA if entry["kind"] == "metadata only" else REFUSED.get(name)


def data_bytes(path: Path) -> int:
    """Bytes in all `data` chunks of a WAV file, found one by one."""
    content, at, total = path.read_bytes(), 12, 0
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        total += min(size, len(content) - at - 8) if name == b"data" else 0
        at += 8 + size + size % 2
    return total


def expected_samples(entry: dict[str, Any], path: Path) -> int | None:
    if entry["n_samples"] is not None:
        return int(entry["n_samples"])
    if path.suffix == ".wav":
        return data_bytes(path) // (2 if " u8 " in entry["datatype"] else 4)
    return {"test_xcorr_pss.mat": 135_360}.get(path.name)


def disagreements(entry: dict[str, Any], found: Scan, folder: Path) -> list[str]:
    """What is read otherwise than the manifest says."""
    outcome, recordings = outcome_of(found, entry["path"]), recordings_of(found, folder, entry["path"])
    if expected := refused(entry):
        status, word = expected
        fits = outcome.status == status and word.lower() in outcome.reason.lower() and not recordings
        return [] if fits else [f"{entry['path']}: {outcome.status} ({outcome.reason}), not {status} ({word})"]
    if len(recordings) != 1:
        return [f"{entry['path']}: {len(recordings)} recordings, {outcome.status} ({outcome.reason})"]
    recording = recordings[0]
    pairs = {
        "label": (recording.label, entry["label"]),
        "datatype": (recording.datatype, CONTAINERS.get(entry["datatype"], entry["datatype"])),
        "order": (str(recording.layout.get("order", "iq")).upper(), entry["iq_order"]),
        "channels": (recording.channels, 1),
    }
    if (samples := expected_samples(entry, folder / entry["path"])) is not None:
        pairs["samples"] = (recording.samples * recording.examples, samples)
    if entry["header_bytes"]:
        pairs["header"] = (recording.layout.get("offset"), entry["header_bytes"])
    # Rate and frequency stand in some names; where they are found they have to be right.
    for key, said in (("sample_rate", recording.sample_rate), ("center_frequency", recording.center_frequency)):
        if said is not None and entry[key] is not None:
            pairs[key] = (pytest.approx(said, rel=1e-3), entry[key])
    return [
        f"{entry['path']}: {key} {is_} instead of {should}" for key, (is_, should) in pairs.items() if is_ != should
    ]


SIGMF_LOGO = ("sigmf/sigmf_logo.sigmf-data", "sigmf/sigmf_logo.sigmf-meta")


def test_every_file_is_read_as_what_it_is_or_refused_for_its_reason(
    found: Scan, folder: Path, entries: list[dict[str, Any]]
) -> None:
    wrong = [
        text for entry in entries if entry["path"] not in SIGMF_LOGO for text in disagreements(entry, found, folder)
    ]
    assert not wrong, "\n".join(wrong)


def test_two_real_channels_are_not_taken_for_iq(found: Scan, folder: Path) -> None:
    outcomes = [outcome_of(found, path) for path in SIGMF_LOGO]
    read = [recording for path in SIGMF_LOGO for recording in recordings_of(found, folder, path)]
    assert all((recording.datatype, recording.channels) == ("ri16_le", 2) for recording in read)
    assert read or any(outcome.status == "failed" and "real" in outcome.reason for outcome in outcomes)


def test_every_file_is_accounted_for_once(found: Scan, folder: Path, entries: list[dict[str, Any]]) -> None:
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    assert sorted(outcome.path for outcome in found.outcomes) == files
    assert len(entries) == len(files) - 1  # all but the manifest itself


def test_the_ends_of_every_recording_can_be_read(found: Scan) -> None:
    for recording in found.recordings:
        read = open_windows(recording)
        length = min(64, recording.samples)
        ends = np.array([0, recording.samples - length], np.int64)
        samples = read(np.array([0, recording.examples - 1], np.int64), ends, length)
        assert samples.shape == (2, recording.channels, length)
        assert np.isfinite(samples).all()
        with pytest.raises((InputError, ValueError, IndexError)):
            read(np.zeros(1, np.int64), ends[-1:] + 1, length)


def test_files_named_one_by_one_give_the_same_recordings(found: Scan, folder: Path) -> None:
    for recording in found.recordings[::5]:
        alone = scan([str(recording.path)], ReadOptions()).recordings
        assert [(r.datatype, r.samples, r.layout.get("order")) for r in alone] == [
            (recording.datatype, recording.samples, recording.layout.get("order"))
        ]
