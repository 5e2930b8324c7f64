"""The front door: instant help, one error boundary, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wfm_cli import main as main_module
from wfm_cli.errors import InputError, Requeue, WfmError

HEAVY = {"torch", "zarr", "numpy", "scipy", "h5py", "deepmimo", "matplotlib", "pandas"}
PREPARE = [
    "deepmimo",
    "wavesfm",
    "spectrogram",
    "waveforms",
    "deepsense",
    "street",
    "run",
    "init",
    "load",
    "finalise",
    "status",
    "verify",
]
COMMANDS = [
    [],
    *([verb] for verb in ("prepare", "pretrain", "probe", "benchmark", "report", "show", "recipes", "import")),
    *([verb] for verb in ("export", "quickstart", "doctor")),
    *(["prepare", name] for name in PREPARE),
    *(["recipes", name] for name in ("list", "show", "copy", "validate", "schema")),
    ["import", "lwm"],
]


def wfm(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wfm_cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def test_help_of_every_command_leaves_heavy_packages_alone() -> None:
    code = (
        "import json, sys\n"
        "from wfm_cli.main import app\n"
        "sys.argv[0] = 'wfm'\n"
        "seen = {}\n"
        f"for command in {COMMANDS!r}:\n"
        "    try:\n"
        "        app([*command, '--help'])\n"
        "    except SystemExit as exit:\n"
        "        assert exit.code == 0, command\n"
        f"    seen['-'.join(command)] = sorted({HEAVY!r} & set(sys.modules))\n"
        "print('RESULT' + json.dumps([seen, len(sys.modules)]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen, modules = json.loads(result.stdout.split("RESULT")[1])
    assert all(not heavy for heavy in seen.values()), seen
    assert modules < 450
    assert result.stdout.count("Example") >= len(COMMANDS) - 4  # every command but the groups shows one


def test_importing_the_package_is_light() -> None:
    code = f"import sys, wfm_cli, wfm_cli.core.recipe.loading; print(sorted({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("x.mat: too short", "download it again"), 2, "error: x.mat: too short\nhint: download it again\n"),
        (WfmError("disk full"), 1, "error: disk full\n"),
        (Requeue("saved at step 3", "--resume"), 75, "error: saved at step 3\nhint: --resume\n"),
        (ValueError("oops"), 1, "error: ValueError: oops\nhint: this is a defect"),
        (SystemExit(130), 130, "\ninterrupted; what was finished is kept\n"),
        (
            OSError(28, "No space left on device", "a.zarr"),
            1,
            "error: a.zarr: No space left on device\nhint: free some",
        ),
    ],
)
def test_errors_become_lines_and_exit_codes(
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main_module, "app", fail)
    monkeypatch.delenv("WFM_DEBUG", raising=False)
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == code
    captured = capsys.readouterr()
    assert captured.err.startswith(text)
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_traceback_is_shown_when_asked_for(tmp_path: Path) -> None:
    result = wfm("recipes", "validate", str(tmp_path / "none.yaml"), WFM_DEBUG="1")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_usage_errors_exit_with_2() -> None:
    assert wfm("pretrain").returncode == 2
    assert wfm("no-such-verb").returncode == 2


def test_recipes_list_show_copy_validate(tmp_path: Path) -> None:
    listed = json.loads(wfm("recipes", "list", "--json").stdout)
    assert "pretrain/lwm-v1" in {row["name"] for row in listed}
    shown = wfm("recipes", "show", "pretrain/lwm-v1")
    assert shown.stdout.startswith("# yaml-language-server")
    resolved = wfm("recipes", "show", "pretrain/lwm-v1", "--resolved", "--set", "train.lr=0.5")
    assert "lr: 0.5" in resolved.stdout
    target = tmp_path / "mine.yaml"
    assert wfm("recipes", "copy", "pretrain/lwm-v1", str(target)).returncode == 0
    assert wfm("recipes", "copy", "pretrain/lwm-v1", str(target)).returncode == 2
    assert wfm("recipes", "validate", str(target)).returncode == 0
    target.write_text(target.read_text().replace("epochs", "epoch"))
    broken = wfm("recipes", "validate", "mine.yaml", cwd=tmp_path)
    assert broken.returncode == 2
    assert "mine.yaml:" in broken.stderr
    assert "did you mean 'epochs'" in broken.stderr


def test_doctor_names_versions() -> None:
    result = wfm("doctor", "--json")
    facts = json.loads(result.stdout)
    assert result.returncode == 0
    assert facts["packages"]["torch"]
    assert facts["missing"] == []


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/0", "-1/2"])
def test_bad_parts_are_refused(text: str) -> None:
    from wfm_cli.commands.common import parse_part

    with pytest.raises(InputError):
        parse_part(text)


def test_bad_base_stations_and_budgets_are_refused() -> None:
    from wfm_cli.commands.common import parse_budget
    from wfm_cli.commands.prepare import _base_stations

    assert _base_stations(["3"]) == 3
    assert _base_stations(["a=1", "b=2"]) == {"a": 1, "b": 2}
    assert parse_budget("all") == "all"
    assert parse_budget("5 per class") == "5 per class"
    for bad in (["0"], ["x"], ["3", "a=1"]):
        with pytest.raises(InputError):
            _base_stations(bad)
    with pytest.raises(InputError):
        parse_budget("-3")
