"""From raw files on the command line to a probe of the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import wfm_cli as wfm
from tests.fakes import wavesfm as fakes
from wfm_cli.core.evaluation.probing import run_probe
from wfm_cli.core.recipe.evaluate import ProbeRecipe
from wfm_cli.errors import InputError, RecipeError
from wfm_cli.main import app


def test_raw_files_to_a_probe(tmp_path: Path) -> None:
    fakes.positioning(tmp_path / "pos", 40)
    store = tmp_path / "pos.zarr"
    arguments = ["prepare", "wavesfm", "pos", str(tmp_path / "pos"), "--out", str(store), "--size", "0"]
    result = CliRunner().invoke(app, [*arguments, "--split", "published", "--json"], catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert facts["splits"]["default"] == "published"
    assert facts["splits"]["available"]["published"]["leak"]["share"] > 0.7
    assert facts["recipe"]["source"]["task"] == "pos"
    assert wfm.open_store(store).input == "csi"
    recipe = ProbeRecipe.model_validate(
        {
            "encoder": "baseline:profiles",
            "data": str(store),
            "tasks": ["nr_position"],
            "probe": {"labels": ["all"], "split": "position", "bootstrap": 0},
        }
    )
    run = run_probe(recipe, tmp_path / "probe.zarr", progress=False)
    titles = {unit.attrs["label"] for unit in run.units()}
    assert titles == {"row and column means", "raw input", "majority class / mean"}
    assert all(unit.attrs["status"] == "ok" for unit in run.units())


def test_the_leak_is_printed(tmp_path: Path) -> None:
    raw = fakes.radcom(tmp_path / "r.hdf5", 40)
    result = CliRunner().invoke(
        app, ["prepare", "wavesfm", "radcom", str(raw), "--out", str(tmp_path / "r.zarr")], catch_exceptions=False
    )
    text = " ".join(result.stdout.split())
    assert "block (default)" in text
    assert "0.0 % of the test samples are of a block seen in training" in text
    assert "published" in text


def test_mistakes_name_the_argument(tmp_path: Path) -> None:
    def run(*arguments: str) -> None:
        CliRunner().invoke(app, ["prepare", "wavesfm", *arguments], catch_exceptions=False)

    out = ("--out", str(tmp_path / "s.zarr"))
    with pytest.raises(RecipeError, match=r"TASK: source\.task: Input should be 'sensing'"):
        run("sesning", "x", *out)
    with pytest.raises(RecipeError, match=r"--normalise: source\.normalise"):
        run("pos", "x", "--normalise", "published", *out)
    with pytest.raises(InputError, match="nowhere: does not exist"):
        run("pos", str(tmp_path / "nowhere"), *out)
    assert not (tmp_path / "s.zarr").exists()
