"""Spectrograms against a double sum in float64, closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wfm_cli.core.signal.stft import FLOOR_DB, PRESETS, STEP_DB, STFT, Window, spectrogram_db, window

WINDOWS: tuple[Window, ...] = ("hann", "hamming", "blackman", "rect")


def noise(signals: int, samples: int, seed: int = 0) -> NDArray[np.complex64]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((signals, samples, 2)) / 4).astype(np.float32).view(np.complex64)[..., 0]


def double_sum(x: NDArray[np.complex64], stft: STFT) -> NDArray[np.float64]:
    """The definition, one sum per frequency and frame; (B, F, T)."""
    n = np.arange(stft.nfft)
    weights = scipy.signal.get_window({"rect": "boxcar"}.get(stft.window, stft.window), stft.nfft)
    frequency = n - stft.nfft // 2
    out = np.empty((len(x), stft.nfft, stft.frames))
    for t in range(stft.frames):
        piece = x[:, t * stft.hop : t * stft.hop + stft.nfft].astype(np.complex128) * weights
        for place, f in enumerate(frequency):
            sums = (piece * np.exp(-2j * np.pi * f * n / stft.nfft)).sum(1)
            out[:, place, t] = 10 * np.log10(np.abs(sums / weights.sum()) ** 2)
    return out


@settings(max_examples=25, deadline=None)
@given(
    nfft=st.integers(4, 40),
    hop=st.integers(1, 50),
    frames=st.integers(1, 9),
    signals=st.integers(1, 4),
    name=st.sampled_from(WINDOWS),
    block=st.sampled_from([1, 700, 1 << 19]),
    threads=st.integers(1, 3),
)
def test_equals_the_double_sum(
    nfft: int, hop: int, frames: int, signals: int, name: Window, block: int, threads: int
) -> None:
    stft = STFT(nfft, hop, frames, name)
    x = noise(signals, stft.samples)
    out = np.empty((signals, nfft, frames), np.float32)
    assert spectrogram_db(x, stft, out, threads=threads, block_bytes=block) is out
    truth = double_sum(x, stft)
    strong = truth > truth.max() - 40
    np.testing.assert_allclose(out[strong], truth[strong], atol=1e-4)
    assert np.abs(out - truth)[truth > FLOOR_DB].max() < 0.5


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("nfft", [64, 65])
def test_a_full_scale_tone_reads_0_dbfs_at_its_bin(name: Window, nfft: int) -> None:
    stft = STFT(nfft, 16, 3, name)
    for bin_ in (0, 5, nfft // 2, nfft - 1):
        frequency = stft.frequencies(1.0)[bin_]
        x = np.exp(2j * np.pi * frequency * np.arange(stft.samples)).astype(np.complex64)[None]
        made = spectrogram_db(x, stft).astype(np.float32)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made[0, bin_], 0, atol=2e-3)
        assert (made[0].argmax(axis=0) == bin_).all()


def test_silence_reads_the_floor_and_half_precision_is_close() -> None:
    stft = STFT(32, 16, 5, floor_db=-90.0)
    assert (spectrogram_db(np.zeros((1, stft.samples), np.complex64), stft) == -90).all()
    x = noise(2, stft.samples)
    exact = spectrogram_db(x, stft, np.empty((2, 32, 5), np.float32))
    half = spectrogram_db(x, stft)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, exact.astype(np.float16))
    coarse = spectrogram_db(x, stft, np.empty((2, 32, 5), np.uint8))
    decoded = stft.floor_db + STEP_DB * coarse.astype(np.float32)
    assert np.abs(decoded - exact).max() <= STEP_DB / 2 + 1e-5
    assert (spectrogram_db(1000 * x, stft, np.empty((2, 32, 5), np.uint8))).max() == 255


def test_the_number_of_threads_and_read_only_input_change_nothing() -> None:
    stft = STFT(64, 24, 40)
    x = noise(9, stft.samples)
    x.flags.writeable = False
    one = spectrogram_db(x, stft, block_bytes=1 << 13)
    np.testing.assert_array_equal(one, spectrogram_db(x, stft, threads=3, block_bytes=1 << 13))


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_agree_with_scipy(name: str) -> None:
    stft = PRESETS[name]
    assert (stft.nfft, stft.frames) == {"lwm-spectro": (128, 128), "wavesfm": (224, 224)}.get(name, (512, 512))
    x = noise(1, stft.samples)
    weights = scipy.signal.get_window(stft.window, stft.nfft)
    np.testing.assert_allclose(weights, window(stft.window, stft.nfft), atol=1e-12)
    theirs = scipy.signal.stft(
        x, window=weights, nperseg=stft.nfft, noverlap=stft.nfft - stft.hop, return_onesided=False,
        boundary=None, padded=False, detrend=False,
    )[2]  # fmt: skip
    truth = np.fft.fftshift(20 * np.log10(np.abs(theirs)), axes=1)
    made = spectrogram_db(x, stft).astype(np.float64)
    strong = truth > truth.max() - 50
    np.testing.assert_allclose(made[strong], truth[strong], atol=0.04)


def test_axes() -> None:
    stft = STFT(8, 4, 3)
    np.testing.assert_allclose(stft.frequencies(8.0), [-4, -3, -2, -1, 0, 1, 2, 3])
    np.testing.assert_allclose(stft.times(4.0), [1, 2, 3])
    assert stft.samples == 16


def test_what_does_not_fit_is_refused() -> None:
    stft = STFT(8, 4, 3)
    with pytest.raises(ValueError, match="positive"):
        STFT(8, 0, 3)
    with pytest.raises(ValueError, match="expected"):
        spectrogram_db(noise(1, 17), stft)
    with pytest.raises(ValueError, match="expected float16"):
        spectrogram_db(noise(1, 16), stft, np.empty((1, 8, 3), np.float64))
