"""Ctrl-C in every verb: exit code 130, one line, nothing that was finished is lost."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.stores import make_store
from wfm_cli import main as main_module
from wfm_cli.core.store import parts
from wfm_cli.core.store.run import Run

CORES = {
    "prepare": ("wfm_cli.core.store.parts.run", ["prepare", "run", "prepare/canyon", "--out", "x"]),
    "waveforms": ("wfm_datasets.waveforms.folder.build", ["prepare", "waveforms", "--out", "x"]),
    "pretrain": ("wfm_cli.api.pretrain", ["pretrain", "pretrain/lwm-v1", "--out", "x"]),
    "probe": ("wfm_cli.api.probe", ["probe", "baseline:raw", "--data", "s", "--task", "los", "--out", "x"]),
    "benchmark": ("wfm_cli.api.benchmark", ["benchmark", "benchmark/lwm", "--out", "x"]),
    "report": ("wfm_cli.core.evaluation.report.render", ["report", "x"]),
    "show": ("wfm_cli.core.inspect.render", ["show", "x"]),
    "import": ("wfm_cli.core.exchange.import_lwm", ["import", "lwm", "x.pth", "--out", "x"]),
    "export": ("wfm_cli.core.exchange.export_run", ["export", "x", "--out", "y"]),
    "quickstart": ("wfm_cli.core.store.parts.run", ["quickstart", "--out", "q"]),
    "verify": ("wfm_cli.core.store.verify.verify", ["prepare", "verify", "x"]),
}


@pytest.mark.parametrize("verb", list(CORES))
def test_an_interrupt_anywhere_becomes_130(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    target, argv = CORES[verb]
    monkeypatch.chdir(tmp_path)
    module, _, name = target.rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), name, interrupted)
    monkeypatch.setattr(sys, "argv", ["wfm", *argv])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip().endswith("interrupted; what was finished is kept")


def interrupt(arguments: list[str], sign: str) -> tuple[int, str]:
    """Run a command, send SIGINT once a line with `sign` has appeared on stderr, and return exit code and stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "wfm_cli", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if sign in line:
                process.send_signal(signal.SIGINT)
                break
        seen.append(process.stderr.read())
        code = process.wait(60)
    return code, "".join(seen)


def test_prepare_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe = tmp_path / "slow.yaml"
    recipe.write_text(
        "step: prepare\nsource: {kind: deepmimo, scenarios: ['embedded:canyon_3p5']}\nlayout: {shard_mib: 0.2}\n"
    )
    out = tmp_path / "s.zarr"
    code, text = interrupt(["prepare", "run", str(recipe), "--out", str(out)], "prepare:")
    if code == 0:
        pytest.skip("the build ended before the interrupt came")
    assert code == 130, text
    assert "Traceback" not in text
    done = parts.status(out).done
    assert subprocess.run([sys.executable, "-m", "wfm_cli", "prepare", "load", str(out)], check=False).returncode == 0
    status = parts.status(out)
    assert status.done == status.parts >= done


def test_pretrain_saves_and_resumes(tmp_path: Path) -> None:
    store, out = make_store(tmp_path / "s.zarr", samples=64, antennas=8, subcarriers=8), tmp_path / "r.zarr"
    arguments = ["pretrain", "pretrain/lwm-quickstart", "--data", str(store.path), "--out", str(out)]
    for change in ("train.epochs=null", "train.steps=4000", "train.batch_size=8", "model.layers=1", "train.threads=1"):
        arguments += ["--set", change]
    code, text = interrupt(arguments, "step ")
    assert code == 130, text
    assert "Traceback" not in text
    saved = list((out / "checkpoints").glob("step_*"))
    assert saved
    assert not Run.open(out).complete


def test_a_benchmark_keeps_its_units(tmp_path: Path) -> None:
    store, out = make_store(tmp_path / "s.zarr", samples=256, antennas=8, subcarriers=16), tmp_path / "b.zarr"
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"step: benchmark\ndata: {store.path}\ntasks: [los]\nencoders: [{{encoder: 'baseline:angular_32'}}]\n"
        "probe: {labels: [10, 20, 30, 40, all], seeds: 5, bootstrap: 2000}\n"
    )
    code, text = interrupt(["benchmark", str(suite), "--out", str(out)], "[2/")
    if code == 0:
        pytest.skip("the benchmark ended before the interrupt came")
    assert code == 130, text
    assert "Traceback" not in text
    assert len(list(Run.open(out).units())) >= 2
