"""A tiny builder and finished stores made by it, through the same path as real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import Layout, PrepareRecipe
from wfm_cli.core.store import BUILDERS, ArraySpec, BuildPlan, Store, finalise, init, load, open_store
from wfm_cli.errors import InputError

SOURCE_DIGEST = "0" * 64
BUILDERS["fake"] = "tests.fakes.stores:FakeBuilder"


class FakeSource(Strict):
    """Random low-rank channels."""

    kind: Literal["fake"] = "fake"
    samples: int = 64
    antennas: int = 8
    subcarriers: int = 8
    pause_s: float = 0.0
    """Seconds that every part takes."""


class FakeRecipe(PrepareRecipe):
    """A recipe for the fake builder."""

    source: FakeSource = FakeSource()  # type: ignore[assignment]


class FakeBuilder:
    """Every row is a pure function of (seed, row): channels of one to three paths, line of sight when one dominates."""

    source_model: ClassVar[type[Strict]] = FakeSource

    def __init__(self, source: FakeSource, seed: int) -> None:
        if os.environ.get("WFM_FAKE_BROKEN"):
            raise InputError("the source has gone", "bring it back")
        self.source, self.seed = source, seed

    def plan(self) -> BuildPlan:
        s = self.source
        axes = ("sample", "antenna", "subcarrier")
        arrays = (
            ArraySpec("channel", "complex64", (s.antennas, s.subcarriers), axes, "1", "channel, x 1e6"),
            ArraySpec("labels/los", "int8", (), ("sample",), "1", "line of sight", {"classes": ["NLoS", "LoS"]}),
            ArraySpec("meta/log_power_db", "float32", (), ("sample",), "dB", "mean power per element, raw"),
        )
        rng = np.random.default_rng([self.seed, 1])
        position = rng.uniform(0, 100, (s.samples, 3)).astype(np.float32)
        thirds = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 2], np.uint8)[np.arange(s.samples) % 10]
        columns = (
            (ArraySpec("meta/position", "float32", (3,), ("sample", "axis"), "m", "x, y, z"), position),
            (ArraySpec("split/random", "uint8", (), ("sample",), "1", "random split"), rng.permutation(thirds)),
            (ArraySpec("split/spatial", "uint8", (), ("sample",), "1", "by x"), thirds[np.argsort(position[:, 0])]),
        )
        return BuildPlan(
            kind="channel",
            samples=s.samples,
            arrays=arrays,
            columns=columns,
            sources=({"path": "fake", "bytes": 0, "sha256": SOURCE_DIGEST},),
            attrs={"splits": {"default": "random", "available": {"random": {"leak": {"share_within_5_m": 0.5}}}}},
            state={"gain_db": rng.uniform(-120, -80, s.samples)},
        )

    def rows(self, start: int, stop: int, state: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        s = self.source
        time.sleep(s.pause_s)
        if os.environ.get("WFM_FAKE_DIE_AT") == str(start):
            os._exit(9)
        paths = np.stack([self._paths(row) for row in range(start, stop)])  # (n, 3, [re, im, angle, delay])
        los = (np.arange(start, stop) * 2654435761 % 97 % 2).astype(np.int8)
        weight = np.where(los[:, None] == 1, [1.0, 0.05, 0.02], [0.6, 0.5, 0.4])
        gain = (paths[..., 0] + 1j * paths[..., 1]) * weight
        steer = np.exp(1j * np.pi * np.sin(paths[..., 2, None]) * np.arange(s.antennas))
        ramp = np.exp(-2j * np.pi * np.abs(paths[..., 3, None]) * np.arange(s.subcarriers) / s.subcarriers)
        h = np.einsum("up,upm,upk->umk", gain, steer, ramp)
        h *= (10 ** (state["gain_db"][start:stop] / 20) / np.sqrt((np.abs(h) ** 2).mean((1, 2))))[:, None, None]
        channel = (h * 1e6).astype(np.complex64)
        return {
            "channel": channel,
            "labels/los": los,
            "meta/log_power_db": (10 * np.log10((np.abs(h) ** 2).mean((1, 2)))).astype(np.float32),
        }

    def _paths(self, row: int) -> np.ndarray[Any, Any]:
        return np.random.default_rng([self.seed, 2, row]).standard_normal((3, 4))


def fake_recipe(
    samples: int = 64, antennas: int = 8, subcarriers: int = 8, seed: int = 0, *, pause_s: float = 0.0, **layout: Any
) -> FakeRecipe:
    """A recipe of the fake builder; `layout` are fields of `Layout`."""
    source = FakeSource(samples=samples, antennas=antennas, subcarriers=subcarriers, pause_s=pause_s)
    return FakeRecipe(name="fake", source=source, seed=seed, layout=Layout(**layout))


def make_store(
    path: Path, samples: int = 64, antennas: int = 8, subcarriers: int = 8, seed: int = 0, **layout: Any
) -> Store:
    """Make a finished store at `path` and open it.

    Arrays: `channel` complex64 (samples, antennas, subcarriers), `labels/los` int8, `meta/log_power_db` float32,
    `meta/position` float32 (samples, 3), `split/random` and `split/spatial` uint8 (70/10/20 %).
    """
    init(fake_recipe(samples, antennas, subcarriers, seed, **layout), path)
    load(path, progress=False)
    finalise(path)
    return open_store(path)
