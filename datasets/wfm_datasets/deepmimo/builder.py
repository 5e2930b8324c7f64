"""The DeepMIMO builder: scenario folders in, channels with line-of-sight and beam labels out."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import DeepMIMOSource
from wfm_cli.core.signal.channels import Rays, delay_limit_s, late_paths, synthesise
from wfm_cli.core.signal.codebook import beam_labels, subcarrier_mean
from wfm_cli.core.signal.power import log_power_db, normalise_power
from wfm_cli.core.store import splits
from wfm_cli.core.store.build import BuildPlan
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo import describe
from wfm_datasets.deepmimo.scenario import Scenario, drop_late, limit_paths, locate, read_scenario

_STATE = ("power_db", "phase_deg", "delay_s", "aod_az_deg", "aod_el_deg")


@dataclass(frozen=True)
class _Kept:
    """The users of one scenario that become samples, and what is told about the others."""

    scenario: Scenario
    place: bytes
    """Digest of the user grid: scenarios on the same grid are the same place."""
    counts: Mapping[str, Any]


class DeepMIMOBuilder:
    """Builds `channel`, `labels/*`, `meta/*` and `split/*` from DeepMIMO scenarios.

    `plan` reads the rays and decides on users, labels of the line of sight and splits; `rows` makes the channels and
    what follows from them.
    """

    def __init__(self, source: Strict, seed: int) -> None:
        if not isinstance(source, DeepMIMOSource):
            raise TypeError(f"DeepMIMOBuilder needs a DeepMIMOSource, got {type(source).__name__}")
        self.source = source
        self.seed = seed

    def plan(self) -> BuildPlan:
        """Read every scenario and lay out the store.

        Raises:
            InputError: see `read_scenario`; moreover a path later than 1/subcarrier spacing, a name used twice, a base
                station or test city of an unknown scenario, or a split that cannot be made.
        """
        kept = [self._keep(*job) for job in self._jobs()]
        scenarios = [entry.scenario for entry in kept]
        rays = _stack([scenario.rays for scenario in scenarios])
        position = np.concatenate([scenario.position_m for scenario in scenarios])
        number = np.repeat(np.arange(len(kept)), [len(s.los) for s in scenarios])
        places = {digest: rank for rank, digest in enumerate(dict.fromkeys(entry.place for entry in kept))}
        place = np.array([places[entry.place] for entry in kept])
        made, default = self._splits(position, place, number, [s.name for s in scenarios])
        names = [scenario.name for scenario in scenarios]
        columns = [
            (describe.LOS, np.concatenate([s.los for s in scenarios]).astype(np.int8)),
            (describe.POSITION, position),
            (describe.scenario(names), number.astype(np.int16)),
            (describe.PATH_COUNT, rays.present.sum(axis=1).astype(np.int16)),
            *((splits.column(name), values) for name, values in made.items()),
        ]
        of_sample = place[number]
        return BuildPlan(
            kind="channel",
            samples=len(number),
            arrays=describe.arrays(self.source),
            columns=tuple(columns),
            sources=tuple(record for scenario in scenarios for record in scenario.sources),
            attrs={
                "conventions": describe.conventions(self.source),
                "scenarios": {e.scenario.name: {**e.counts, "place": places[e.place]} for e in kept},
                "splits": {
                    "default": default,
                    "available": {name: splits.describe(position, of_sample, split) for name, split in made.items()},
                },
            },
            state={name: getattr(rays, name) for name in _STATE},
        )

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Channels, beam labels and log power of samples [start, stop)."""
        source = self.source
        channel = synthesise(
            Rays(*(state[name][start:stop] for name in _STATE)),
            antennas=source.antennas,
            subcarriers=source.subcarriers,
            spacing_hz=source.spacing_khz * 1e3,
            rotation_deg=source.rotation_deg,
        )
        mean = subcarrier_mean(channel)
        made: dict[str, NDArray[Any]] = {"meta/log_power_db": log_power_db(channel)}
        for name, beams, grid in describe.beam_arrays(source.beams):
            made[name] = beam_labels(mean, beams, grid)
        if source.normalise == "published":
            channel *= np.float32(describe.PUBLISHED_SCALE)
        elif source.normalise == "power":
            normalise_power(channel, out=channel)
        return {"channel": channel, **made}

    def _jobs(self) -> list[tuple[str, int]]:
        """Scenario folders with the base station to read of each."""
        specs = self.source.scenarios
        names = [locate(spec).name for spec in specs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"scenarios: two scenarios are called '{twice}'", "give each folder once, or rename one")
        bs = self.source.bs
        if isinstance(bs, int):
            return [(spec, bs) for spec in specs]
        for name in bs:
            _known("bs", name, names)
        for name in names:
            if name not in bs:
                raise InputError(f"bs: no base station is given for scenario '{name}'", f"add {name}: NUMBER to bs")
        return [(spec, bs[name]) for spec, name in zip(specs, names, strict=True)]

    def _keep(self, spec: str, bs: int) -> _Kept:
        """Read one scenario, cut its paths, drop users without one, and count."""
        whole = read_scenario(spec, bs)
        spacing_hz = self.source.spacing_khz * 1e3
        scenario, cut = limit_paths(whole, self.source.paths)
        if self.source.late_paths == "error":
            _refuse_late(spec, scenario.rays, spacing_hz)
        scenario, late = drop_late(scenario, spacing_hz)
        served = scenario.served
        if not served.any():
            raise InputError(
                f"{spec}: every path of base station {bs} arrives after 1/subcarrier spacing",
                "use a smaller subcarrier spacing (spacing_khz)",
            )
        users = scenario.take(served)
        counts = {
            "bs": bs,
            "frequency_hz": whole.frequency_hz,
            "bs_position_m": [round(float(value), 4) for value in whole.bs_position_m],
            "users": len(served),
            "no_path": int((~whole.served).sum()),
            "only_late_paths": int((whole.served & ~served).sum()),
            "samples": int(served.sum()),
            "los": int(users.los.sum()),
            "nlos": int((~users.los).sum()),
            "los_not_first_path": whole.los_not_first,
            "max_delay_s": float(np.nanmax(users.rays.delay_s)),
            "late_paths_dropped": late,
            "users_cut_to_max_paths": int((cut > 0).sum()),
            "largest_power_share_cut": float(cut.max()),
        }
        grid = np.rint(whole.position_m.astype(np.float64) * 100).astype("<i8")
        return _Kept(users, hashlib.sha256(grid.tobytes()).digest(), counts)

    def _splits(
        self, position: NDArray[np.float32], place: NDArray[Any], number: NDArray[Any], names: list[str]
    ) -> tuple[dict[str, splits.Split], str]:
        """Every split that is possible, and the name of the default one."""
        source = self.source
        test_city = source.test_city or names[-1]
        _known("test_city", test_city, names)
        if source.test_city is not None and place.max() == 0:
            raise InputError(
                f"test_city: without '{test_city}' nothing is left to train on", "add scenarios of other places"
            )
        made = splits.available_splits(
            position,
            place[number],
            test_place=int(place[names.index(test_city)]),
            fractions=source.fractions,
            block_m=source.block_m,
            seed=[self.seed, source.split_seed],
        )
        if source.split is not None and source.split not in made:
            reason = {
                "city": f"leaves a part without users at blocks of {source.block_m:g} m",
                "spatial": f"leaves a part without users at blocks of {source.block_m:g} m",
                "random": f"leaves a part without users ({len(number)} samples)",
            }[source.split]
            if source.split == "city" and place.max() == 0:
                reason = "needs scenarios of two places or more"
            raise InputError(f"split: '{source.split}' {reason}", f"possible: {', '.join(made) or 'none'}")
        if not made:
            raise InputError(
                f"scenarios: {len(number)} users are too few for train, validation and test", "add scenarios"
            )
        return made, source.split or next(iter(made))


