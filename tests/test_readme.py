"""What the README shows works when typed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = {"pretrain": ["--set", "train.epochs=1"], "benchmark": ["--set", "probe.seeds=3", "--set", "probe.labels=[10]"]}


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


def block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, language
    return found.group(1)


@pytest.fixture(scope="module")
def folder(readme: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tour, run line by line with shorter training."""
    folder = tmp_path_factory.mktemp("tour")
    for line in block(readme, "sh").splitlines():
        words = shlex.split(line)
        assert words[0] == "wfm"
        command = [sys.executable, "-m", "wfm_cli", *words[1:], *QUICK.get(words[1], [])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    return folder


def test_the_readme_opens_with_two_commands(readme: str) -> None:
    commands = [line.split("#")[0].strip() for line in readme.splitlines()[:6] if line.startswith("    ")]
    assert commands == ["make quickstart", "make test"]


def test_the_tour_leaves_what_it_promises(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} >= {"canyon.zarr", "lwm.zarr", "probe.zarr", "table.zarr", "report"}
    page = next((folder / "report").glob("*.html")).read_text()
    assert "log" in page.lower()
    assert "http" not in re.sub(r"https?://[^\s\"<]*(?=[\"<\s])", "", page.split("</style>")[0])


def test_the_python_example_runs(folder: Path, readme: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block(readme, "python")], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(4, 32, 32) spatial 2162" in done.stdout
