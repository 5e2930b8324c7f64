"""Files, folders and globs: one outcome for every file, unique names, nothing read twice, labels by every rule."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.iq import encode, meta, sigmf, tone
from wfm_cli.errors import InputError
from wfm_datasets.iq.scan import ReadOptions, Scan, scan

AUTO = ReadOptions()


def put(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(tone(600, seed=seed), "ci16_le"))
    return path


def told(found: Scan) -> dict[str, tuple[str, str]]:
    assert len({outcome.path for outcome in found.outcomes}) == len(found.outcomes)
    return {Path(outcome.path).name: (outcome.status, outcome.reason) for outcome in found.outcomes}


def test_every_file_has_one_outcome(tmp_path: Path) -> None:
    put(tmp_path / "b" / "x10.cs16")
    put(tmp_path / "b" / "x9.cs16", 1)
    put(tmp_path / ".hidden" / "y.cs16")
    put(tmp_path / ".z.cs16")
    for name in ("README", "notes.md", "a.json", "p.png", "t.csv"):
        (tmp_path / name).write_text("some words about these files, at length")
    (tmp_path / "empty.iq").write_bytes(b"")
    (tmp_path / "bad.cf32").write_bytes(np.full(100, np.nan, "<f4").tobytes())
    (tmp_path / "lfs.cfile").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "what.xyz").write_bytes(bytes(range(200)))
    (tmp_path / "part.cs16.1-ab.partial").write_bytes(bytes(100))
    (tmp_path / "s.zarr" / "c").mkdir(parents=True)
    (tmp_path / "s.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "s.zarr" / "c" / "0").write_bytes(bytes(100))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "damaged.wav").write_bytes(bytes(100))
    os.symlink("nowhere", tmp_path / "broken.iq")
    found = scan([str(tmp_path)], AUTO)
    assert [recording.name for recording in found.recordings] == ["b/x9", "b/x10"]
    assert [recording.label for recording in found.recordings] == ["b", "b"]
    outcomes = told(found)
    assert {name for name, (status, _) in outcomes.items() if status == "used"} == {"x9.cs16", "x10.cs16"}
    assert {name for name, (status, _) in outcomes.items() if status == "failed"} == {
        "empty.iq",
        "empty.npy",
        "damaged.wav",
        "bad.cf32",
        "lfs.cfile",
    }
    assert outcomes["empty.iq"][1] == outcomes["empty.npy"][1] == "empty"
    assert "no .wav file by its first bytes" in outcomes["damaged.wav"][1]
    assert "Zarr" in outcomes["s.zarr"][1]
    assert "git lfs pull" in outcomes["lfs.cfile"][1]
    assert "--dtype" in outcomes["bad.cf32"][1]
    assert str(tmp_path) not in outcomes["bad.cf32"][1]
    assert "hidden" in outcomes[".z.cs16"][1]
    assert "hidden" in outcomes[".hidden"][1]
    assert "--dtype" in outcomes["what.xyz"][1]
    assert [outcome.recordings for outcome in found.outcomes if outcome.status == "used"] == [("b/x9",), ("b/x10",)]
    assert len(outcomes) == 18
    assert scan([str(tmp_path)], AUTO) == found


def test_files_are_read_once(tmp_path: Path) -> None:
    put(tmp_path / "in" / "x.cs16")
    put(tmp_path / "out" / "y.cs16", 1)
    os.symlink(tmp_path / "out", tmp_path / "in" / "link")
    os.symlink(tmp_path / "in", tmp_path / "out" / "loop")
    os.link(tmp_path / "in" / "x.cs16", tmp_path / "in" / "z.cs16")
    found = scan([str(tmp_path / "in")], AUTO)
    assert [recording.name for recording in found.recordings] == ["link/y", "x"]
    assert told(found)["z.cs16"] == ("skipped", f"the same file as {tmp_path}/in/x.cs16")
    again = scan([str(tmp_path / "in" / "x.cs16"), str(tmp_path / "in"), str(tmp_path / "in" / "x.cs16")], AUTO)
    assert sum(recording.path.name == "x.cs16" for recording in again.recordings) == 1


def test_names_are_unique(tmp_path: Path) -> None:
    for name in ("a/x.cs16", "a/x.iq", "b/x.cs16"):
        put(tmp_path / name)
    assert [r.name for r in scan([str(tmp_path)], AUTO).recordings] == ["a/x.cs16", "a/x.iq", "b/x"]
    pair = scan([str(tmp_path / "a"), str(tmp_path / "b")], AUTO).recordings
    assert len({recording.name for recording in pair}) == 3
    assert sorted(str(r.label) for r in pair) == ["a", "a", "b"]


def test_globs_and_mistakes(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x.cs16")
    put(tmp_path / "b" / "y.cs16")
    assert len(scan([str(tmp_path / "*" / "*.cs16")], AUTO).recordings) == 2
    assert len(scan([str(tmp_path / "**" / "*.cs16")], AUTO).recordings) == 2
    assert len(scan([str(tmp_path / "[ab]")], AUTO).recordings) == 2
    for inputs, word in (
        ([str(tmp_path / "none")], "does not exist"),
        ([str(tmp_path / "*.iq")], "matches no file"),
        ([], "no file there"),
    ):
        with pytest.raises(InputError, match=word):
            scan(inputs, AUTO)
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="no file there"):
        scan([str(tmp_path / "c")], AUTO)


def test_the_user_is_right(tmp_path: Path) -> None:
    path = put(tmp_path / "g_433.92M_250k.xyz")
    assert [recording.samples for recording in scan([str(path)], AUTO).recordings] == [600]  # named itself: guessed
    (made,) = scan([str(tmp_path)], ReadOptions(dtype="sc16", rate=2e6, freq=1e9)).recordings
    assert (made.sample_rate, made.center_frequency, made.datatype) == (2e6, 1e9, "ci16_le")
    assert made.origin == {"datatype": "--dtype", "sample_rate": "--rate", "center_frequency": "--freq"}


def labels(folder: Path, rule: str) -> list[str | None]:
    return [recording.label for recording in scan([str(folder)], ReadOptions(label=rule)).recordings]


def test_labels(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root / "lte" / "s_a_1.cs16")
    put(root / "s_b_2.cs16", 1)
    note = {"core:sample_start": 0, "core:sample_count": 9, "core:label": "psk", "wfm:modulation": "qpsk"}
    described = meta("ci16_le", wfm_snr_db=-5, annotations=[note])
    sigmf(root, "s_c_3", encode(tone(600), "ci16_le"), described)
    assert labels(root, "auto") == ["lte", None, None]
    assert [r.annotations[0].label for r in scan([str(root)], AUTO).recordings if r.annotations] == ["psk"]
    assert labels(root, "folder") == ["lte", "data", "data"]
    assert labels(root, "none") == [None, None, None]
    bare = scan([str(root)], ReadOptions(label="none")).recordings[2]
    assert [annotation.label for annotation in bare.annotations] == [None]
    assert labels(root, "name:s_([ab])_") == ["a", "b", None]
    assert labels(root, "snr_db") == [None, None, "-5"]
    by_field = scan([str(root)], ReadOptions(label="modulation")).recordings[2]
    assert [annotation.label for annotation in by_field.annotations] == ["qpsk"]
    table = tmp_path / "t.csv"
    table.write_text("file,label,site,power\nlte/s_a_1.cs16,one,roof,-3\ns_b_2,two,cellar,\n")
    found = scan([str(root)], ReadOptions(label=f"csv:{table}")).recordings
    assert [recording.label for recording in found] == ["one", "two", None]
    assert [recording.fields for recording in found[:2]] == [{"site": "roof", "power": -3.0}, {"site": "cellar"}]
    assert found[0].origin["label"] == "csv:t.csv"
    assert any("no label" in note for note in found[2].notes)


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("name:(", "no regular expression"), ("name:abc", "has 0 groups"), ("name:(zzz)", "fits none"),
        ("csv:/none.csv", "cannot be read"), ("colour", "no recording has such a field"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_used(tmp_path: Path, rule: str, word: str) -> None:
    put(tmp_path / "x.cs16")
    with pytest.raises(InputError, match=word):
        scan([str(tmp_path)], ReadOptions(label=rule))
    table = tmp_path / "t.csv"
    table.write_text("name,class\nx,y\n")
    with pytest.raises(InputError, match="no columns file and label"):
        scan([str(tmp_path)], ReadOptions(label=f"csv:{table}"))
