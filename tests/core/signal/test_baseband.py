"""Hand-made features against signals whose values are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from wfm_cli.core.signal.baseband import iq_features, pulse_features

LOG_POWER, KURTOSIS, SECOND, FOURTH, MEAN, ENVELOPE, STEP_RE, STEP_IM = range(64, 72)


def features(signal: np.ndarray) -> np.ndarray:
    return iq_features(signal[None, None].astype(np.complex64))[0]


@pytest.mark.parametrize("k", [0, 5, 40])
def test_a_tone(k: int) -> None:
    got = features(3 * np.exp(2j * np.pi * k * np.arange(512) / 64))
    assert got[:64].argmax() == (k + 32) % 64
    assert got[:64].max() == 0
    assert np.sort(got[:64])[-2] < -80
    assert got[LOG_POWER] == pytest.approx(20 * np.log10(3), abs=1e-4)
    assert got[ENVELOPE] == pytest.approx(0, abs=1e-3)
    angle = 2 * np.pi * k / 64
    np.testing.assert_allclose(got[[STEP_RE, STEP_IM]], [np.cos(angle), np.sin(angle)], atol=1e-4)


def test_moments_tell_constellations_apart() -> None:
    rng = np.random.default_rng(0)
    bpsk = rng.choice([-1.0, 1.0], 20_000) * np.exp(0.3j)
    qpsk = rng.choice([1, 1j, -1, -1j], 20_000) * np.exp(0.3j)
    noise = rng.standard_normal((20_000, 2)) @ [1, 1j]
    np.testing.assert_allclose(features(bpsk)[[KURTOSIS, SECOND, FOURTH]], [1, 1, 1], atol=0.02)
    np.testing.assert_allclose(features(qpsk)[[KURTOSIS, SECOND, FOURTH]], [1, 0, 1], atol=0.03)
    np.testing.assert_allclose(features(noise)[[KURTOSIS, SECOND, FOURTH, MEAN]], [2, 0, 0, 0], atol=0.08)
    assert features(noise)[ENVELOPE] == pytest.approx(np.sqrt(4 / np.pi - 1), abs=0.02)  # Rayleigh


def test_scale_moves_the_power_alone_and_short_or_silent_frames_are_finite() -> None:
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((128, 2)) @ [1, 1j]
    one, ten = features(signal), features(10 * signal)
    assert ten[LOG_POWER] - one[LOG_POWER] == pytest.approx(20, abs=1e-3)
    np.testing.assert_allclose(np.delete(ten, LOG_POWER), np.delete(one, LOG_POWER), atol=1e-3)
    assert np.isfinite(iq_features(np.zeros((2, 3, 40), np.complex64))).all()
    assert np.isfinite(pulse_features(np.zeros((2, 3, 40), np.complex64))).all()


def test_pulses() -> None:
    h = np.zeros((1, 3, 16), np.complex64)
    h[0, 0, 4], h[0, 1, 2], h[0, 1, 6] = 2j, 1, -1  # one tap; two equal taps; silence
    got = pulse_features(h).reshape(3, 4)
    np.testing.assert_allclose(got[0], [20 * np.log10(2), 4, 4, 0], atol=1e-5)
    np.testing.assert_allclose(got[1], [10 * np.log10(2), 2, 4, 2], atol=1e-5)
    np.testing.assert_allclose(got[2], [20 * np.log10(2) - 120, 0, 0, 0], atol=1e-4)
