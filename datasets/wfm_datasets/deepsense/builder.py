"""The builder of DeepSense stores: frames once, windows as an index of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.signal.lidar import DepthSpec, depth_image
from wfm_cli.core.signal.radar import PROFILES, range_angle
from wfm_cli.core.store import splits
from wfm_cli.core.store.build import BuildPlan
from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import InputError
from wfm_datasets.deepsense import layout, windows
from wfm_datasets.deepsense.frames import Frames, read_frames, take
from wfm_datasets.deepsense.index import find_index
from wfm_datasets.deepsense.sensors import read_cloud, read_image, read_radar

Made = dict[str, NDArray[Any]]


class DeepSenseBuilder:
    """Builds `frames/*`, `labels/beam`, `labels/beam_released`, `meta/*`, `split/*` and `windows/*`."""

    def __init__(self, source: Strict, seed: int) -> None:
        if not isinstance(source, DeepSenseSource):
            raise TypeError(f"DeepSenseBuilder needs a DeepSenseSource, got {type(source).__name__}")
        self.source, self.seed = source, seed

    def plan(self) -> BuildPlan:
        """Read the indices and everything small, audit the labels, cut the windows, make the splits.

        Raises:
            InputError: see `read_frames`; no sequence is as long as a window; a split that cannot be made.
        """
        source = self.source
        frames = read_frames(source)
        broken = np.isnan(frames.power).any(1) & (frames.beam >= 0)
        dropped = int(broken.sum()) if source.nan == "drop" else 0
        if dropped:
            frames = take(frames, np.flatnonzero(~broken))
        steps = source.history + source.horizon
        index = windows.window_index(frames.sequence, steps, source.stride)
        if not len(index):
            longest = max(np.bincount(frames.sequence).tolist())
            raise InputError(
                f"no sequence has {steps} frames, the longest has {longest}",
                "ask for shorter windows: source.history and source.horizon",
            )
        samples = read_radar(Path(max(frames.files["radar"]))).shape[1] if "radar" in frames.files else 0
        by_frame, by_window = self._splits(frames, index)
        default = self._default(by_window)
        return BuildPlan(
            kind="sequence",
            samples=len(frames),
            arrays=tuple(layout.arrays(source, frames, samples)),
            columns=(
                *layout.columns(frames),
                *layout.split_columns(by_frame),
                *layout.window_columns(index, by_window),
            ),
            sources=tuple(_source(place) for place in source.scenarios),
            attrs=self._attrs(frames, index, by_frame, by_window, default, dropped),
            state={
                "power": self._powers(frames),
                "radar_samples": np.array([samples]),
                **{f"path_{key}": paths for key, paths in frames.files.items()},
            },
        )

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> Made:
        """Powers and the maps of the large sensors of frames [start, stop), one frame at a time."""
        power = state["power"][start:stop]
        floor = 10 ** (self.source.power_floor_db / 10)
        with np.errstate(invalid="ignore"):
            level = 10 * np.log10(np.maximum(power, floor))
        made: Made = {"frames/power": power.astype(np.float32), "frames/power_db": level.astype(np.float32)}
        size, depth = self.source.image_size, self._depth
        samples, angles = int(state["radar_samples"][0]), PROFILES[self.source.radar].angles
        if "path_image" in state:
            blank = np.zeros((3, size, size), np.uint8)
            paths = state["path_image"][start:stop]
            made["frames/image"] = np.stack([read_image(Path(p), size) if p else blank for p in paths])
        if "path_radar" in state:
            silent = np.zeros((angles, samples), np.float32)
            paths = state["path_radar"][start:stop]
            made["frames/radar"] = np.stack([self._radar(Path(p), samples) if p else silent for p in paths])
        if "path_lidar" in state:
            none = np.zeros((0, 3))
            paths = state["path_lidar"][start:stop]
            images = [depth_image(read_cloud(Path(p)) if p else none, depth) for p in paths]
            made["frames/lidar"] = np.stack([image.depth for image in images])
            made["frames/lidar_hit"] = np.stack([image.hit for image in images]).astype(np.uint8)
            made["meta/lidar_kept"] = np.array([image.kept / max(1, image.points) for image in images], np.float32)
        return made

    @property
    def _depth(self) -> DepthSpec:
        block = self.source.lidar
        return DepthSpec(
            block.rows, block.columns, block.up_deg, block.down_deg, block.far_m,
            outside=block.outside, beyond=block.beyond, roll=block.roll,
        )  # fmt: skip

    def _radar(self, path: Path, samples: int) -> NDArray[np.float32]:
        cube, profile = read_radar(path), PROFILES[self.source.radar]
        if cube.shape[0] > profile.angles or cube.shape[1] != samples:
            raise InputError(
                f"{path}: the radar cube is {cube.shape}, others of this store have {samples} samples per chirp",
                "unpack this file again, or prepare scenarios with other cubes into stores of their own",
            )
        return range_angle(cube, profile)

    def _powers(self, frames: Frames) -> NDArray[np.float64]:
        """Linear powers; unmeasured beams by the recipe, and zero where a frame has none at all."""
        power = frames.power.copy()
        if self.source.nan == "interpolate":
            beams = np.arange(power.shape[1])
            for row in np.flatnonzero(np.isnan(power).any(1) & (frames.beam >= 0)):
                good = ~np.isnan(power[row])
                power[row] = np.interp(beams, beams[good], power[row][good])
        return np.nan_to_num(power, copy=False, nan=0.0)

    def _splits(self, frames: Frames, index: NDArray[np.int32]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parts of the frames and of the windows, by the name of the split."""
        source, seed = self.source, [self.seed, self.source.split_seed]
        by_frame: dict[str, Any] = {}
        if len(np.unique(frames.sequence)) >= 3:
            by_frame["sequence"] = splits.group_split(frames.sequence, frames.scenario, source.fractions, seed)
        if len(frames.scenarios) > 1:
            by_frame["scenario"] = self._held_out(frames, seed)
        by_window = {name: windows.by_frames(split, index) for name, split in by_frame.items()}
        by_window["paper"] = splits.random_split(len(index), windows.PAPER, seed)
        return by_frame, by_window

    def _held_out(self, frames: Frames, seed: list[int]) -> NDArray[np.uint8]:
        name = self.source.test_scenario or frames.scenarios[-1]
        if name not in frames.scenarios:
            raise InputError(
                f"source.test_scenario: there is no scenario {name}", f"there are {', '.join(frames.scenarios)}"
            )
        test = frames.scenario == frames.scenarios.index(name)
        split, rest = np.full(len(test), splits.TEST, np.uint8), np.flatnonzero(~test)
        train, val, _ = self.source.fractions
        inner = (train / (train + val), val / (train + val), 0.0)
        split[rest] = splits.group_split(frames.sequence[rest], frames.scenario[rest], inner, seed)
        return split

    def _default(self, by_window: Mapping[str, NDArray[np.uint8]]) -> str:
        wanted = self.source.split
        usable = [name for name, split in by_window.items() if np.bincount(split, minlength=3)[:3].all()]
        if wanted is not None and wanted not in usable:
            raise InputError(
                f"source.split: '{wanted}' leaves a part without windows", f"possible: {', '.join(usable) or 'none'}"
            )
        honest = [name for name in usable if name != "paper"]
        if wanted is None and not honest:
            raise InputError(
                "too few sequences for windows in train, validation and test",
                "give more sequences, or ask for source.split=paper, which leaks" if usable else "give more frames",
            )
        return wanted or honest[0]

    def _attrs(
        self, frames: Frames, index: NDArray[np.int32], by_frame: Any, by_window: Any, default: str, dropped: int
    ) -> dict[str, JSON]:
        lengths = np.bincount(frames.sequence, minlength=len(frames.names))
        steps = self.source.history + self.source.horizon
        return {
            "input": "windows/index",
            "modalities": [*frames.files, "gps", "power"],
            "left_out": [key for key in self.source.modalities if key not in (*frames.files, "gps", "power")],
            "labels": {name: audit.to_json() for name, audit in frames.audits.items()},
            "notes": [*frames.notes, *(audit.words(name) for name, audit in frames.audits.items())],
            "counts": frames.counts,
            "dropped_nan_frames": dropped,
            "interpolated_positions": round(float(frames.interpolated.mean()), 4),
            "windows": {
                "history": self.source.history, "horizon": self.source.horizon, "stride": self.source.stride,
                "count": len(index), "default": default, "splits": windows.describe(by_window, index),
                "sequences_too_short": int((lengths < steps).sum()),
            },
            "splits": {"default": default if default in by_frame else next(iter(by_frame), None),
                       "available": {name: {} for name in by_frame}},
            "conventions": {
                "position": "metres east and north of the base station on a sphere of 6371 km (equation 11)",
                "beam": "number of the strongest measured beam, from 0, in the order of the power files",
                "beam_released": "as it stands in the CSV; -1 where there is none",
                "nan_powers": self.source.nan,
            },
        }  # fmt: skip


def _source(place: str) -> dict[str, JSON]:
    path = find_index(place)
    data = path.read_bytes()
    return {"path": str(place), "index": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
