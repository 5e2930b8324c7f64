"""From a street on the command line to a store of sequences and the picture of a frame."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import matplotlib.image
import pytest
from typer.testing import CliRunner

import wfm_cli as wfm
from tests.fakes.deepsense import index_of, make_street, read_rows
from tests.fakes.stores import make_store
from wfm_cli.core.evaluation.report import style
from wfm_cli.errors import InputError, RecipeError, StoreError
from wfm_cli.main import app

SMALL = ("--size", "16", "--history", "4", "--horizon", "2")


def run(*arguments: str | Path) -> str:
    """What a command prints; its errors are raised."""
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False).stdout


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_street(tmp_path_factory.mktemp("street"), sequences=3)


@pytest.fixture(scope="module")
def store(street: Path) -> Path:
    out = street / "street.zarr"
    told = json.loads(run("prepare", "deepsense", street / "scenario31", "--out", out, *SMALL, "--json"))
    assert told["complete"]
    return out


def test_a_check_as_table(street: Path) -> None:
    rows = len(read_rows(index_of(street, "31")))
    said = run("prepare", "deepsense", street / "scenario31", "--check", *SMALL)
    assert f"scenario 31: {rows} rows" in " ".join(said.split())
    for sensor in ("image", "radar", "lidar", "power", "position"):
        (line,) = (line for line in said.splitlines() if line.replace("│", " ").split()[:1] == [sensor])
        assert line.replace("│", " ").split()[1:3] == [str(rows), str(rows)]
    drives = Counter(row["seq_index"] for row in read_rows(index_of(street, "31"))).values()
    lengths = f"3 sequences of {min(drives)} to {max(drives)} frames, {rows - 3 * 5} windows"
    for words in (lengths, "released beams count from 1", "time steps:"):
        assert words in said, words


def test_a_check_as_json_names_what_is_missing(tmp_path: Path) -> None:
    place = make_street(tmp_path, sequences=2) / "scenario31"
    lost = place / read_rows(index_of(tmp_path, "31"))[3]["unit1_radar"]
    lost.unlink()
    (facts,) = json.loads(run("prepare", "deepsense", place, "--check", "--json"))
    assert facts["files"]["radar"]["found"] == facts["rows"] - 1
    assert [Path(name).name for name in facts["files"]["radar"]["missing"]] == [lost.name]
    assert facts["files"]["image"] == {"named": facts["rows"], "found": facts["rows"], "missing": []}
    assert facts["sequences"]["count"] == 2
    with pytest.raises(InputError, match=f"files of 1 of {facts['rows']} frames are missing") as refused:
        run("prepare", "deepsense", place, "--out", tmp_path / "s.zarr", *SMALL)
    assert "missing=drop" in (refused.value.hint or "")


def test_a_store_is_made_and_kept(store: Path, street: Path) -> None:
    made = wfm.open_store(store)
    assert made.samples == len(read_rows(index_of(street, "31")))
    assert made.spec("frames/image").shape == (3, 16, 16)
    assert (made.attrs["windows"]["history"], made.attrs["windows"]["horizon"]) == (4, 2)
    before = (store / "zarr.json").read_bytes()
    with pytest.raises(StoreError, match="holds a finished store"):
        run("prepare", "deepsense", street / "scenario31", "--out", store, *SMALL)
    assert (store / "zarr.json").read_bytes() == before
    assert "of the frames of test windows stand in training windows too" in " ".join(run("show", store).split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--radar", "best"), r"--radar: source\.radar: Input should be 'paper' or 'deepsense'"),
        (("--set", "source.lidar.rows=0"), r"source\.lidar\.rows"),
        (("--split", "day"), r"--split: source\.split"),
    ],
)
def test_mistakes_name_the_option(street: Path, arguments: tuple[str, str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        run("prepare", "deepsense", street / "scenario31", "--check", *arguments)


def test_a_store_needs_a_name(street: Path) -> None:
    with pytest.raises(InputError, match="--out is missing"):
        run("prepare", "deepsense", street / "scenario31")
    with pytest.raises(InputError, match="nowhere"):
        run("prepare", "deepsense", street / "nowhere", "--check")


def test_a_street_is_counted_before_it_is_made(tmp_path: Path) -> None:
    out = tmp_path / "street"
    asked = ("prepare", "street", "--out", out, "--scenario", "31", "--scenario", "33", "--sequences", "3")
    told = json.loads(run(*asked, "--dry-run", "--json"))
    assert told["dry_run"]
    assert told["scenarios"].keys() == {"31", "33"}
    assert all(120 <= facts["frames"] <= 180 for facts in told["scenarios"].values())  # three of 40 to 60
    assert f"scenario 33 would have {told['scenarios']['33']['frames']} frames in 3 passes" in run(*asked, "--dry-run")
    assert not out.exists()
    with pytest.raises(RecipeError, match="scenarios"):
        run("prepare", "street", "--out", out, "--scenario", "35", "--dry-run")


def test_one_frame_is_one_picture(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style._RC, "savefig.dpi", 60)
    monkeypatch.chdir(tmp_path)
    assert run("show", store, "--frame", "5").split() == ["frame-5.png"]
    assert matplotlib.image.imread("frame-5.png").std() > 0.05
    said = run("show", store, "--pictures", "all", "--frame", "6")
    assert said.split()[-5:] == [f"all/{name}.png" for name in ("frame-6", "map", "lengths", "splits", "labels")]
    with pytest.raises(InputError, match="there is no frame 4000"):
        run("show", store, "--frame", "4000")
    channels = make_store(tmp_path / "s.zarr", samples=12)
    with pytest.raises(InputError, match="which has no frames"):
        run("show", channels.path, "--frame", "1")
    (tmp_path / "x.cs16").write_bytes(bytes(400))
    with pytest.raises(InputError, match=r"x\.cs16: is no store of sequences"):
        run("show", "x.cs16", "--frame", "1")
