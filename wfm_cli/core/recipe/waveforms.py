"""Recipes of `wfm prepare waveforms`: which signals are made, how they travel and how they are received."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from wfm_cli.core.recipe.base import Recipe, Strict

Standard = Literal["wifi", "lte", "nr"]
Modulation = Literal["bpsk", "qpsk", "16qam", "64qam", "256qam"]


class WifiGrid(Strict):
    """IEEE 802.11 OFDM (clause 17): 64 carriers, 52 of them used, 16 samples of cyclic prefix."""

    clock: Literal[1, 2, 4, 10] = 1
    """The 20 MHz clock and the carrier spacing of 312.5 kHz divided by this: 2 and 4 are the channels of 10 and 5 MHz
    of clause 17, 10 is the ratio of sub-1-GHz Wi-Fi (clause 23: 2 MHz, 31.25 kHz)."""
    symbols: tuple[int, int] = (20, 100)
    """Fewest and most data symbols of a packet."""
    pause: int = Field(4, ge=0, le=1000)
    """Symbols of silence between packets; 4 are the short interframe space (16 us at 20 MHz, Table 17-21)."""

    @field_validator("symbols")
    @classmethod
    def _ordered(cls, symbols: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= symbols[0] <= symbols[1] <= 1366:
            raise ValueError("the two numbers must ascend within 1 to 1366")
        return symbols


class LTEGrid(Strict):
    """LTE downlink (TS 36.211 clause 6): carriers 15 kHz apart, normal cyclic prefix, none at zero frequency."""

    resource_blocks: int = Field(6, ge=6, le=100)
    """Blocks of 12 carriers: 6, 15, 25, 50, 75 and 100 are the channels of 1.4 to 20 MHz (TS 36.104 Table 5.6-1)."""
    load: float = Field(0.75, gt=0, le=1)
    """Share of the resource blocks that carry payload, drawn anew in every subframe; pilots are sent all the same."""


class NRGrid(Strict):
    """5G NR downlink (TS 38.211 clause 4): slots of 14 symbols, normal cyclic prefix."""

    resource_blocks: int = Field(51, ge=1, le=273)
    """Blocks of 12 carriers of the bandwidth part; 51 fill 20 MHz at 30 kHz (TS 38.101-1 Table 5.3.2-1)."""
    spacing_khz: Literal[15, 30, 60] = 30
    """Carrier spacing."""
    load: float = Field(0.75, gt=0, le=1)
    """Share of the resource blocks that carry payload and its pilots, drawn anew in every slot."""


class SingleCarrier(Strict):
    """Root-raised-cosine pulses in the bandwidth that the standard's OFDM signal occupies."""

    rolloff: float = Field(0.25, gt=0, le=1)
    """Excess bandwidth: the signal is (1 + rolloff) symbol rates wide."""
    oversampling: int = Field(4, ge=2, le=16)
    """Samples of a symbol where the pulse is shaped; the receiver resamples."""


class Receiver(Strict):
    """What turns the arriving signal into a recording."""

    rate_khz: int = Field(2560, ge=100, le=200_000)
    """Sample rate in kHz, one for all standards so that it tells nothing."""
    noise: Literal["matched", "white"] = "matched"
    """`matched` gives the noise the mean spectrum of the signal, so that no frequency and no guard band shows more of
    one than of the other; `white` leaves guard bands in which the noise alone can be read."""
    floor_db: float = Field(-50.0, ge=-90, le=-30)
    """White converter noise, dB of the total power after the gain control: the same at every SNR."""
    level_dbfs: tuple[float, float] = (-42.0, -24.0)
    """Mean power after the gain control, drawn evenly between the two, dB of full scale."""

    @field_validator("level_dbfs")
    @classmethod
    def _ordered(cls, level: tuple[float, float]) -> tuple[float, float]:
        if not -70 <= level[0] <= level[1] <= -15:
            raise ValueError("the two levels must ascend within -70 to -15 dBFS")
        return level


class WaveformsRecipe(Recipe):
    """Makes a folder of labelled SigMF recordings."""

    step: Literal["waveforms"] = "waveforms"
    standards: tuple[Standard, ...] = Field(("wifi", "lte", "nr"), min_length=1)
    """Standards whose frames or bandwidths are used."""
    waveform: Literal["ofdm", "single_carrier", "both"] = "both"
    """Frames of the standard, pulse-shaped symbols in its bandwidth, or half of each."""
    modulations: tuple[Modulation, ...] = Field(("bpsk", "qpsk", "16qam", "64qam", "256qam"), min_length=1)
    """Payload modulations."""
    snr_db: tuple[float, ...] = Field((-5, 0, 5, 10, 15, 20, 25), min_length=1)
    """Ratios of the signal's to the noise's mean power over a recording, dB."""
    mobility: dict[str, tuple[float, float]] = Field(
        {"static": (0, 0), "pedestrian": (0.8, 2.0), "vehicular": (8.0, 25.0)}, min_length=1
    )
    """Lowest and highest speed of each class in m/s; the heading is drawn from all directions."""
    scenarios: tuple[str, ...] = Field(("embedded:canyon_3p5", "embedded:canyon_28"), min_length=1)
    """DeepMIMO scenario folders whose users and carrier frequencies are used; a single antenna at both ends."""
    bs: int = Field(1, ge=1)
    """Number of the base station that transmits, from 1."""
    strongest_path: float = Field(1.0, gt=0, le=1)
    """Largest share of a user's power in one path. Below 1, users are left out whose channel hardly fades: one path
    alone keeps its magnitude, however fast the user moves."""
    per_class: int = Field(120, ge=1)
    """Recordings of every pair of SNR and mobility, spread evenly over the other properties."""
    duration_ms: int = Field(20, ge=1, le=1000)
    """Length of a recording. The slowest user of a moving class must outlive its coherence time 9/(16 pi f_d)."""
    wifi: WifiGrid = WifiGrid()
    """Wi-Fi numerology."""
    lte: LTEGrid = LTEGrid()
    """LTE numerology."""
    nr: NRGrid = NRGrid()
    """NR numerology."""
    single_carrier: SingleCarrier = SingleCarrier()
    """Pulse shape."""
    receiver: Receiver = Receiver()
    """Sample rate, noise and level."""
    datatype: Literal["ci16_le", "cf32_le"] = "ci16_le"
    """Numbers in the files."""
    seed: int = Field(0, ge=0)
    """Seed of everything random."""

    @field_validator("standards", "modulations", "snr_db", "scenarios")
    @classmethod
    def _distinct(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("every entry may be given once")
        return values

    @field_validator("mobility")
    @classmethod
    def _speeds(cls, mobility: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in mobility.items():
            if not name.isidentifier() or not 0 <= low <= high <= 200 or (low == 0 < high):
                raise ValueError(f"'{name}': two speeds of 0 to 200 m/s that ascend, both or neither 0")
        return mobility

    @model_validator(mode="after")
    def _rate_fits(self) -> WaveformsRecipe:
        if self.receiver.rate_khz * self.duration_ms < 128:
            raise ValueError("receiver.rate_khz x duration_ms makes fewer than 128 samples")
        return self
