"""Stopping and going on equals never having stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.training.toy import ToyObjective, train, trainer
from wfm_cli.core.store.run import Run, load_tensors
from wfm_cli.core.training.checkpoint import Checkpoints, State
from wfm_cli.core.training.finish import finish
from wfm_cli.core.training.journal import TIMED
from wfm_cli.core.training.stopping import resume_command
from wfm_cli.errors import Requeue, StoreError, WfmError


class Interrupted(ToyObjective):
    """Sends this process a signal while step `at` runs."""

    def __init__(self, number: int, at: int) -> None:
        super().__init__(0.1)
        self.number, self.at = number, at

    def after_step(self, step: int, total_steps: int) -> None:
        super().after_step(step, total_steps)
        if step == self.at:
            os.kill(os.getpid(), self.number)


def stop_at(out: Path, step: int, number: int = signal.SIGTERM, **options: object) -> None:
    torch.manual_seed(11)
    with trainer(out, objective=Interrupted(number, step - 2), **options) as made:
        # The flag is raised behind the sums of step - 1, so every rank sees it in those of the next one.
        made.fit()


def same_tensors(a: Path, b: Path) -> bool:
    first, second = load_tensors(a), load_tensors(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def assert_same_run(a: Path, b: Path) -> None:
    for part in (
        "weights/best",
        "weights/last",
        "checkpoints/step_00000020/model",
        "checkpoints/step_00000020/optimizer",
    ):
        assert same_tensors(a / part, b / part), part
    first, second = Run.open(a), Run.open(b)
    one, two = first.curves.read(), second.curves.read()
    assert one.keys() == two.keys()
    for name in one.keys() - TIMED:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    np.testing.assert_array_equal(first.unit("validation").array("nmse"), second.unit("validation").array("nmse"))
    assert first.attrs["best_step"] == second.attrs["best_step"]
    assert Checkpoints(a).steps() == Checkpoints(b).steps()


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(tmp_path: Path, micro_batch: int | None) -> None:
    train(tmp_path / "straight", micro_batch=micro_batch)
    with pytest.raises(Requeue) as stopped:
        stop_at(tmp_path / "stopped", 7, micro_batch=micro_batch)
    assert stopped.value.exit_code == 75
    assert "--resume" in (stopped.value.hint or "")
    assert Checkpoints(tmp_path / "stopped").steps()[-1] == 7
    assert Run.open(tmp_path / "stopped").attrs["status"] == "stopped"
    train(tmp_path / "stopped", resume=True, micro_batch=micro_batch)
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")


def test_without_its_moments_a_resumed_run_differs(tmp_path: Path) -> None:
    """The comparison above can fail."""
    train(tmp_path / "straight")
    with pytest.raises(Requeue):
        stop_at(tmp_path / "stopped", 7)
    with trainer(tmp_path / "stopped", resume=True) as made:
        made.optimiser.state.clear()
        made.fit()
        finish(made, tmp_path / "stopped")
    assert not same_tensors(tmp_path / "straight/weights/last", tmp_path / "stopped/weights/last")


def test_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    class Killed(ToyObjective):
        def after_step(self, step: int, total_steps: int) -> None:
            super().after_step(step, total_steps)
            if step == 12:
                raise MemoryError("killed")

    train(tmp_path / "straight")
    torch.manual_seed(11)
    with pytest.raises(MemoryError), trainer(tmp_path / "killed", objective=Killed(0.1)) as made:
        made.fit()
    made.journal.flush()  # rows behind the checkpoint are on disk, as after the timed flush of a long run
    assert Run.open(tmp_path / "killed").curves.read()["step"][-1] == 12
    train(tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_batch_signals_ask_for_a_requeue(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Requeue, match=f"{number.name}: step 5 of 20 is saved"):
        stop_at(tmp_path / "run", 5, number)
    assert signal.getsignal(number) == before


def test_control_c_saves_and_interrupts(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_at(tmp_path / "run", 5, signal.SIGINT)
    assert Checkpoints(tmp_path / "run").steps()[-1] == 5


def test_hint_is_the_same_command_with_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path("my runs/a.zarr")
    assert resume_command(out) == "wfm pretrain RECIPE --out 'my runs/a.zarr' --resume"
    monkeypatch.setattr("sys.argv", ["wfm", "pretrain", "r.yaml", "--resume", "--out", "a b"])
    assert resume_command(out) == "wfm pretrain r.yaml --out 'a b' --resume"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "wfm-17")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert resume_command(out) == "wfm pretrain r.yaml --out 'a b' --devices 4 --resume"


def test_validating_more_often_leaves_the_weights_alone(tmp_path: Path) -> None:
    train(tmp_path / "rarely", eval_every=20)
    train(tmp_path / "often", eval_every=3, log_every=7, save_every=4)
    assert same_tensors(tmp_path / "rarely/weights/last", tmp_path / "often/weights/last")


def test_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=8, eval_every=2, save_every=1, keep_last=3)
    best = Run.open(tmp_path / "run").attrs["best_step"]
    assert Checkpoints(tmp_path / "run").steps() == sorted({best, 6, 7, 8})


def test_half_written_checkpoints_are_ignored_and_swept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(State(step=3), {"a": torch.ones(2)}, {"exp_avg/a": torch.zeros(2)})
    (checkpoints.path / ".step_00000009.ab12cd34.partial").mkdir()
    (checkpoints.path / "step_00000010").mkdir()
    assert checkpoints.steps() == [3]
    checkpoints.sweep()
    assert not list(checkpoints.path.glob(".step_*"))
    assert checkpoints.load(3).state == State(step=3)


def test_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(State(step=3), {"a": torch.ones(2)}, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wfm_cli.core.training.checkpoint.save_tensors", full)
    with pytest.raises(WfmError, match="No space left on device") as failed:
        checkpoints.save(State(step=6), {"a": torch.ones(2)}, {})
    assert failed.value.exit_code == 1
    assert [item.name for item in checkpoints.path.iterdir() if "step" in item.name] == ["step_00000003"]


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(State(step=3), {"a": torch.ones(2)}, {})
    (checkpoints.folder(3) / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="step_00000003"):
        checkpoints.load(3)
