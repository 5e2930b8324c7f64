"""Arrays and columns of a DeepSense store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.signal.radar import PROFILES
from wfm_cli.core.store.schema import JSON, ArraySpec
from wfm_datasets.deepsense.frames import Frames

Column = tuple[ArraySpec, NDArray[Any]]


def arrays(source: DeepSenseSource, frames: Frames, radar_samples: int) -> list[ArraySpec]:
    """Arrays that are made part by part."""
    n, size, lidar = frames.power.shape[1], source.image_size, source.lidar
    dims = ("sample", "beam")
    made = [
        ArraySpec("frames/power", "float32", (n,), dims, "1", "received power of every beam, linear, as released"),
        ArraySpec("frames/power_db", "float32", (n,), dims, "dB", "10 log10 of the power, not below the floor",
                  {"floor_db": source.power_floor_db}),
    ]  # fmt: skip
    if "image" in frames.files:
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        made.append(ArraySpec("frames/image", "uint8", (3, size, size), ("sample", "channel", "row", "column"), "1",
                              "camera picture, RGB, resized bilinearly with antialiasing, aspect not kept",
                              {"mean": mean, "std": std}))  # fmt: skip
    if "radar" in frames.files:
        angles = PROFILES[source.radar].angles
        shape, axes, about = (angles, radar_samples), ("sample", "angle", "range"), {"profile": source.radar}
        words = "range-angle map, mean magnitude over the chirps"
        made.append(ArraySpec("frames/radar", "float32", shape, axes, "1", words, about))
    if "lidar" in frames.files:
        shape, axes = (lidar.rows, lidar.columns), ("sample", "elevation", "azimuth")
        made += [
            ArraySpec("frames/lidar", "float32", shape, axes, "1", f"range over {lidar.far_m:g} m, 0 where no point is",
                      lidar.model_dump()),
            ArraySpec("frames/lidar_hit", "uint8", shape, axes, "1", "whether a point fell into the pixel"),
            ArraySpec("meta/lidar_kept", "float32", (), ("sample",), "1", "share of the points inside the picture"),
        ]  # fmt: skip
    return made


def columns(frames: Frames) -> list[Column]:
    """What is known of every frame."""

    def one(name: str, dtype: str, units: str, about: str, values: NDArray[Any], **attrs: JSON) -> Column:
        return ArraySpec(name, dtype, (), ("sample",), units, about, attrs), values.astype(dtype)

    place = ArraySpec("frames/position", "float64", (2,), ("sample", "axis"), "m", "east and north of the base station")
    partial = [
        one(f"meta/{key}_known", "uint8", "1", f"whether there is a file of {key}", paths != "")
        for key, paths in frames.files.items()
        if (paths == "").any()
    ]
    unmeasured = np.where(frames.beam >= 0, np.isnan(frames.power).sum(1), 0)
    return [
        (place, frames.position),
        one("labels/beam", "int16", "1", "strongest measured beam, from 0; -1 without powers", frames.beam),
        one("labels/beam_released", "int16", "1", "best beam as released; -1 without", frames.released),
        one("meta/time_s", "float64", "s", "time of the day, going on over midnight", frames.time_s),
        one("meta/sequence", "int32", "1", "drive", frames.sequence, classes=frames.names),
        one("meta/scenario", "int16", "1", "scenario", frames.scenario, classes=frames.scenarios),
        one("meta/index", "int64", "1", "index of the release", frames.index),
        one("meta/interpolated", "uint8", "1", "whether the release interpolated the position", frames.interpolated),
        one("meta/position_known", "uint8", "1", "whether there is a position", frames.known),
        one("meta/power_known", "uint8", "1", "whether there are powers", frames.beam >= 0),
        one("meta/nan_powers", "int16", "1", "beams without a measured power", unmeasured),
        *partial,
    ]


def split_columns(by_frame: Mapping[str, NDArray[np.uint8]]) -> list[Column]:
    """Parts of the frames."""
    about = "part of every frame: 0 train, 1 validation, 2 test"
    return [
        (ArraySpec(f"split/{name}", "uint8", (), ("sample",), "1", about), split) for name, split in by_frame.items()
    ]


def window_columns(index: NDArray[np.int32], by_window: Mapping[str, NDArray[np.uint8]]) -> list[Column]:
    """The index of the windows, and their parts."""
    spec = ArraySpec("windows/index", "int32", (index.shape[1],), ("window", "step"), "1", "frames of every window")
    about = "part of every window: 0 train, 1 validation, 2 test, 3 none"
    return [
        (spec, index),
        *((ArraySpec(f"windows/split_{name}", "uint8", (), ("window",), "1", about), split)
          for name, split in by_window.items()),
    ]  # fmt: skip
