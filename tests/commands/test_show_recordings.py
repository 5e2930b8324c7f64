"""`wfm show` on recordings: text, JSON, pictures, and what it says of files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.iq_seeds import META, iq
from tests.fakes.stores import make_store
from wfm_cli.core.evaluation.report import style
from wfm_cli.errors import InputError
from wfm_cli.main import app


def show(*arguments: str | Path) -> None:
    """The command as `main` runs it, without leaving the process."""
    with pytest.raises(SystemExit) as caught:
        app(["show", *map(str, arguments)])
    assert caught.value.code == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "captures"
    made.mkdir()
    (made / "x.sigmf-meta").write_text(json.dumps(META))
    (made / "x.sigmf-data").write_bytes(iq().tobytes())
    (made / "y.cs16").write_bytes((iq(500).view(np.float32) * 2e4).astype("<i2").tobytes())
    (made / "readme.txt").write_text("two captures\n")
    return made


def test_a_recording_as_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(folder / "y.cs16", "--rate", "2.4M", "--freq", "433.92MHz", "--order", "qi")
    out = capsys.readouterr().out
    for words in ("ci16_le", "2.4 MS/s", "433.92 MHz", "from --rate", "QI", "mean level", "█"):
        assert words in out, words


def test_a_recording_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(folder / "x.sigmf-meta", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["what"] == "recordings"
    assert facts["recordings"][0]["levels"][0]["mean_dbfs"] == pytest.approx(-6, abs=0.1)


def test_the_given_type_wins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(folder / "y.cs16", "--dtype", "ci8", "--skip-bytes", "100", "--json")
    found = json.loads(capsys.readouterr().out)["recordings"][0]
    assert (found["datatype"], found["samples"]) == ("ci8", 950)


def test_a_folder_as_table_and_a_picture_of_each(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(style._RC, "savefig.dpi", 60)
    show(folder, "--pictures", tmp_path / "pictures")
    out = capsys.readouterr().out
    assert "2 recordings" in out
    assert "no recording" in out
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["x.png", "y.png"]
    assert str(tmp_path / "pictures" / "x.png") in out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.cfile", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "LFS"),
        ("a.md", b"# words\n", "no recording"),
        ("a.cs16", b"", "empty"),
        ("a.wav", b"RIFF\x04\x00\x00\x00WAVE", "fmt"),
        ("a.sigmf-meta", b"{", "JSON"),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': broken", "a.npy"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        app(["show", str(path)])
    assert words in caught.value.message
    assert name in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "arguments", [("--rate", "2.4Q"), ("--order", "iqq"), ("--dtype", "float99"), ("--freq", "-1")]
)
def test_bad_options_are_refused(folder: Path, arguments: tuple[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        app(["show", str(folder / "y.cs16"), *arguments])
    assert arguments[1] in caught.value.message
    assert caught.value.hint or arguments[0] == "--dtype"


def test_stores_take_no_options_of_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s.zarr", samples=12)
    with pytest.raises(InputError, match=r"--rate says how recordings are read"):
        app(["show", str(store.path), "--rate", "1M"])
    show(store.path)
    assert "samples" in capsys.readouterr().out


def test_nothing_there_is_said_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none", "does not exist"), (tmp_path / "empty", "neither a store nor a run")):
        with pytest.raises(InputError, match=words):
            app(["show", str(path)])
    (tmp_path / "stores").mkdir()
    make_store(tmp_path / "stores" / "s.zarr", samples=12)
    with pytest.raises(InputError) as caught:
        app(["show", str(tmp_path / "stores")])
    assert "s.zarr" in (caught.value.hint or "")
