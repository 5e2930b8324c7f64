"""Generators against the standards: constellations, grids, prefixes, pilots, pulses, spectra."""

from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.recipe.waveforms import LTEGrid, NRGrid, WifiGrid
from wfm_datasets.waveforms import cellular, wifi
from wfm_datasets.waveforms.constellations import BITS, constellation, payload
from wfm_datasets.waveforms.signal import Grid, Signal, modulate
from wfm_datasets.waveforms.single_carrier import root_raised_cosine, shape_pulses, single_carrier

GRIDS = {
    "wifi": wifi.grid(WifiGrid(clock=10)),
    "lte": cellular.lte_grid(LTEGrid(resource_blocks=6)),
    "nr": cellular.nr_grid(NRGrid(resource_blocks=6)),
}


def generate(standard: str, seed: int, milliseconds: int = 8, modulation: str = "64qam") -> Signal:
    rng = np.random.default_rng(seed)
    if standard == "wifi":
        return wifi.wifi(rng, WifiGrid(clock=10), modulation, milliseconds)
    if standard == "lte":
        return cellular.lte(rng, LTEGrid(resource_blocks=6), modulation, milliseconds)
    return cellular.nr(rng, NRGrid(resource_blocks=6), modulation, milliseconds)


@pytest.mark.parametrize("family", ["3gpp", "ieee"])
@pytest.mark.parametrize("modulation", list(BITS))
def test_constellations_have_unit_power_and_are_gray(modulation: str, family: str) -> None:
    points = constellation(modulation, family)  # type: ignore[arg-type]
    assert len(set(points.tolist())) == len(points) == 2 ** BITS[modulation]
    assert np.mean(np.abs(points) ** 2) == pytest.approx(1, abs=1e-6)
    assert abs(points.mean()) < 1e-6
    distance = np.abs(points[:, None] - points[None])
    np.fill_diagonal(distance, np.inf)
    near = np.argwhere(distance < distance.min() * 1.001)
    assert all(bin(a ^ b).count("1") == 1 for a, b in near.tolist())


def test_constellations_are_those_of_the_formulas() -> None:
    """TS 38.211 5.1.5, 5.1.6, written out; IEEE 802.11-2020 Tables 17-17 and 17-18."""
    for word in range(256):
        b = [word >> (7 - i) & 1 for i in range(8)]
        s = [1 - 2 * bit for bit in b]
        point = s[0] * (8 - s[2] * (4 - s[4] * (2 - s[6]))) + 1j * s[1] * (8 - s[3] * (4 - s[5] * (2 - s[7])))
        assert constellation("256qam", "3gpp")[word] == pytest.approx(point / np.sqrt(170), abs=1e-6)
    for word in range(64):
        s = [1 - 2 * (word >> (5 - i) & 1) for i in range(6)]
        point = s[0] * (4 - s[2] * (2 - s[4])) + 1j * s[1] * (4 - s[3] * (2 - s[5]))
        assert constellation("64qam", "3gpp")[word] == pytest.approx(point / np.sqrt(42), abs=1e-6)
    eight = {0b000: -7, 0b001: -5, 0b011: -3, 0b010: -1, 0b110: 1, 0b111: 3, 0b101: 5, 0b100: 7}
    for i, in_phase in eight.items():
        for q, quadrature in eight.items():
            value = (in_phase + 1j * quadrature) / np.sqrt(42)
            assert constellation("64qam", "ieee")[i << 3 | q] == pytest.approx(value, abs=1e-6)
    four = {0b00: -3, 0b01: -1, 0b11: 1, 0b10: 3}
    for i, in_phase in four.items():
        assert constellation("16qam", "ieee")[i << 2 | 0b10].real == pytest.approx(in_phase / np.sqrt(10), abs=1e-6)
    np.testing.assert_allclose(constellation("bpsk", "ieee"), [-1, 1])
    np.testing.assert_allclose(constellation("bpsk", "3gpp"), np.array([1 + 1j, -1 - 1j]) / np.sqrt(2), rtol=1e-6)


def demodulate(stream: np.ndarray, grid: Grid, prefix: np.ndarray, early: int = 0) -> np.ndarray:
    """A textbook receiver: one FFT per symbol, begun `early` samples within the prefix."""
    made, at = [], 0
    for length in prefix.tolist():
        block = stream[at + length - early : at + length - early + grid.nfft].astype(np.complex128)
        bins = np.fft.fft(block)[grid.used % grid.nfft] * np.exp(2j * np.pi * grid.used * early / grid.nfft)
        made.append(bins * np.sqrt(len(grid.used)) / grid.nfft)
        at += length + grid.nfft
    assert at == len(stream)
    return np.array(made)


