"""`--devices N`: the same command once more in N processes under torchrun's machinery."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from wfm_cli.core.training.dist import ranks_from
from wfm_cli.core.training.stopping import RUN_ID
from wfm_cli.errors import Requeue, WfmError

GRACE = "120"
"""Seconds that processes get to save before they are killed; TORCH_ELASTIC_SHUTDOWN_TIMEOUT overrides."""


def inside() -> bool:
    """Whether torchrun or SLURM has started this process as one of several already."""
    return ranks_from(os.environ) is not None


def launch(argv: Sequence[str], devices: int, program: Sequence[str] = ("-m", "wfm_cli")) -> None:
    """Run `python PROGRAM ARGV` in `devices` processes of this machine and wait for them.

    SIGTERM, SIGUSR1 and Ctrl-C are passed on, and the processes save and leave.

    Args:
        argv: Arguments of the command.
        devices: Number of processes.
        program: What this Python runs.

    Raises:
        SystemExit: A process failed and has said why, with its exit code; or the processes were asked to stop and
            have said where they saved, with 75, or 130 after Ctrl-C.
        WfmError: The processes cannot be started.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Its warnings and reports of exit codes say less than the one line of the process that failed.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", GRACE)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        run_id=f"{RUN_ID}{os.getpid()}",
        max_restarts=0,
        local_addr="127.0.0.1",
    )

    def pass_on(number: int, frame: FrameType | None) -> NoReturn:
        raise SignalException(f"signal {number}", sigval=signal.Signals(number))

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    signal.signal(signal.SIGUSR1, pass_on)
    try:
        elastic_launch(config, sys.executable)(*program, *argv)
    except ChildFailedError as error:
        raise SystemExit(_exit_code(error)) from None
    except SignalException as error:
        raise SystemExit(130 if error.sigval == signal.SIGINT else Requeue.exit_code) from None
    except (OSError, RuntimeError) as error:
        raise WfmError(f"{devices} processes cannot be started: {error}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(error: object) -> int:
    """Exit code of the process that failed first; one that died of a signal counts as failed."""
    _, failure = error.get_first_failure()  # type: ignore[attr-defined]
    return failure.exitcode if failure.exitcode > 0 else 1