def _refuse_late(spec: str, rays: Rays, spacing_hz: float) -> None:
    late = late_paths(rays, spacing_hz)
    if late.any():
        worst, limit = float(rays.delay_s[late].max()), delay_limit_s(spacing_hz)
        raise InputError(
            f"{spec}: {int(late.sum())} paths have a delay of {limit * 1e6:.4g} us (1/subcarrier spacing) or more, "
            f"the largest {worst * 1e6:.4g} us",
            f"set spacing_khz below {1e-3 / worst:.4g} (more subcarriers keep the bandwidth), or late_paths: drop",
        )


def _known(field: str, name: str, names: list[str]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"scenarios: {', '.join(names)}"
        raise InputError(f"{field}: no scenario is called '{name}'", hint)


def _stack(parts: list[Rays]) -> Rays:
    """Rays of several scenarios below each other, padded to the same number of paths."""
    width = max(part.power_db.shape[1] for part in parts)

    def column(name: str) -> NDArray[Any]:
        columns = [getattr(part, name) for part in parts]
        padded = [np.pad(c, ((0, 0), (0, width - c.shape[1])), constant_values=np.nan) for c in columns]
        return np.ascontiguousarray(np.concatenate(padded), np.float32)

    return Rays(*(column(name) for name in _STATE))