@pytest.mark.parametrize("standard", list(GRIDS))
@pytest.mark.parametrize("early", [0, 5])
def test_an_fft_at_the_right_time_gives_the_constellation_back(standard: str, early: int) -> None:
    rng, grid = np.random.default_rng(1), GRIDS[standard]
    if standard == "wifi":
        sent, prefix = wifi.packets(rng, "256qam", np.array([4, 7]))
    elif standard == "lte":
        sent = cellular.lte_frame(rng, 72, "256qam", 20, 0)
        prefix = cellular.lte_prefix(grid.nfft, len(sent))
    else:
        sent = cellular.nr_slots(rng, 72, "256qam", 4)
        prefix = cellular.nr_prefix(grid.nfft, 30, len(sent))
    error = demodulate(modulate(sent, grid, prefix), grid, prefix, early) - sent
    evm_db = 10 * np.log10(np.mean(np.abs(error) ** 2) / np.mean(np.abs(sent) ** 2))
    assert evm_db < -100


def test_wifi_numerology_training_and_pilots() -> None:
    grid = wifi.grid(WifiGrid())
    assert (grid.rate_hz, grid.spacing_hz, grid.nfft, len(grid.used)) == (20e6, 312.5e3, 64, 52)
    assert 0 not in grid.used
    assert grid.used.min() == -26
    values, prefix = wifi.packets(np.random.default_rng(0), "qpsk", np.array([3]))
    packet = modulate(values, grid, prefix)
    assert len(packet) == 160 + 160 + 80 * 4  # 8 us, 8 us, and SIGNAL with three symbols of 4 us
    np.testing.assert_allclose(packet[:144], packet[16:160], atol=1e-5)  # ten short symbols of 16
    np.testing.assert_allclose(packet[192:256], packet[256:320], atol=1e-6)  # two long ones of 64
    np.testing.assert_allclose(packet[160:192], packet[224:256], atol=1e-6)  # behind a guard interval of 32
    assert np.flatnonzero(np.abs(values[0])).tolist() == np.flatnonzero(grid.used % 4 == 0).tolist()
    power = np.mean(np.abs(packet[:160]) ** 2)
    assert power == pytest.approx(1, abs=1e-4)
    # 17.3.5.10 begins 1, 1, 1, 1, -1, -1, -1, 1; the pilot on carrier 21 is inverted (17.3.5.9).
    assert wifi.polarity()[:16].tolist() == [1, 1, 1, 1, -1, -1, -1, 1, -1, -1, -1, -1, 1, 1, -1, 1]
    assert wifi.polarity().sum() == -1  # a maximal sequence
    assert grid.used[wifi.PILOTS].tolist() == [-21, -7, 7, 21]
    assert values[2:6, wifi.PILOTS].real.tolist() == [[1, 1, 1, -1]] * 4


