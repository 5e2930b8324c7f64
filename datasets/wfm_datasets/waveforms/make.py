"""One recording, from its place in the plan to samples and description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import fft

from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_datasets.iq.recording import Annotation
from wfm_datasets.waveforms import cellular, wifi
from wfm_datasets.waveforms.channel import propagate
from wfm_datasets.waveforms.plan import Item
from wfm_datasets.waveforms.receiver import PASSBAND, Received, place, receive, resampled
from wfm_datasets.waveforms.signal import Signal
from wfm_datasets.waveforms.single_carrier import single_carrier
from wfm_datasets.waveforms.users import SPEED_OF_LIGHT, Users

MARGIN_MS = 1
"""Made beyond a recording, half before and half behind it: filters and delays are periodic there."""
START_S = 2e-4
"""Signals begin at a random time of this length, so that no symbol clock is known."""


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


def make(item: Item, recipe: WaveformsRecipe, scenarios: Mapping[str, Users]) -> Made:
    """Make the recording of `item`: a pure function of the item, the recipe and the users."""
    rng = np.random.default_rng(item.seed(recipe.seed))
    users = scenarios[item.scenario]
    user = int(rng.integers(len(users)))
    speed, heading = float(rng.uniform(*recipe.mobility[item.mobility])), float(rng.uniform(0, 2 * np.pi))
    doppler = users.doppler_hz(user, speed * np.array([np.cos(heading), np.sin(heading), 0.0]))
    delay = users.delay_s[user] + rng.uniform(0, START_S)
    signal = generate(rng, recipe, item)
    rate = recipe.receiver.rate_khz
    size = rate * (recipe.duration_ms + MARGIN_MS)
    sent = resampled(fft.fft(signal.samples), size)
    arrived = propagate(sent, rate * 1e3, users.gain[user], delay, doppler)
    keep = slice(rate * MARGIN_MS // 2, rate * MARGIN_MS // 2 + rate * recipe.duration_ms)
    received = receive(rng, arrived, place(signal.shape, size), item.snr_db, recipe.receiver, keep)
    edges = np.clip(signal.width_hz, -PASSBAND / 2 * rate * 1e3, PASSBAND / 2 * rate * 1e3) + users.frequency_hz
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
            "user": float(users.number[user]),
            "speed_mps": round(speed, 6),
            "heading_deg": round(float(np.degrees(heading)), 6),
            "doppler_hz": round(speed * users.frequency_hz / SPEED_OF_LIGHT, 6),
            "gain_db": round(received.gain_db, 6),
        },
    )
    return Made(received, annotation, users.frequency_hz)
