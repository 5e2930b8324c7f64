"""Progress on stderr: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TextIO


class Status:
    """Speaks on one rank, is silent on the others."""

    def __init__(self, enabled: bool, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._live = enabled and self._stream.isatty()
        self._open = False

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._enabled:
            self._clear()
            print(text, file=self._stream, flush=True)

    def progress(self, text: str) -> None:
        """A line that the next one replaces on a terminal."""
        if self._live:
            self._clear()
            self._stream.write(text)
            self._stream.flush()
            self._open = True
        else:
            self.say(text)

    def _clear(self) -> None:
        if self._open:
            self._stream.write("\r\x1b[K")
            self._open = False

    def close(self) -> None:
        """Leave the last line standing."""
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False


def clock(seconds: float) -> str:
    """h:mm:ss."""
    if not math.isfinite(seconds):
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def progress_line(row: Mapping[str, float], total: int, ms_per_step: float) -> str:
    """The status of one training row."""
    step = int(row["step"])
    text = (
        f"step {step}/{total}  loss {row['loss']:.4g}  lr {row['lr']:.2e}  {ms_per_step:.1f} ms/step  "
        f"{row['samples_per_s']:,.0f} samples/s  ETA {clock((total - step) * ms_per_step / 1000)}"
    )
    return text + (f"  refused {row['refused_steps']:.0f}" if row["refused_steps"] else "")
