"""The pool of processes: the same work in one process and in several, and how each failure reaches the caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from wfm_cli.core.store.pool import run_all
from wfm_cli.errors import InputError, WfmError


def squares() -> Callable[[int], tuple[int, int]]:
    return lambda job: (job * job, os.getpid())


def waiter(folder: Path) -> Callable[[str], str]:
    """A job called after a file waits for it."""

    def work(job: str) -> str:
        deadline = time.monotonic() + 30
        while job and not (folder / job).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return job

    return work


def recorder(folder: Path) -> Callable[[int], int]:
    """Job 1 is a mistake of the user, job 2 kills its process; all leave a file."""
    (folder / f"begun-{os.getpid()}").touch()

    def work(job: int) -> int:
        (folder / str(job)).touch()
        if job == 1:
            raise InputError("job 1 cannot be done", "leave it out")
        if job == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return job

    return work


def refused() -> Callable[[int], int]:
    raise InputError("the source has gone", "bring it back")


@pytest.mark.parametrize("share", [1, 4])
def test_every_job_is_done_once_in_other_processes(share):
    made = list(run_all(squares, range(10), 2, share=share))
    assert sorted(value for value, _ in made) == [n * n for n in range(10)]
    assert os.getpid() not in {process for _, process in made}


@pytest.mark.parametrize(("jobs", "workers", "share"), [(range(5), 1, 1), ([3], 4, 1), (range(5), 4, 5)])
def test_one_worker_or_one_share_stays_in_this_process_and_in_order(jobs, workers, share):
    made = run_all(squares, jobs, workers, share=share)
    assert list(made) == [(n * n, os.getpid()) for n in jobs]


@pytest.mark.parametrize("workers", [1, 2])
def test_without_jobs_nothing_starts(workers):
    assert list(run_all(refused, [], workers)) == []


def test_what_is_done_first_comes_first(tmp_path):
    made = run_all(partial(waiter, tmp_path), ["word", "", ""], 2)
    assert [next(made), next(made)] == ["", ""]
    (tmp_path / "word").touch()
    assert list(made) == ["word"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_reaches_the_caller_and_the_rest_is_dropped(workers, tmp_path):
    with pytest.raises(InputError, match="job 1 cannot be done") as caught:
        list(run_all(partial(recorder, tmp_path), [0, 1, *range(3, 60)], workers))
    assert caught.value.hint == "leave it out"
    assert not (tmp_path / "59").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_at_the_start_reaches_the_caller(workers):
    with pytest.raises(InputError, match="the source has gone"):
        list(run_all(refused, range(3), workers))


def test_a_dead_worker_is_one_line_with_a_hint(tmp_path):
    with pytest.raises(WfmError, match="a worker process of the build died") as caught:
        list(run_all(partial(recorder, tmp_path), [0, 2, *range(3, 60)], 2))
    assert "use fewer workers" in (caught.value.hint or "")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "59").exists()


def test_a_caller_that_stops_listening_drops_the_rest(tmp_path):
    made = run_all(partial(recorder, tmp_path), [0, *range(3, 60)], 2)
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "59").exists()
    assert len(list(tmp_path.glob("begun-*"))) <= 2


GROUP = """
import signal, sys
from functools import partial
from pathlib import Path
from tests.core.store.test_pool import recorder
from wfm_cli.core.store.pool import run_all
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[2] == "ignore" else signal.default_int_handler)
    try:
        done = list(run_all(partial(recorder, Path(sys.argv[1])), [0, *range(3, 40)], 2))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if len(done) == 38 else 1)
"""


@pytest.mark.parametrize(("parent", "code"), [("heed", 130), ("ignore", 0)])
def test_ctrl_c_ends_the_workers_without_a_word_unless_it_is_ignored(parent, code, tmp_path):
    job = subprocess.Popen(
        [sys.executable, "-c", GROUP, tmp_path, parent],
        cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (tmp_path / "3").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGINT)
    _, said = job.communicate(timeout=30)
    assert (job.returncode, said) == (code, "")
    assert (tmp_path / "39").exists() == (parent == "ignore")
