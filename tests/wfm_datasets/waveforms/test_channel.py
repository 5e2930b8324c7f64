"""Moving paths against sums written out, and against Doppler spectra known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import j0

from tests.fakes.deepmimo import fake_rays, write_mat
from wfm_cli.errors import InputError
from wfm_datasets.waveforms.channel import delay, propagate, rotate
from wfm_datasets.waveforms.users import SPEED_OF_LIGHT, coherence_s, read_users

RATE = 1e6


def random_paths(rng: np.random.Generator, paths: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gain = (rng.standard_normal(paths) + 1j * rng.standard_normal(paths)).astype(np.complex64)
    return gain, rng.uniform(0, 3e-6, paths), rng.uniform(-900, 900, paths)


@pytest.mark.parametrize("size", [100, 500, 777, 1024])
def test_exponentials_are_those_of_the_definition(size: int) -> None:
    turns, gain = np.array([0.3, -0.0017, 12.25]), np.array([1, 2j, -3], np.complex64)
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((3, size)) + 1j * rng.standard_normal((3, size))).astype(np.complex64)
    out = np.empty_like(x)
    k = np.fft.fftfreq(size, 1 / size)
    wanted = gain[:, None] * x[0] * np.exp(-2j * np.pi * turns[:, None] * k)
    np.testing.assert_allclose(delay(x[0], turns, out, gain), wanted, atol=1e-5)
    wanted = x * np.exp(2j * np.pi * turns[:, None] * np.arange(-3, size - 3))
    np.testing.assert_allclose(rotate(x, turns, -3, out), wanted, atol=5e-6)
    np.testing.assert_allclose(rotate(x, turns, -3, x), wanted, atol=5e-6)  # in place


@pytest.mark.parametrize("group", [1, 1 << 20])
@pytest.mark.parametrize("moving", [True, False])
def test_a_channel_is_the_sum_over_its_paths(moving: bool, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """y(t) = sum_p a_p exp(2 pi i f_p t) x(t - tau_p), x from its own Fourier sum at the delayed time."""
    monkeypatch.setattr("wfm_datasets.waveforms.channel.BLOCK_BYTES", group)
    rng = np.random.default_rng(0)
    size = 600
    spectrum = (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)
    spectrum[size // 2] = 0  # the Nyquist frequency has no sign
    gain, late, doppler = random_paths(rng)
    doppler *= moving
    made = np.fft.ifft(propagate(spectrum, RATE, gain, late, doppler))
    frequency = np.fft.fftfreq(size, 1 / RATE)
    for n in (0, 1, 7, 299, 599):
        value = 0j
        for a, tau, shift in zip(gain.tolist(), late.tolist(), doppler.tolist(), strict=True):
            x = sum(spectrum[k] * np.exp(2j * np.pi * frequency[k] * (n / RATE - tau)) for k in range(size)) / size
            value += a * np.exp(2j * np.pi * shift * n / RATE) * x
        assert abs(made[n] - value) < 1e-5 * np.abs(gain).sum()


def test_a_moving_path_shifts_a_tone() -> None:
    size, tone, shift = 20_000, 1200, 350.0  # bins of 50 Hz
    spectrum = np.zeros(size, np.complex64)
    spectrum[tone] = size
    made = propagate(spectrum, RATE, np.ones(1, np.complex64), np.array([1e-6]), np.array([shift]))
    assert np.abs(made).argmax() == tone + round(shift / (RATE / size))
    assert np.abs(made[tone]) < 1e-3 * np.abs(made).max()


def test_the_correlation_over_time_is_that_of_isotropic_scattering() -> None:
    """Paths from all sides: J0(2 pi f_d t), alike within the stated coherence time, gone soon after."""
    rng, doppler, size = np.random.default_rng(1), 800.0, 2048
    spectrum = np.zeros(size, np.complex64)
    spectrum[0] = size  # a constant: the output is the channel itself
    step = 1 / 8e5
    envelopes = []
    for _ in range(300):
        gain = np.exp(2j * np.pi * rng.random(24)).astype(np.complex64) / np.sqrt(np.float32(24))
        shift = doppler * np.cos(rng.uniform(0, 2 * np.pi, 24))
        envelopes.append(np.fft.ifft(propagate(spectrum, 1 / step, gain, np.zeros(24), shift)))
    h = np.array(envelopes)
    lags = np.arange(0, size, 100)
    measured = np.array([np.mean(h[:, lag] * h[:, 0].conj()).real for lag in lags])
    np.testing.assert_allclose(measured, j0(2 * np.pi * doppler * lags * step), atol=0.12)
    inside = lags * step <= coherence_s(doppler)
    assert measured[inside].min() > 0.5
    assert np.abs(measured[lags * step > 2 * coherence_s(doppler)]).min() < 0.2


def test_users_of_the_canyon() -> None:
    users = read_users("embedded:canyon_3p5", 1)
    assert (users.name, users.frequency_hz, len(users)) == ("canyon_3p5", 3.5e9, 2162)
    np.testing.assert_allclose(np.square(np.abs(users.gain)).sum(1), 1, rtol=1e-5)
    present = users.gain != 0
    assert users.delay_s.min() == 0
    assert np.where(present, users.delay_s, 1).min(axis=1).max() == 0
    np.testing.assert_allclose(np.linalg.norm(users.direction[present], axis=1), 1, rtol=1e-6)


def test_users_whose_channel_does_not_fade_can_be_left_out() -> None:
    every, some = read_users("embedded:canyon_3p5", 1), read_users("embedded:canyon_3p5", 1, strongest_path=0.7)
    share = np.square(np.abs(every.gain)).max(1)
    np.testing.assert_array_equal(some.number, every.number[share <= 0.7])
    np.testing.assert_array_equal(some.direction, every.direction[share <= 0.7])
    with pytest.raises(InputError, match=r"every user has more than 0\.01 of the power in one path"):
        read_users("embedded:canyon_3p5", 1, strongest_path=0.01)


def test_doppler_is_positive_towards_the_source() -> None:
    from wfm_datasets.deepmimo.scenario import read_scenario

    scenario = read_scenario("embedded:canyon_28", 1)
    users = read_users("embedded:canyon_28", 1)
    seen = np.flatnonzero(scenario.los[users.number])
    for user in seen[:: len(seen) // 20].tolist():
        towards = scenario.bs_position_m - scenario.position_m[users.number[user]]
        towards = towards / np.linalg.norm(towards)
        straight = int(users.delay_s[user][users.gain[user] != 0].argmin())
        shift = users.doppler_hz(user, 10.0 * towards)
        assert shift[straight] == pytest.approx(10 * 28e9 / SPEED_OF_LIGHT, rel=1e-5)
        assert users.doppler_hz(user, -10.0 * towards)[straight] == pytest.approx(-shift[straight])
        assert np.abs(shift).max() <= 10 * 28e9 / SPEED_OF_LIGHT * (1 + 1e-6)


def test_the_older_layout_carries_the_angles_too(tmp_path: Path) -> None:
    rays = fake_rays(12, seed=3)
    write_mat(tmp_path / "city", {1: rays})
    users = read_users(str(tmp_path / "city"), 1)
    assert users.direction.shape == (*users.gain.shape, 3)
    assert users.gain.shape == users.delay_s.shape
    np.testing.assert_allclose(np.square(np.abs(users.gain)).sum(1), 1, rtol=1e-5)


def test_coherence_time() -> None:
    assert coherence_s(100.0) == pytest.approx(1.79e-3, rel=1e-2)
    assert coherence_s(0.0) == float("inf")
