"""Throughput of training steps, without validation and saving."""

from __future__ import annotations

import math
import time


class Speed:
    """Time from `go` to `done` is that of one step, loading its batch included."""

    def __init__(self) -> None:
        self._began = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the steps so far: the next figures are of those to come."""
        self._seconds, self._steps, self._samples = 0.0, 0, 0

    def go(self) -> None:
        """A step begins."""
        self._began = time.perf_counter()

    def done(self, samples: int) -> None:
        """It has ended; `samples` over all ranks."""
        self._seconds += time.perf_counter() - self._began
        self._steps += 1
        self._samples += samples

    @property
    def samples_per_s(self) -> float:
        """Samples per second since the last reset."""
        return self._samples / self._seconds if self._seconds else math.nan

    @property
    def ms_per_step(self) -> float:
        """Milliseconds per step since the last reset."""
        return 1e3 * self._seconds / self._steps if self._steps else math.nan
