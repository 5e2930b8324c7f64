"""Several processes train as one. They are real processes under torchrun's machinery, with gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.core.training.toy import train
from wfm_cli.core.store.run import Run, load_tensors
from wfm_cli.core.training.checkpoint import Checkpoints
from wfm_cli.core.training.dist import Ranks, World
from wfm_cli.core.training.launch import launch
from wfm_cli.errors import InputError

LAUNCH = (
    "import sys; from wfm_cli.core.training.launch import launch; "
    "launch(sys.argv[1:], 2, ('-m', 'tests.core.training.toy'))"
)
OPTIONS = {"steps": 40, "dropout": 0.0, "eval_every": 20, "save_every": 20}


def start(root: Path, out: Path, **options: object) -> subprocess.Popen[str]:
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(root), *sys.path[:1]])}
    command = [sys.executable, "-c", LAUNCH, str(out), *words]
    return subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], code: int = 0, timeout: float = 120) -> str:
    """What the process says on stderr until it ends."""
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher ends its own
        process.communicate()
        raise
    assert process.returncode == code, err
    return err


def far(a: Path, b: Path, step: int) -> float:
    first, second = (load_tensors(path / f"checkpoints/step_{step:08d}/model") for path in (a, b))
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def test_two_processes_equal_one(root: Path, tmp_path: Path) -> None:
    """40 steps; the ranks' shares of a batch hide different numbers of entries, some of them none."""
    process = start(root, tmp_path / "two", **OPTIONS)
    train(tmp_path / "one", **OPTIONS)
    finish(process)
    assert far(tmp_path / "one", tmp_path / "two", 40) < 1e-4
    one, two = Run.open(tmp_path / "one"), Run.open(tmp_path / "two")
    for name in ("loss", "grad_norm", "hidden_per_sample", "val_loss", "val_nmse_db_median", "rankme", "feature_std"):
        a, b = (torch.from_numpy(run.curves.read()[name]) for run in (one, two))
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert two.attrs["summary"]["verdict"] == one.attrs["summary"]["verdict"]


def test_sharded_processes_equal_one_which_goes_on_alone(root: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "schedule": "constant", "warmup": 0.0}
    process = start(root, tmp_path / "run", parallel="fsdp2", **{**options, "steps": 20})
    train(tmp_path / "one", **options)
    finish(process)
    assert far(tmp_path / "one", tmp_path / "run", 20) < 1e-4
    train(tmp_path / "run", resume=True, **options)
    assert far(tmp_path / "one", tmp_path / "run", 40) < 1e-4


def test_signal_to_the_launcher_saves_in_the_processes(root: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "steps": 1000000, "log_every": 100, "eval_every": 1000000, "save_every": 20}
    process = start(root, tmp_path / "run", **options)
    deadline = time.monotonic() + 100
    while not Checkpoints(tmp_path / "run").steps() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    err = finish(process, code=75, timeout=60)
    assert err.count("errors.Requeue: SIGUSR1") == 1, err  # one process speaks
    run = Run.open(tmp_path / "run")
    assert run.attrs["status"] == "stopped"
    assert Checkpoints(tmp_path / "run").steps()[-1] == run.attrs["step"]


def test_exit_code_of_a_process_is_that_of_the_command() -> None:
    with pytest.raises(SystemExit) as left:
        launch([], 2, ("-c", "import sys; sys.exit(2)"))
    assert left.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_launcher_passes_signals_on(tmp_path: Path, number: signal.Signals) -> None:
    child = f"""if 1:
        import os, pathlib, signal, sys, time
        signal.signal({int(number)}, lambda *_: sys.exit(75))
        pathlib.Path({str(tmp_path)!r}, os.environ["RANK"]).touch()
        time.sleep(60)
        """

    def send() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(SystemExit) as left:
        launch([], 2, ("-c", child))
    thread.join()
    assert left.value.code == (130 if number == signal.SIGINT else 75)
    assert signal.getsignal(number) == before


def test_error_of_one_rank_ends_all_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(into: list[object], mine: object) -> None:
        into[:] = [None, 2, 2]

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)

    def fails() -> None:
        raise InputError("no such store")

    with pytest.raises(InputError, match="no such store"):
        World(Ranks(1, 3), torch.device("cpu")).together(fails)
    for rank, work in ((2, fails), (0, lambda: None)):
        with pytest.raises(SystemExit) as left:
            World(Ranks(rank, 3), torch.device("cpu")).together(work)
        assert left.value.code == 2
