"""A tiny builder and finished stores made by it, through the same path as real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import Layout, PrepareRecipe
from wfm_cli.core.store import BUILDERS, ArraySpec, BuildPlan, Store, finalise, init, load, open_store
from wfm_cli.errors import InputError

SOURCE_DIGEST = "0" * 64
BUILDERS["fake"] = "tests.fakes.stores:FakeBuilder"
BUILDERS["fake-spectrogram"] = "tests.fakes.stores:FakeSpectrogramBuilder"


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


STANDARDS = ("wifi", "lte", "nr")
MODULATIONS = ("bpsk", "qpsk", "16qam", "64qam", "256qam")
MOBILITIES = ("pedestrian", "vehicular")
SNRS_DB = (-5, 0, 5, 10, 15, 20, 25)


class FakeSpectrogramSource(Strict):
    """Made spectrograms whose labels can be learned."""

    kind: Literal["fake-spectrogram"] = "fake-spectrogram"
    samples: int = 336
    size: int = 32


class FakeSpectrogramRecipe(PrepareRecipe):
    """A recipe for the spectrogram builder."""

    source: FakeSpectrogramSource = FakeSpectrogramSource()  # type: ignore[assignment]


class FakeSpectrogramBuilder:
    """Every row is a pure function of (seed, row); two rows make a recording.

    The standard decides which frequencies are occupied and when (WiFi in bursts, LTE in half of the frames of its edge,
    NR throughout but off centre), the modulation how much the level of occupied bins varies, the mobility how fast it
    fades in time, and the SNR its mean over a noise floor of -90 dB.
    """

    source_model: ClassVar[type[Strict]] = FakeSpectrogramSource

    def __init__(self, source: FakeSpectrogramSource, seed: int) -> None:
        self.source, self.seed = source, seed

    def plan(self) -> BuildPlan:
        n, size = self.source.samples, self.source.size
        recording = np.arange(n) // 2
        snr, mobility, standard, modulation = self._truth(recording)
        joint = snr * len(MOBILITIES) + mobility
        joint_names = [f"{s} {m}" for s in SNRS_DB for m in MOBILITIES]
        shape = ("sample", "channel", "frequency", "time")
        spec = ArraySpec("spectrogram", "float16", (1, size, size), shape, "dBFS", "power", {"normalise": "raw"})
        # Of the twelve recordings of a joint class in turn: eight train, two are for validation, two for the test.
        turn = recording // (len(SNRS_DB) * len(MOBILITIES)) % 6
        split = np.where(turn < 4, 0, turn - 3).astype(np.uint8)
        random = np.random.default_rng([self.seed, 1]).permutation(split)

        def label(name: str, values: np.ndarray[Any, Any], classes: Sequence[str]) -> tuple[ArraySpec, Any]:
            attrs = {"classes": list(classes)}
            return ArraySpec(f"labels/{name}", "int16", (), ("sample",), "1", name, attrs), values.astype(np.int16)

        names = {"classes": [f"recording-{i:04d}" for i in range(int(recording[-1]) + 1)]}
        columns = (
            label("standard", standard, STANDARDS),
            label("modulation", modulation, MODULATIONS),
            label("mobility", mobility, MOBILITIES),
            label("snr_mobility", joint, joint_names),
            label("snr", snr, [str(s) for s in SNRS_DB]),
            label("label", standard, STANDARDS),
            (ArraySpec("meta/snr_db", "float32", (), ("sample",), "dB", "SNR"), np.float32(SNRS_DB)[snr]),
            (
                ArraySpec("meta/recording", "int32", (), ("sample",), "1", "file", names),
                recording.astype(np.int32),
            ),
            (ArraySpec("split/recording", "uint8", (), ("sample",), "1", "whole recordings"), split),
            (ArraySpec("split/random", "uint8", (), ("sample",), "1", "random split"), random),
            # A third of the recordings each, of which training holds the others; the scenario is the second half.
            *(
                (ArraySpec(f"split/{name}", "uint8", (), ("sample",), "1", name), np.asarray(part, np.uint8))
                for name, part in (
                    *((f"fold_{k}", np.where(turn % 3 == k, 2, recording % 5 == 0)) for k in range(3)),
                    ("scenario", np.where(recording >= recording[-1] // 2, 2, turn == 1)),
                )
            ),
        )
        return BuildPlan(
            kind="spectrogram",
            samples=n,
            arrays=(spec,),
            columns=columns,
            sources=({"path": "fake", "bytes": 0, "sha256": SOURCE_DIGEST},),
            attrs={"input": "spectrogram", "splits": {"default": "recording", "available": {}}},
            state={},
        )

    def rows(self, start: int, stop: int, state: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        made = np.stack([self._row(row) for row in range(start, stop)])
        return {"spectrogram": made[:, None].astype(np.float16)}

    def _truth(self, recording: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], ...]:
        """Numbers of SNR, mobility, standard and modulation; the last two run through all pairs with the first two."""
        joint, turn = recording % 14, recording // 14
        return joint // 2, joint % 2, (turn + joint) % 3, (turn + 2 * joint) % 5

    def _row(self, row: int) -> np.ndarray[Any, Any]:
        size = self.source.size
        snr, mobility, standard, modulation = (int(v) for v in self._truth(np.array(row // 2)))
        rng = np.random.default_rng([self.seed, 2, row])
        f, t = np.arange(size)[:, None] / size, np.arange(size)[None, :] / size
        phase = rng.uniform(0, 2 * np.pi, 3)
        if standard == 0:
            occupied = (np.abs(f - 0.5) < 0.38) & (np.cos(2 * np.pi * 3 * t + phase[0]) > -0.3)
        elif standard == 1:
            occupied = (np.abs(f - 0.5) < 0.25) | ((np.abs(f - 0.5) < 0.44) & (np.cos(4 * np.pi * t + phase[0]) > 0))
        else:
            occupied = (np.abs(f - 0.42) < 0.32) & (t >= 0)
        speed = 12.0 if mobility else 1.0
        fading = 1 + 0.85 * np.cos(2 * np.pi * speed * t + phase[1]) * np.cos(2 * np.pi * 1.5 * f + phase[2])
        shape = (12.0, 6.0, 3.0, 1.5, 0.75)[modulation]
        level = rng.gamma(shape, 1 / shape, (size, size)) * fading * 10 ** (SNRS_DB[snr] / 10)
        power = rng.gamma(4.0, 0.25, (size, size)) + occupied * level
        return np.asarray(10 * np.log10(power) - 90.0)


def make_spectrogram_store(path: Path, samples: int = 336, size: int = 32, seed: int = 0, **layout: Any) -> Store:
    """Make a finished store of spectrograms at `path` and open it.

    Arrays: `spectrogram` float16 (samples, 1, size, size) in dB; `labels/standard` (3), `labels/modulation` (5),
    `labels/mobility` (2), `labels/snr` (7), `labels/snr_mobility` (14), `labels/label` (the standard) int16 with their
    classes; `meta/snr_db` float32, `meta/recording` int32; `split/recording` (the default), `split/random`,
    `split/scenario` and `split/fold_0` to `fold_2` uint8. With a multiple of 168 samples every joint class
    stands in every part.
    """
    source = FakeSpectrogramSource(samples=samples, size=size)
    init(FakeSpectrogramRecipe(name="fake", source=source, seed=seed, layout=Layout(**layout)), path)
    load(path, progress=False)
    finalise(path)
    return open_store(path)
