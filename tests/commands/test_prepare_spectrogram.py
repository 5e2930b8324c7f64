"""From recordings on the command line to a store, and what is told on the way."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import wfm_cli as wfm
from tests.wfm_datasets.spectrogram.sigmf import tone, write
from wfm_cli.errors import InputError, RecipeError
from wfm_cli.main import app

SMALL = ["--nfft", "16", "--hop", "8", "--frames", "7"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, frequency in (("low", -0.25), ("high", 0.25)):
        for number in range(3):
            write(tmp_path / "iq" / kind / f"r{number}", tone(330, frequency, seed=number))
    return tmp_path / "iq"


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["prepare", "spectrogram", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def test_recordings_to_a_store(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    text, told = run(str(folder), "--out", str(out), *SMALL, "--rate", "2.4M", "--freq", "433.92 MHz", "--json")
    facts = json.loads(text)
    assert facts["kind"] == "spectrogram"
    assert facts["recipe"]["source"]["rate"] == 2.4e6
    assert facts["recipe"]["source"]["freq"] == 433.92e6
    store = wfm.open_store(out)
    assert store.samples == 30
    assert (store.read("meta/sample_rate_hz") == 2.4e6).all()
    assert "6 used" in told
    assert "2.4 MHz (--rate)" in told
    assert "low/r0.sigmf-meta" in told
    with pytest.raises(InputError, match="holds a finished store"):
        run(str(folder), "--out", str(out), *SMALL)


def test_joint_labels_and_held_out_values_are_set_by_key(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.sigmf-meta"):
        meta = json.loads(path.read_text())
        meta["global"] |= {"wfm:snr_db": 5.0 * int(path.stem[1]), "wfm:city": f"c{path.stem[1]}"}
        path.write_text(json.dumps(meta))
    changes = ["--set", "source.joint.both=[snr_db,city]", "--set", "source.hold_out.city=c2"]
    run(str(folder), "--out", str(tmp_path / "s.zarr"), *SMALL, *changes)
    store = wfm.open_store(tmp_path / "s.zarr")
    assert store.label_classes("both") == ["0 c0", "5 c1", "10 c2"]
    assert (store.read("meta/snr_db")[store.split("city") == 2] == 10).all()


def test_a_dry_run_says_what_would_be_made(folder: Path) -> None:
    text, told = run(str(folder), *SMALL, "--dry-run")
    assert "30 windows of 1 x 16 x 7 float16" in text
    assert "low: 15 windows of 3 recordings" in text
    assert "s of work (measured on" in text
    assert "6 used" in told
    facts = json.loads(run(str(folder), *SMALL, "--dry-run", "--json")[0])
    assert facts["samples"] == 30
    assert facts["bytes"] > 30 * 16 * 7 * 2
    assert facts["seconds"] > 0
    assert facts["classes"]["high"] == {"windows": 15, "recordings": 3}


def test_a_bad_file_stops_it_all_or_is_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "low" / "bad.cfile").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" + b"x" * 91)
    out = tmp_path / "s.zarr"
    with pytest.raises(InputError, match="LFS") as caught:
        run(str(folder), "--out", str(out), *SMALL)
    assert caught.value.exit_code == 2
    assert "--skip-bad" in (caught.value.hint or "")
    assert not out.exists()
    with pytest.raises(InputError, match="LFS"):
        run(str(folder), "--dry-run", *SMALL)
    _, told = run(str(folder), "--out", str(out), *SMALL, "--skip-bad")
    assert "1 failed" in told
    assert "note: files that could not be read and are left out: 1" in told
    assert wfm.open_store(out).samples == 30


def test_stdin_is_kept_beside_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.random.default_rng(0).integers(0, 256, 2 * 6400, np.uint8).tobytes()

    class Pipe:
        buffer = io.BytesIO(raw)

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Pipe())
    from wfm_cli.commands.prepare_spectrogram import _spool

    out = tmp_path / "s.zarr"
    kept = _spool(out)
    assert kept == tmp_path / "s.iq"
    assert kept.read_bytes() == raw
    with pytest.raises(InputError, match="stdin would be kept there"):
        run("-", "--out", str(out), "--dtype", "cu8", *SMALL)
    kept.unlink()
    arguments = ["prepare", "spectrogram", "-", "--out", str(out), "--dtype", "cu8", *SMALL]
    result = CliRunner().invoke(app, arguments, input=raw, catch_exceptions=False)
    assert result.exit_code == 0
    store = wfm.open_store(out)
    assert store.samples == 100
    assert store.attrs["recipe"]["source"]["inputs"] == [str(kept)]
    with pytest.raises(InputError, match="kept beside the store"):
        run("-", "--dry-run")


def test_mistakes_name_the_argument(folder: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "s.zarr"))
    with pytest.raises(InputError, match=r"--rate: '2\.4X' is no frequency"):
        run(str(folder), *out, "--rate", "2.4X")
    with pytest.raises(RecipeError, match=r"--window: source\.window"):
        run(str(folder), *out, "--window", "kaiser")
    with pytest.raises(RecipeError, match=r"--dtype-out: source\.dtype_out"):
        run(str(folder), *out, "--dtype-out", "int8")
    with pytest.raises(InputError, match="--out: is needed"):
        run(str(folder))
    with pytest.raises(InputError, match="nowhere: does not exist"):
        run(str(tmp_path / "nowhere"), *out)
    assert not (tmp_path / "s.zarr").exists()


def test_the_recipe_form_does_the_same(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"step: prepare\nsource:\n  kind: spectrogram\n  inputs: [{folder}]\n  nfft: 16\n  hop: 8\n  frames: 7\n"
    )
    arguments = ["prepare", "run", str(recipe), "--out", str(tmp_path / "a.zarr")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "6 used" in result.stderr
    run(str(folder), "--out", str(tmp_path / "b.zarr"), *SMALL)
    assert wfm.open_store(tmp_path / "a.zarr").digest == wfm.open_store(tmp_path / "b.zarr").digest
