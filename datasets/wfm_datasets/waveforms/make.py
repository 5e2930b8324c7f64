"""One recording, from its place in the plan to samples and description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_datasets.iq.recording import Annotation
from wfm_datasets.waveforms import cellular, wifi
from wfm_datasets.waveforms.channel import propagate
from wfm_datasets.waveforms.plan import Item
from wfm_datasets.waveforms.receiver import PASSBAND, Received, passband, place, receive, resampled
from wfm_datasets.waveforms.signal import Complex, Signal
from wfm_datasets.waveforms.single_carrier import single_carrier
from wfm_datasets.waveforms.users import SPEED_OF_LIGHT, Users

MARGIN_MS = 1
"""Made beyond a recording, half before and half behind it: filters and delays are periodic there."""
START_S = 2e-4
"""Signals begin at a random time of this length, so that no symbol clock is known."""


@dataclass(frozen=True)
class Journey:
    """A user and the way it moves, as the paths between it and the base station."""

    user: int
    """Index in the scenario."""
    frequency_hz: float
    speed_mps: float
    heading_deg: float
    """Direction of motion, degrees from the x axis towards y."""
    gain: Complex
    """(P,)."""
    delay_s: NDArray[np.float64]
    """Behind the first arrival, (P,)."""
    doppler_hz: NDArray[np.float64]
    """(P,)."""


@dataclass(frozen=True)
class Made:
    """One recording."""

    received: Received
    annotation: Annotation
    center_frequency: float


def generate(rng: np.random.Generator, recipe: WaveformsRecipe, item: Item) -> Signal:
    """The transmitted signal over the recording's length and the margin."""
    milliseconds = recipe.duration_ms + MARGIN_MS
    if item.waveform == "single_carrier":
        low, high = _grid_width(recipe, item.standard)
        return single_carrier(
            rng,
            min(high - low, PASSBAND * recipe.receiver.rate_khz * 1e3),
            recipe.single_carrier.rolloff,
            recipe.single_carrier.oversampling,
            item.modulation,
            "ieee" if item.standard == "wifi" else "3gpp",
            milliseconds,
        )
    if item.standard == "wifi":
        return wifi.wifi(rng, recipe.wifi, item.modulation, milliseconds)
    if item.standard == "lte":
        return cellular.lte(rng, recipe.lte, item.modulation, milliseconds)
    return cellular.nr(rng, recipe.nr, item.modulation, milliseconds)


def _grid_width(recipe: WaveformsRecipe, standard: str) -> tuple[float, float]:
    if standard == "wifi":
        return wifi.grid(recipe.wifi).width_hz
    return (cellular.lte_grid(recipe.lte) if standard == "lte" else cellular.nr_grid(recipe.nr)).width_hz


def travel(item: Item, recipe: WaveformsRecipe, scenarios: Mapping[str, Users]) -> Journey:
    """Draw the user of a recording, its speed and its heading."""
    rng = np.random.default_rng([item.seed(recipe.seed), 0])
    users = scenarios[item.scenario]
    user = int(rng.integers(len(users)))
    speed, heading = float(rng.uniform(*recipe.mobility[item.mobility])), float(rng.uniform(0, 2 * np.pi))
    return Journey(
        user=int(users.number[user]),
        frequency_hz=users.frequency_hz,
        speed_mps=speed,
        heading_deg=float(np.degrees(heading)),
        gain=users.gain[user],
        delay_s=users.delay_s[user],
        doppler_hz=users.doppler_hz(user, speed * np.array([np.cos(heading), np.sin(heading), 0.0])),
    )


def make(item: Item, recipe: WaveformsRecipe, journey: Journey) -> Made:
    """Make the recording of `item`: a pure function of the arguments."""
    rng = np.random.default_rng([item.seed(recipe.seed), 1])
    delay = journey.delay_s + rng.uniform(0, START_S)
    signal = generate(rng, recipe, item)
    rate = recipe.receiver.rate_khz
    size = rate * (recipe.duration_ms + MARGIN_MS)
    sent = resampled(fft.fft(signal.samples), size)
    arrived = propagate(sent, rate * 1e3, journey.gain, delay, journey.doppler_hz)
    keep = slice(rate * MARGIN_MS // 2, rate * MARGIN_MS // 2 + rate * recipe.duration_ms)
    band = passband(size, rate * 1e3, signal.width_hz)
    received = receive(rng, arrived, place(signal.shape, size), band, item.snr_db, recipe.receiver, keep)
    edges = np.clip(signal.width_hz, -PASSBAND / 2 * rate * 1e3, PASSBAND / 2 * rate * 1e3) + journey.frequency_hz
    annotation = Annotation(
        start=0,
        count=len(received.samples),
        label=item.standard,
        low_hz=float(edges[0]),
        high_hz=float(edges[1]),
        fields={
            "standard": item.standard,
            "waveform": item.waveform,
            "modulation": item.modulation,
            "snr_db": float(item.snr_db),
            "mobility": item.mobility,
            "scenario": item.scenario,
            "user": float(journey.user),
            "speed_mps": round(journey.speed_mps, 6),
            "heading_deg": round(journey.heading_deg, 6),
            "doppler_hz": round(journey.speed_mps * journey.frequency_hz / SPEED_OF_LIGHT, 6),
            "gain_db": round(received.gain_db, 6),
        },
    )
    return Made(received, annotation, journey.frequency_hz)
