"""What the distribution puts on a machine, and what it must never put there."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest


def test_no_package_called_datasets_or_recipes(root: Path) -> None:
    assert not (root / "datasets" / "__init__.py").exists()
    assert not (root / "recipes" / "__init__.py").exists()


def test_a_regular_package_called_datasets_wins_over_ours(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "datasets"
    package.mkdir()
    (package / "__init__.py").write_text("NAME = 'somebody else'\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import datasets; print(datasets.NAME)"
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "somebody else", result.stderr


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    out = tmp_path_factory.mktemp("wheel")
    path = next(iter(builder.WheelBuilder(str(root)).build(directory=str(out), versions=["standard"])))
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_our_packages_alone(wheel: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel if ".dist-info" not in name}
    assert top == {"wfm_cli", "wfm_datasets"}


def test_the_wheel_carries_recipes_tasks_types_and_the_embedded_scenarios(root: Path, wheel: list[str]) -> None:
    names = set(wheel)
    for path in (root / "recipes").glob("*/*.yaml"):
        assert f"wfm_cli/_recipes/{path.relative_to(root / 'recipes')}" in names
    assert "wfm_cli/py.typed" in names
    assert "wfm_datasets/py.typed" in names
    assert any(name.startswith("wfm_cli/core/evaluation/tasks/") and name.endswith(".yaml") for name in names)
    embedded = [root / "datasets" / n for n in names if n.startswith("wfm_datasets/deepmimo/embedded/")]
    assert any(path.name == "params.json" for path in embedded)
    assert sum(path.stat().st_size for path in embedded) < 6e6


def test_every_dependency_bound_is_explained(root: Path) -> None:
    lines = (root / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    block = lines[start + 1 : lines.index("]", start)]
    for before, line in itertools.pairwise(block):
        if line.strip().startswith('"'):
            assert before.strip().startswith("#"), f"explain {line.strip()}"


def test_every_runtime_dependency_is_pinned_in_the_constraints(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name = requirement.split(">")[0].split("=")[0].lower()
        assert name in pins, name
    assert "torch==2.13.0" in (root / "constraints.txt").read_text()


def test_public_names_exist() -> None:
    package = importlib.import_module("wfm_cli")
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018
