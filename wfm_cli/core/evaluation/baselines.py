"""Features that need no training: what every encoder has to beat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.evaluation.source import FeatureSource, Role
from wfm_cli.core.signal.angle_delay import angle_delay_db, angular_power_db, dft_magnitude
from wfm_cli.core.signal.baseband import iq_features, pulse_features
from wfm_cli.core.signal.cumulants import cumulant_features
from wfm_cli.core.signal.power import log_power_db
from wfm_cli.core.signal.spectrogram_features import energy, psd_statistics, temporal_statistics
from wfm_cli.errors import InputError

if TYPE_CHECKING:
    from wfm_cli.core.store.reader import Store

Rows = NDArray[Any]
Features = NDArray[np.float32]
POWER = "meta/log_power_db"
"""Power before any normalisation; a store normalised per sample has it nowhere else."""
VERSION = 1
"""Raised when a formula below changes."""


@dataclass(frozen=True)
class Baseline:
    """One kind of features of samples."""

    title: str
    """Words for tables."""
    features: Callable[[Rows], Features]
    """From samples to features."""
    power: bool = False
    """Whether log power is appended, from `meta/log_power_db` where the store has it."""
    antennas: int | None = None
    """Largest array that fits."""
    axes: tuple[str, ...] | None = ("antenna", "subcarrier")
    """Axes of a sample; None takes any."""
    role: Role = "baseline"
    """Role in tables."""
    array: str | None = None
    """Array of the store that is read, with these very axes; None takes the one that the encoders read."""


def _raw(h: Rows) -> Features:
    """Real and imaginary parts of every element, (B, 2 M K); real arrays as they are."""
    flat = np.ascontiguousarray(h).reshape(len(h), -1)
    parts = flat.view(flat.real.dtype) if np.iscomplexobj(flat) else flat
    return parts.astype(np.float32, copy=False)


def _nothing(h: Rows) -> Features:
    return np.zeros((len(h), 0), dtype=np.float32)


def _blind(h: Rows) -> Features:
    return np.zeros((len(h), 1), dtype=np.float32)


def _spectra(h: Rows) -> Features:
    """Angular power profile with twice as many bins as antennas, and delay power profile, (B, 2 M + K), in dB."""
    delay = angular_power_db(h.swapaxes(1, 2), h.shape[2])
    return np.concatenate([angular_power_db(h, 2 * h.shape[1]), delay], axis=1)


def _profiles(images: Rows) -> Features:
    """Means of every row and every column, and the deviation of every channel, (B, C (H + W + 1))."""
    values = images.astype(np.float32, copy=False)
    deviation = values.std((2, 3))[..., None]
    made: Features = np.concatenate([values.mean(3), values.mean(2), deviation], axis=2)
    return made.reshape(len(values), -1)


def _dft(bins: int) -> Baseline:
    return Baseline(f"DFT magnitude ({bins} bins)", lambda h: dft_magnitude(h, bins), antennas=bins)


def _angular(bins: int) -> Baseline:
    return Baseline(f"angular power ({bins} bins)", lambda h: angular_power_db(h, bins), antennas=bins)


def _spectrogram(title: str, features: Callable[[Rows], Features]) -> Baseline:
    return Baseline(title, features, axes=("channel", "frequency", "time"), array="spectrogram")


BASELINES: Mapping[str, Baseline] = {
    "raw": Baseline("raw input", _raw, axes=None),
    "log_power": Baseline("log power", _nothing, power=True),
    "dft_32": _dft(32),
    "dft_64": _dft(64),
    "angular_32": _angular(32),
    "angular_64": _angular(64),
    "angle_delay": Baseline("angle-delay magnitude", angle_delay_db),
    "classical": Baseline("angle + delay + log power", _spectra, power=True),
    "iq_spectrum": Baseline("spectrum + envelope statistics", iq_features, axes=("antenna", "time")),
    "pulse": Baseline("energy and delay of every pulse", pulse_features, axes=("anchor", "delay")),
    "profiles": Baseline("row and column means", _profiles, axes=("channel", "row", "column")),
    "psd": _spectrogram("PSD statistics", psd_statistics),
    "energy": _spectrogram("level and noise floor", energy),
    "flux": _spectrogram("temporal statistics", temporal_statistics),
    "cumulants": Baseline("higher-order cumulants", cumulant_features, axes=("channel", "time"), array="iq"),
    "majority": Baseline("majority class / mean", _blind, role="reference", axes=None),
}
"""Every baseline by name."""


class BaselineSource(FeatureSource):
    """Features of a baseline on one store."""

    def __init__(self, name: str, store: Store, array: str = "channel") -> None:
        if name not in BASELINES:
            raise InputError(f"baseline:{name}: there is no such baseline", f"choose one of: {', '.join(BASELINES)}")
        self._baseline = baseline = BASELINES[name]
        array = baseline.array or array
        if array not in store.names and not baseline.array:
            raise InputError(f"{store.path}: it has no array {array}", f"its arrays: {', '.join(store.names)}")
        if (problem := unfit(name, store, array)) is not None:
            raise InputError(
                f"{store.path}: {array}: {problem}", "choose a baseline that fits (`baseline:raw` always does)"
            )
        shape = store.spec(array).shape
        self.spec, self.name, self.role = f"baseline:{name}", baseline.title, baseline.role
        self.arrays = (array, POWER) if baseline.power and POWER in store.names else (array,)
        self.digest = hashlib.sha256(f"{name} {VERSION} {self.arrays}".encode()).hexdigest()
        probe = np.ones((1, *shape), dtype=store.spec(array).dtype)
        self.dim = self.extract(probe, *([np.zeros(1)] if len(self.arrays) > 1 else [])).shape[1]

    def extract(self, batch: Rows, *more: Rows) -> Features:
        """Features (B, D) of channels (B, M, K) and, where the store has it, log power (B,)."""
        features = self._baseline.features(batch)
        if not self._baseline.power:
            return features
        power = more[0] if more else log_power_db(batch)
        return np.concatenate([features, power[:, None].astype(np.float32)], axis=1)


def unfit(name: str, store: Store, array: str | None = None) -> str | None:
    """Why baseline `name` cannot be computed on a store; None when it can.

    Args:
        name: The baseline.
        store: The store.
        array: What is read where the baseline names no array of its own; by default the input of the encoders.
    """
    own = BASELINES[name].array
    array = own or array or store.input
    if array not in store.names:
        return f"{name} needs the array {array}, which the store does not hold" if own else misfit(name, ())
    spec = store.spec(array)
    axes = tuple(spec.dims[1:])
    if own and axes != BASELINES[name].axes:
        return f"{name} needs {array} with axes ({', '.join(BASELINES[name].axes or ())}), not ({', '.join(axes)})"
    return misfit(name, spec.shape)


def misfit(name: str, shape: tuple[int, ...]) -> str | None:
    """Why baseline `name` cannot be computed on samples of `shape`; None when it can."""
    axes, most = BASELINES[name].axes, BASELINES[name].antennas
    if axes is not None and len(shape) != len(axes):
        what = "channels" if "subcarrier" in axes else "samples"
        return f"{name} needs {what} ({', '.join(axes)}), not samples of shape {shape}"
    if most is not None and shape[0] > most:
        return f"{name} cuts off elements of an array of {shape[0]} antennas"
    return None
