"""Stores with chosen values, and untrained encoders saved as runs: what probes and benchmarks are fed with in tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from wfm_cli.core.models import build_encoder
from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.models import LWMModel, LWMSpectroModel
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.signal.codebook import beam_labels
from wfm_cli.core.store import BUILDERS, ArraySpec, BuildPlan, Store, finalise, init, load, open_store
from wfm_cli.core.store.run import Run

BUILDERS["given"] = "tests.fakes.evaluation:GivenBuilder"
ANTENNAS, SUBCARRIERS = 8, 16
TINY = LWMModel(layers=1, width=16, heads=2, ffn=16, dropout=0.0)


class GivenSource(Strict):
    """Arrays kept in `GivenBuilder.tables` under a name."""

    kind: Literal["given"] = "given"
    table: str


class GivenRecipe(PrepareRecipe):
    """A recipe for the builder of given arrays."""

    source: GivenSource  # type: ignore[assignment]


class GivenBuilder:
    """Lays given arrays into a store; `channel` is made part by part, the rest are columns."""

    source_model: ClassVar[type[Strict]] = GivenSource
    tables: ClassVar[dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}

    def __init__(self, source: GivenSource, seed: int) -> None:
        self.arrays, self.attrs = self.tables[source.table]

    def plan(self) -> BuildPlan:
        specs = {name: _spec(name, values, self.attrs.get(name, {})) for name, values in self.arrays.items()}
        splits = {name.removeprefix("split/"): {"leak": {"share": 0.25}} for name in specs if name.startswith("split/")}
        return BuildPlan(
            kind="channel",
            samples=len(self.arrays["channel"]),
            arrays=(specs.pop("channel"),),
            columns=tuple((spec, np.asarray(self.arrays[name])) for name, spec in specs.items()),
            attrs={"splits": {"default": next(iter(splits)), "available": splits}},
        )

    def rows(self, start: int, stop: int, state: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        return {"channel": np.asarray(self.arrays["channel"][start:stop])}


def _spec(name: str, values: np.ndarray[Any, Any], attrs: Mapping[str, Any]) -> ArraySpec:
    axes = ("sample", *(f"axis{i}" for i in range(values.ndim - 1)))
    return ArraySpec(name, values.dtype.name, values.shape[1:], axes, "1", f"given {name}", attrs)


def store_of(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], **attrs: Mapping[str, Any]) -> Store:
    """A finished store of given arrays (`channel`, one `split/NAME` at least); `attrs` by array, `channel={...}`."""
    GivenBuilder.tables[str(path)] = (arrays, attrs)
    init(GivenRecipe(name="given", source=GivenSource(table=str(path))), path)
    load(path, progress=False)
    finalise(path)
    return open_store(path)


def street(samples: int = 240, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Users with one strong path each: angle, power and line of sight can be read off the channel.

    Line of sight is 10 dB stronger on average (with 5 dB of shadowing), so log power tells it with few labels. Labels:
    `labels/los`, `labels/beam_16`, `meta/position` on an arc, `meta/scenario` of two halves, `meta/log_power_db`.
    Splits: `random`, and `city` by scenario.
    """
    rng = np.random.default_rng(seed)
    los = rng.integers(0, 2, samples)
    angle = rng.uniform(-60, 60, samples)
    power = -110 + 14 * los + 3 * rng.normal(size=samples)
    gain = 10 ** (power / 20) * np.exp(2j * np.pi * rng.random(samples))
    steer = np.exp(-1j * np.pi * np.sin(np.deg2rad(angle))[:, None] * np.arange(ANTENNAS))
    ramp = np.exp(-2j * np.pi * rng.uniform(0, 4, samples)[:, None] * np.arange(SUBCARRIERS) / SUBCARRIERS)
    channel = (gain[:, None, None] * steer[:, :, None] * ramp[:, None, :] * 1e6).astype(np.complex64)
    radius = 40 - (power + 110)
    position = np.stack([radius * np.cos(np.deg2rad(angle)), radius * np.sin(np.deg2rad(angle))], 1)
    parts = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2], np.uint8)[np.arange(samples) % 10]
    scenario = (np.arange(samples) >= samples // 2).astype(np.int16)
    return {
        "channel": channel,
        "labels/los": los.astype(np.int8),
        "labels/beam_16": beam_labels(channel, 16, "closed"),
        "meta/position": position.astype(np.float32),
        "meta/scenario": scenario,
        "meta/log_power_db": power.astype(np.float32),
        "split/random": rng.permutation(parts),
        "split/city": np.where(scenario == 1, 2, np.where(parts == 2, 0, parts)).astype(np.uint8),
    }


def spectrogram_run(path: Path, size: int, *, seed: int = 0, **block: Any) -> Run:
    """A run that holds an LWM-Spectro encoder with random weights for spectrograms of `size` x `size`."""
    sizes = {"layers": 2, "width": 16, "heads": 2, "patch": 8, "dropout": 0.0}
    model = LWMSpectroModel.model_validate({**sizes, **block})
    shape = (1, size, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(model, shape, ("channel", "frequency", "time"))
    about = {"model": model.model_dump(mode="json"), "sample_shape": list(shape), "array": "spectrogram"}
    run = Run.create(path, "import", {"step": "import"}, {**about, "normalise": "raw"})
    run.save_weights({f"encoder.{name}": value for name, value in encoder.state_dict().items()}, "last")
    return run


def encoder_run(
    path: Path, block: LWMModel = TINY, *, seed: int = 0, normalise: str | None = "published", **attrs: Any
) -> Run:
    """A run that holds an encoder with random weights, as `wfm import` or `wfm pretrain` leaves it."""
    shape = (ANTENNAS, SUBCARRIERS, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(block, shape)
    about = {"model": block.model_dump(mode="json"), "sample_shape": list(shape), "array": "channel"}
    run = Run.create(path, "import", {"step": "import"}, {**about, "normalise": normalise, **attrs})
    run.save_weights({f"encoder.{name}": value for name, value in encoder.state_dict().items()}, "last")
    return run
