from __future__ import annotations

import io

import pytest

from wfm_cli.core import progress as module
from wfm_cli.core.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    assert list(progress(range(5), total=5, unit="part", label="prepare")) == list(range(5))
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        "prepare: 2/5 parts, 12 s, about 18 s left",
        "prepare: 4/5 parts, 24 s, about 6 s left",
        "prepare: 5/5 parts in 36.0 s",
    ]


def test_unknown_totals(capsys):
    assert list(progress(iter("ab"), total=None, unit="file", label="read")) == ["a", "b"]
    assert capsys.readouterr().err.startswith("read: 2 files in 0.")


def test_silence(capsys):
    assert list(progress([1], total=1, unit="part", label="x", enabled=False)) == [1]
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress([1, 2], total=2, unit="part", label="prepare")) == [1, 2]
    assert "prepare: 100%" in terminal.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_errors_pass_through(monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr", Terminal() if terminal else io.StringIO())

    def failing():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(progress(failing(), total=2, unit="part", label="x"))