def test_lte_numerology_and_signals() -> None:
    for blocks, nfft in {6: 128, 15: 256, 25: 512, 50: 1024, 100: 2048}.items():
        grid = cellular.lte_grid(LTEGrid(resource_blocks=blocks))
        assert (grid.nfft, len(grid.used), grid.rate_hz) == (nfft, 12 * blocks, 15e3 * nfft)
        assert 0 not in grid.used
        slot = cellular.lte_prefix(nfft, 7)
        assert int((slot + nfft).sum()) * 2000 == grid.rate_hz  # 0.5 ms
        assert slot.tolist() == [10 * nfft // 128, *[9 * nfft // 128] * 6]
    frame = cellular.lte_frame(np.random.default_rng(2), 72, "16qam", 20, 0).reshape(20, 7, 72)
    for slot in (0, 10):
        primary = frame[slot, 6]
        assert not primary[:5].any()
        assert not primary[-5:].any()
        np.testing.assert_allclose(np.abs(primary[5:-5]), 1, atol=1e-6)
        whole = np.insert(primary[5:-5], 31, 0)  # a Zadoff-Chu sequence of 63 without its middle
        others = [abs(np.vdot(cellular.zadoff_chu(root), whole[whole != 0])) for root in cellular.ROOTS]
        assert sorted(others)[-1] == pytest.approx(62, abs=1e-3)
        assert sorted(others)[-2] < 24  # sqrt(63 x 9): the roots 25 and 34 differ by 9
    np.testing.assert_array_equal(frame[0, 6], frame[10, 6])
    assert not np.array_equal(frame[0, 5], frame[10, 5])
    offsets = [next(k for k in range(6) if _is_qpsk(frame[1:9, symbol, k::6])) for symbol in (0, 4)]
    assert (offsets[0] + 3) % 6 == offsets[1]
    blocks = np.abs(frame[2::2, 1].reshape(-1, 12)) ** 2
    assert set(blocks.mean(1).round(4).tolist()) == {0, 2}  # control blocks are used whole or not at all


def _is_qpsk(values: np.ndarray) -> bool:
    used = values[np.abs(values) > 0]
    return bool(len(used)) and np.allclose(np.abs(used.real), 0.5**0.5, atol=1e-6)


def test_nr_numerology_and_pilots() -> None:
    grid = cellular.nr_grid(NRGrid())
    assert (grid.nfft, len(grid.used), grid.spacing_hz) == (1024, 612, 30e3)
    assert cellular.nr_grid(NRGrid(resource_blocks=273)).nfft == 4096
    for spacing in (15, 30, 60):
        prefix = cellular.nr_prefix(2048, spacing, 14 * spacing // 15)
        assert int((prefix + 2048).sum()) * 1000 == 2048 * spacing * 1000  # a subframe is 1 ms
        assert set(prefix.tolist()) == {144, 144 + 16 * spacing // 15}
    slots = cellular.nr_slots(np.random.default_rng(3), 72, "64qam", 6).reshape(6, 14, 72)
    for symbol in (2, 11):
        assert not slots[:, symbol, 1::2].any()
        np.testing.assert_allclose(np.abs(slots[:, symbol, ::2]) ** 2, 2, rtol=1e-5)
    assert np.abs(slots[:, 3:11]).min() > 0


def test_empty_blocks_and_pauses() -> None:
    rng = np.random.default_rng(6)
    frame = np.abs(cellular.lte_frame(rng, 600, "qpsk", 20, 0, 0.6).reshape(10, 2, 7, 50, 12)) ** 2
    block = frame[:, :, 3].mean(axis=3)  # a symbol of payload alone
    np.testing.assert_array_equal(block[:, 0] > 0, block[:, 1] > 0)  # drawn by subframe
    np.testing.assert_allclose(block[block > 0], 1 / 0.6, rtol=1e-5)
    assert (block > 0).mean() == pytest.approx(0.6, abs=0.06)
    assert (frame[:, :, 4].max(axis=3) > 0).all()  # pilots are everywhere
    slots = np.abs(cellular.nr_slots(rng, 600, "qpsk", 20, 0.6).reshape(20, 14, 50, 12)) ** 2
    used = slots.max(axis=3) > 0
    assert (used[:, 2:] == used[:, 2:3]).all()  # drawn by slot, pilots with their blocks
    assert used[:, 2].mean() == pytest.approx(0.6, abs=0.06)
    lengths = np.array([5, 9])
    values, prefix = wifi.packets(rng, "qpsk", lengths, pause=4)
    packet = modulate(values, wifi.grid(WifiGrid()), prefix)
    assert len(packet) == wifi.size(lengths, 4).sum()
    silent = np.abs(packet) < 1e-6
    first = int(wifi.size(lengths, 0)[0])
    assert silent[first : first + 320].all()  # 16 us at 20 MS/s
    assert silent.sum() == 640
    assert np.mean(np.abs(packet) ** 2) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("standard", list(GRIDS))
def test_the_prefix_shows_at_the_lag_of_a_symbol(standard: str) -> None:
    x = generate(standard, 4).samples.astype(np.complex128)
    lags = np.arange(60 if standard == "wifi" else 100, 2 * GRIDS[standard].nfft)  # pilots on every other carrier: 64
    correlation = np.array([abs(np.vdot(x[:-lag], x[lag:])) for lag in lags]) / np.vdot(x, x).real
    assert lags[correlation.argmax()] == GRIDS[standard].nfft
    assert correlation.max() > 0.05


@pytest.mark.parametrize("standard", [*GRIDS, "single_carrier"])
def test_power_band_and_mean_spectrum_are_as_stated(standard: str) -> None:
    """The stated spectrum is the one that many draws have on average."""

    def draw(seed: int) -> Signal:
        if standard == "single_carrier":
            return single_carrier(np.random.default_rng(seed), 1.6e6, 0.25, 4, "qpsk", "3gpp", 4)
        return generate(standard, seed, 4)

    signals = [draw(seed) for seed in range(60)]
    power = np.mean([np.mean(np.abs(s.samples) ** 2) for s in signals])
    assert power == pytest.approx(1, abs=0.03)
    spectrum = np.mean([np.abs(np.fft.fft(s.samples)) ** 2 for s in signals], axis=0)
    first = signals[0]
    bins = len(first.samples)
    frequency = np.fft.fftfreq(bins, 4e-3 / bins)
    low, high = first.width_hz
    inside = (frequency >= low) & (frequency <= high)
    assert spectrum[inside].sum() / spectrum.sum() > 0.97
    smooth = np.ones(40) / 40
    measured, stated = (np.convolve(s / s.sum(), smooth, "same") for s in (spectrum, first.shape.astype(float)))
    wanted = stated > 1e-4 * stated.max()
    assert np.abs(10 * np.log10(measured[wanted] / stated[wanted])).max() < 1.5


def test_a_pair_of_pulses_leaves_no_interference() -> None:
    symbols = payload(np.random.default_rng(5), "64qam", "3gpp", (512,))
    x = shape_pulses(symbols, 4, 0.25)
    assert np.mean(np.abs(x) ** 2) == pytest.approx(1, abs=0.05)
    frequency = np.fft.fftfreq(len(x), 1 / 4)
    matched = np.fft.ifft(np.fft.fft(x.astype(np.complex128)) * root_raised_cosine(frequency, 1.0, 0.25))[::4]
    error = matched - symbols
    assert 10 * np.log10(np.mean(np.abs(error) ** 2)) < -100
    single = np.fft.ifft(np.fft.fft(x.astype(np.complex128)) * (np.abs(frequency) < 0.625))[::4]
    assert 10 * np.log10(np.mean(np.abs(single - symbols) ** 2)) > -30  # one pulse alone does interfere
    assert not np.abs(np.fft.fft(x))[np.abs(frequency) > 0.626].max() > 1e-3
