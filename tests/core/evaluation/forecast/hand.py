"""Windows made by hand: vehicles that drive straight on, 1 m east and 2 m north a frame, over beams one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wfm_cli.core.evaluation.forecast.data import Windows

HISTORY, HORIZON, BEAMS, DRIVES, FRAMES = 4, 2, 32, 6, 12


def made() -> Windows:
    """Six drives of twelve frames; four of them to learn from, one validates, one tests."""
    steps = HISTORY + HORIZON
    starts = [drive * FRAMES + k for drive in range(DRIVES) for k in range(FRAMES - steps + 1)]
    index = np.array(starts)[:, None] + np.arange(steps)
    frame = np.arange(DRIVES * FRAMES)
    along, drive = frame % FRAMES, frame // FRAMES
    beam = 8 + along
    power_db = (-np.abs(np.arange(BEAMS) - beam[:, None]) - 20.0).astype(np.float32)
    power_db -= power_db.mean(1, keepdims=True)  # the mean over the beams is the same in every frame
    position = np.stack([along + 0.5 * drive, 2.0 * along], 1)
    sequence = drive[index[:, 0]]
    return Windows(
        "sequence", HISTORY, HORIZON, index.astype(np.int64),
        position=position[index], power_db=power_db[index], power=10 ** (power_db[index] / 10),
        beam=beam[index], time_s=0.1 * frame[index].astype(np.float64),
        interpolated=np.zeros(index.shape, bool), sequence=sequence,
        train=np.flatnonzero(sequence < 4), val=np.flatnonzero(sequence == 4), test=np.flatnonzero(sequence == 5),
    )  # fmt: skip


def dropped() -> Windows:
    """The same drives at the same velocity, of which the release lacks every third frame: positions jump, time too."""
    windows = made()
    drive, number = windows.index // FRAMES, windows.index % FRAMES
    along = number + number // 2
    position = np.stack([along + 0.5 * drive, 2.0 * along], -1)
    return replace(windows, position=position, time_s=0.1 * (2.0 * FRAMES * drive + along))
