"""What can be measured on complex baseband samples without knowing the signal: levels, offsets, imbalance, spectrum.

Levels are in dB re full scale: 0 dBFS is the power of a complex tone of magnitude 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.signal.power import FLOOR_DB

Powers = NDArray[np.float64]
BINS = 1024
"""Frequency bins of the averaged spectrum, where the stretches are long enough."""
SHARE = 0.99
"""Share of the power inside the occupied bandwidth (ITU-R SM.328: equal shares are left out on both sides)."""
RUN = 16
"""Equal samples in a row that count as a constant run; shorter ones are common in weak 8-bit recordings."""
_GROUP = 8
"""Neighbouring frames averaged before the noise floor is looked for."""
_OVERLAP_LOSS = 1 + 2 / 36
"""Variance of an average of half-overlapping Hann frames over that of independent ones (Welch 1967)."""
_QUANTILE, _NORMAL_QUANTILE = 0.2, -0.8416212
"""Share of cells of time and frequency taken to be free, and the same quantile of the normal distribution."""


@dataclass(frozen=True)
class Levels:
    """Measurements on stretches of I/Q; None where there is nothing to measure (silence, a constant part)."""

    samples: int
    """Samples measured, the non-finite ones among them."""
    nonfinite: int
    """NaN and infinite samples; all that follows leaves them out (taken as 0)."""
    mean_dbfs: float
    """Mean of |z|^2; -400 for silence."""
    peak_dbfs: float
    """Largest |z|^2; at most +3 for samples within full scale."""
    crest_db: float | None
    """Peak over mean."""
    clipped: float
    """Share of samples with I or Q at or beyond full scale."""
    flat_tops: float
    """Share of samples with I or Q twice or more in a row at its own extreme: clipped before it was scaled."""
    dc_dbfs: float
    """|mean of z|^2."""
    dc_db: float | None
    """|mean of z|^2 over mean power."""
    gain_imbalance_db: float | None
    """Power of Q over power of I, without DC. Means imbalance for circular signals only."""
    phase_error_deg: float | None
    """Deviation of Q from quadrature, positive when Q leans to I. Means an error for circular signals only."""
    circularity: float | None
    """|E z^2| / E |z|^2 without DC: 0 for circular signals, 1 for signals on a line such as BPSK."""
    bandwidth: float | None
    """Bandwidth that holds 99 % of the power, share of the sample rate."""
    centre: float | None
    """Middle of that band, share of the sample rate, -0.5 ... 0.5."""
    noise_floor_dbfs: float | None
    """Power that the noise of the quietest fifth of all time-frequency cells would have over the whole band."""
    symmetry: float | None
    """Correlation of the spectra in dB at +f and -f; above 0.9999 the samples are real audio rather than I/Q."""
    zeros: float
    """Share of samples that are exactly 0."""
    constant: float
    """Share of samples in runs of 16 or more equal ones."""


def measure(iq: NDArray[Any], step: float = 0.0) -> Levels:
    """Measure stretches of one recording together.

    Args:
        iq: (stretch, time) or (time,) complex; full scale 1.
        step: Distance of neighbouring values of the converter: 2^-7 for 8 bits, 0 for floating point. The largest
            positive integer lies one step below full scale and counts as clipped.

    Raises:
        ValueError: There is no sample.
    """
    z = np.atleast_2d(np.asarray(iq)).astype(np.complex128)
    if z.ndim != 2 or z.size == 0:
        raise ValueError(f"iq of shape {np.shape(iq)}: expected (stretch, time) with samples")
    finite = np.isfinite(z)
    z[~finite] = 0
    power = np.square(z.real) + np.square(z.imag)
    mean, peak, dc = float(power.mean()), float(power.max()), abs(complex(z.mean())) ** 2
    frames = frame_powers(z, _bins(z.shape[1]))
    spectrum = frames.mean((0, 1))
    band = occupied_band(spectrum)
    gain, phase, circularity = imbalance(z)
    return Levels(
        samples=z.size,
        nonfinite=int(z.size - finite.sum()),
        mean_dbfs=_db(mean),
        peak_dbfs=_db(peak),
        crest_db=_db(peak) - _db(mean) if mean > 0 else None,
        clipped=float((_beyond(z.real, step) | _beyond(z.imag, step)).mean()),
        flat_tops=_flat_tops(z),
        dc_dbfs=_db(dc),
        dc_db=_db(dc) - _db(mean) if mean > 0 else None,
        gain_imbalance_db=gain,
        phase_error_deg=phase,
        circularity=circularity,
        bandwidth=None if band is None else band[1] - band[0],
        centre=None if band is None else (band[0] + band[1]) / 2,
        noise_floor_dbfs=_noise_floor_db(frames),
        symmetry=symmetry(spectrum),
        zeros=float((power == 0)[finite].sum() / z.size),
        constant=_constant_share(z),
    )


def frame_powers(iq: NDArray[Any], bins: int) -> Powers:
    """Power in cells of time and frequency: half-overlapping Hann frames.

    Args:
        iq: (stretch, time) complex; shorter stretches than `bins` are padded with zeros.
        bins: Frame length and number of frequencies.

    Returns:
        (stretch, frame, frequency) float64, frequencies ascending from -1/2 of the sample rate; the sum over
        frequencies, averaged over frames, is the mean power of stationary samples.
    """
    length = iq.shape[1]
    if length < bins:
        iq = np.pad(iq, ((0, 0), (0, bins - length)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(bins) / bins)
    # A padded stretch has fewer samples under the window: without the correction its power would be too low.
    energy = np.square(window[: min(length, bins)]).sum() if length < bins else np.square(window).sum()
    frames = np.lib.stride_tricks.sliding_window_view(iq, bins, axis=1)[:, :: max(bins // 2, 1)]
    spectra = np.fft.fftshift(np.fft.fft(frames * window, axis=2), axes=2)
    powers: Powers = (np.square(spectra.real) + np.square(spectra.imag)) / (max(float(energy), 1e-300) * bins)
    return powers


def power_spectrum(iq: NDArray[Any], bins: int | None = None) -> Powers:
    """Mean power per frequency (Welch), (bins,), frequencies ascending from -1/2 of the sample rate; sums to the power.

    Args:
        iq: (stretch, time) complex.
        bins: Number of frequencies; 1024 or fewer for short stretches when left out.
    """
    mean: Powers = frame_powers(iq, bins or _bins(iq.shape[1])).mean((0, 1))
    return mean


def imbalance(iq: NDArray[Any]) -> tuple[float | None, float | None, float | None]:
    """Gain imbalance (dB), phase error (degrees) and circularity, from the second moments of all samples.

    For I = x and Q = g (y cos p + x sin p) with uncorrelated x and y of equal power: E Q^2 / E I^2 = g^2 and
    E I Q / sqrt(E I^2 E Q^2) = sin p.
    """
    i = iq.real - iq.real.mean()
    q = iq.imag - iq.imag.mean()
    ii, qq, iq_ = (float((a * b).mean()) for a, b in ((i, i), (q, q), (i, q)))
    total = ii + qq
    if total <= 0:
        return None, None, None
    circularity = float(np.hypot(ii - qq, 2 * iq_)) / total
    if min(ii, qq) <= 1e-12 * total:
        return None, None, circularity
    sine = float(np.clip(iq_ / np.sqrt(ii * qq), -1, 1))
    return 10 * float(np.log10(qq / ii)), float(np.degrees(np.arcsin(sine))), circularity


def occupied_band(spectrum: Powers, share: float = SHARE) -> tuple[float, float] | None:
    """Edges of the band that leaves (1 - share) / 2 of the power below and above it, as shares of the sample rate.

    Args:
        spectrum: (bins,) power, frequencies ascending from -1/2; power is taken as spread evenly over each bin.
        share: Share of the power inside.
    """
    bins = spectrum.size
    total = float(spectrum.sum())
    if total <= 0:
        return None
    below = np.concatenate([[0.0], np.cumsum(spectrum)]) / total
    edges = (np.arange(bins + 1) - 0.5) / bins - 0.5
    outside = (1 - share) / 2
    low, high = (float(np.interp(at, below, edges)) for at in (outside, 1 - outside))
    return low, high


def symmetry(spectrum: Powers) -> float | None:
    """Correlation of the power in dB at +f and at -f; None when one of them is flat.

    Args:
        spectrum: (bins,) power, frequencies ascending from -1/2.
    """
    bins = spectrum.size
    positive = spectrum[bins // 2 + 1 :]
    negative = spectrum[bins // 2 - 1 :: -1][: positive.size]
    if positive.size < 3 or spectrum.max() <= 0:
        return None
    floor = spectrum.max() * 1e-20
    pair = np.log10(np.maximum(np.stack([positive, negative]), floor))
    if float(pair.std(1).min()) < 1e-12:
        return None
    return float(np.corrcoef(pair)[0, 1])


def _bins(length: int) -> int:
    """A power of two with several frames in a stretch, 16 ... 1024."""
    return int(min(BINS, max(16, 1 << max(length // 4, 1).bit_length() - 1)))


def _db(power: float) -> float:
    return max(10 * float(np.log10(power)), FLOOR_DB) if power > 0 else FLOOR_DB


def _noise_floor_db(frames: Powers) -> float | None:
    """The quietest cells of time and frequency, corrected for having been picked as the quietest ones.

    An average of k noise powers is gamma distributed; its quantile follows from Wilson and Hilferty (1931).
    """
    stretches, count, bins = frames.shape
    if count >= 2:
        group = min(_GROUP, count)
        kept = frames[:, : count - count % group].reshape(stretches, -1, group, bins)
        cells, averages = kept.mean(2), max(group / _OVERLAP_LOSS, 1.0)
    else:
        cells, averages = frames, 1.0
    loud = cells[cells.sum(2) > 0]  # frames of nothing but zeros are padding
    if loud.size == 0:
        return None
    if averages == 1:
        expected = -float(np.log1p(-_QUANTILE))
    else:
        expected = (1 - 1 / (9 * averages) + _NORMAL_QUANTILE * (1 / (9 * averages)) ** 0.5) ** 3
    return _db(float(np.quantile(loud, _QUANTILE)) / expected * bins)


def _beyond(part: Powers, step: float) -> NDArray[np.bool_]:
    # Signed integers reach -1 and 1 - step; unsigned ones around a zero of 127.5 lie half a step inside on both sides.
    beyond: NDArray[np.bool_] = (part >= 1 - step * (1 + 1e-6)) | (part <= -1 + 0.75 * step)
    return beyond


def _flat_tops(z: NDArray[np.complex128]) -> float:
    hit = np.zeros(z.shape, dtype=bool)
    for part in (z.real, z.imag):
        for top in (part.max(), part.min()):
            at = part == top
            if top != 0 and not at.all():
                hit |= _in_runs(at, 2)
    return float(hit.mean())


def _constant_share(z: NDArray[np.complex128]) -> float:
    if z.shape[1] < RUN:
        return 0.0
    same = z[:, 1:] == z[:, :-1]
    runs = _in_runs(same, RUN - 1)
    # A run of n equal neighbours covers n + 1 samples.
    covered = np.zeros(z.shape, dtype=bool)
    covered[:, 1:] |= runs
    covered[:, :-1] |= runs
    return float(covered.mean())


def _in_runs(mask: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Which elements of (stretch, time) belong to runs of at least `length` true ones."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8).ravel()
    change = np.diff(padded, prepend=0)
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    long = stops - starts >= length
    marks = np.zeros(padded.size + 1, dtype=np.int32)
    marks[starts[long]] += 1
    marks[stops[long]] -= 1
    inside: NDArray[np.bool_] = np.cumsum(marks[:-1]).reshape(len(mask), -1)[:, 1:-1] > 0
    return inside
