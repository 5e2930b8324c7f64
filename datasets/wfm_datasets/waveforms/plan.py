"""Which recordings a recipe asks for, and in what numbers."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from wfm_cli.core.provenance import digest
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.scenario import locate
from wfm_datasets.waveforms.users import SPEED_OF_LIGHT, Users, coherence_s, read_users

FORMAT = 1
"""Raised whenever the same recipe makes other samples."""
BYTES = {"ci16_le": 4, "cf32_le": 8}
"""Bytes of a complex sample."""
FIELDS = ("standard", "waveform", "modulation", "snr_db", "mobility", "scenario")


@dataclass(frozen=True)
class Item:
    """One recording to make."""

    standard: str
    waveform: str
    modulation: str
    snr_db: float
    mobility: str
    scenario: str
    draw: int
    """Counts the recordings that agree in all of these."""

    @property
    def name(self) -> str:
        """Path below the folder, without suffix."""
        parts = (self.waveform, self.modulation, self.scenario, self.mobility, f"snr{self.snr_db:g}")
        return f"{self.standard}/{'-'.join(parts)}-{self.draw:03d}"

    def seed(self, seed: int) -> int:
        """Seed of all that is random in the recording: a function of its name and the recipe's seed alone."""
        return int.from_bytes(hashlib.sha256(f"{seed}/{self.name}".encode()).digest()[:16], "little")


@dataclass(frozen=True)
class Plan:
    """All recordings of a recipe."""

    recipe: WaveformsRecipe
    items: tuple[Item, ...]
    users: dict[str, Users]
    """Users by the name of their scenario."""

    @property
    def samples(self) -> int:
        """Samples of a recording."""
        return self.recipe.receiver.rate_khz * self.recipe.duration_ms

    @property
    def bytes(self) -> int:
        """Size of the samples of all recordings."""
        return len(self.items) * self.samples * BYTES[self.recipe.datatype]

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Records of the scenario files."""
        return [dict(record) for users in self.users.values() for record in users.sources]

    @property
    def sha256(self) -> str:
        """Identifies every byte that will be written, but for the versions of packages."""
        recipe = {k: v for k, v in to_dict(self.recipe).items() if k not in ("name", "description")}
        files = [(Path(record["path"]).name, record["sha256"]) for record in self.sources]
        return digest({"format": FORMAT, "recipe": recipe, "files": files})

    def counts(self) -> dict[str, dict[str, int]]:
        """Recordings by the value of every property, and by SNR and mobility together."""
        made = {field: dict(Counter(_text(getattr(item, field)) for item in self.items)) for field in FIELDS}
        pairs = Counter(f"{_text(item.snr_db)}/{item.mobility}" for item in self.items)
        return {**made, "snr_db/mobility": dict(pairs)}


def plan(recipe: WaveformsRecipe) -> Plan:
    """Read the scenarios and list the recordings.

    Raises:
        InputError: a scenario cannot be used, or a recording is shorter than the coherence time of a moving class.
    """
    names = [locate(spec).name for spec in recipe.scenarios]
    if len(set(names)) < len(names):
        raise InputError(f"scenarios: two scenarios are called '{names[-1]}'", "rename a folder, or give each once")
    users = {
        name: read_users(spec, recipe.bs, recipe.strongest_path)
        for name, spec in zip(names, recipe.scenarios, strict=True)
    }
    for found in users.values():
        _long_enough(recipe, found)
    return Plan(recipe, tuple(_items(recipe, names)), users)


def _long_enough(recipe: WaveformsRecipe, users: Users) -> None:
    for name, (low, _) in recipe.mobility.items():
        needed = coherence_s(low * users.frequency_hz / SPEED_OF_LIGHT) * 1e3
        if low > 0 and needed > recipe.duration_ms:
            raise InputError(
                f"duration_ms: {recipe.duration_ms} ms are shorter than the coherence time of {name} users at "
                f"{low:g} m/s in {users.name} ({needed:.1f} ms): their motion would not show",
                f"set duration_ms to {math.ceil(needed)} or more, or a higher lowest speed in mobility.{name}",
            )


def _items(recipe: WaveformsRecipe, scenarios: Sequence[str]) -> Iterator[Item]:
    waveforms = ("ofdm", "single_carrier") if recipe.waveform == "both" else (recipe.waveform,)
    order = spread([recipe.standards, waveforms, recipe.modulations, scenarios])
    first = 0
    for snr_db, mobility in product(recipe.snr_db, recipe.mobility):
        for number in range(recipe.per_class):
            standard, waveform, modulation, scenario = order[(first + number) % len(order)]
            yield Item(standard, waveform, modulation, snr_db, mobility, scenario, number // len(order))
        first += recipe.per_class


def spread(values: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """All combinations in an order whose every beginning has each value, and each pair, about equally often."""
    left = list(product(*(range(len(of)) for of in values)))
    seen: Counter[tuple[tuple[int, int], ...]] = Counter()
    made = []

    def parts(choice: tuple[int, ...]) -> list[tuple[tuple[int, int], ...]]:
        single = list(enumerate(choice))
        return [(a,) for a in single] + [(a, b) for i, a in enumerate(single) for b in single[i + 1 :]]

    while left:
        choice = min(left, key=lambda c: sum(seen[part] * (4 if len(part) == 1 else 1) for part in parts(c)))
        left.remove(choice)
        seen.update(parts(choice))
        made.append(tuple(of[index] for of, index in zip(values, choice, strict=True)))
    return made


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
