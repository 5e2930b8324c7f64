"""Signals that ask a training to stop at the end of its step."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from wfm_cli.core.training.journal import Journal
from wfm_cli.errors import Requeue

RUN_ID = "wfm-"
"""How the names of our own launches begin."""
REQUEUE = (signal.SIGTERM, signal.SIGUSR1)
"""What batch systems send before they end a job."""


@dataclass
class Asked:
    """Whether a signal came, and which."""

    signal: int = 0


@contextmanager
def listening() -> Iterator[Asked]:
    """Note SIGTERM, SIGUSR1 and Ctrl-C instead of dying of them; a second Ctrl-C interrupts at once.

    Outside the main thread Python allows no handlers, and the signals keep their meaning.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and asked.signal == signal.SIGINT:
            raise KeyboardInterrupt
        asked.signal = number

    before = {number: signal.signal(number, note) for number in (*REQUEUE, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_stop(number: int, step: int, total: int, journal: Journal) -> NoReturn:
    """End a training whose state is saved: one rank says how to go on, the others leave quietly.

    Raises:
        KeyboardInterrupt: `number` is Ctrl-C's.
        Requeue: It is another one, or the signal reached another rank (0).
        SystemExit: This is not the first rank.
    """
    if journal.run is None:
        raise SystemExit(Requeue.exit_code)
    command = resume_command(journal.run.path)
    journal.run.set_attrs(status="stopped")
    journal.finish("stopped")
    if number == signal.SIGINT:
        journal.say(f"step {step} of {total} is saved; continue with: {command}")
        raise KeyboardInterrupt
    name = signal.Signals(number or signal.SIGTERM).name
    raise Requeue(f"{name}: step {step} of {total} is saved", command)


def resume_command(out: Path) -> str:
    """The command that continues the run at `out`."""
    words = sys.argv[1:]
    if words[:1] != ["pretrain"]:
        return f"wfm pretrain RECIPE --out {shlex.quote(str(out))} --resume"
    if os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(RUN_ID) and "--devices" not in words:
        words = [*words, "--devices", os.environ["WORLD_SIZE"]]  # which the launcher has taken off
    return shlex.join(["wfm", *(word for word in words if word != "--resume"), "--resume"])
