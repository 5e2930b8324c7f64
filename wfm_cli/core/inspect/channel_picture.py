"""One channel: its magnitude over antennas and subcarriers, and the same in angle and delay."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.style import PAGE, look, new_figure
from wfm_cli.core.signal.angle_delay import angle_delay_db
from wfm_cli.core.store.reader import Store

_RANGE_DB = 40.0
"""Dynamic range of the colour scales."""


def channel_figure(store: Store, sample: int) -> Figure | None:
    """Magnitude in dB (antenna x subcarrier) beside the angle-delay magnitude; None when the store has no channel."""
    channel = _channel(store, sample)
    if channel is None:
        return None
    with look():
        figure = new_figure(PAGE, 2.9)
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        _magnitude(figure, left, channel, store.spec("channel").units)
        _angle_delay(figure, right, channel, (store.attrs.get("conventions") or {}).get("subcarrier_spacing_hz"))
        figure.suptitle(_caption(store, sample), x=0.01, ha="left", fontsize=7)
    return figure


def _channel(store: Store, sample: int) -> NDArray[np.complexfloating] | None:
    """The (antenna, subcarrier) channel of a sample, at the first instant of a series."""
    if "channel" not in store.names:
        return None
    with store.rows("channel") as reader:
        row: NDArray[Any] = reader.take([sample])[0]
    if store.spec("channel").dims[-1] == "re_im":
        row = row[..., 0] + 1j * row[..., 1]
    while row.ndim > 2:
        row = row[0]
    return row if row.ndim == 2 and np.iscomplexobj(row) else None


def _magnitude(figure: Figure, axes: Axes, channel: NDArray[np.complexfloating], units: str) -> None:
    level = 20 * np.log10(np.maximum(np.abs(channel), 1e-30))
    image = axes.imshow(
        level, origin="lower", aspect="auto", vmin=max(level.max() - _RANGE_DB, level.min()), vmax=level.max(),
        interpolation="nearest",
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("|h| (dB" + (f" re {units})" if units not in ("", "1") else ")"))
    bar.outline.set_linewidth(0.4)
    axes.set(xlabel="subcarrier", ylabel="antenna", title="Channel magnitude")
    axes.spines[:].set_visible(False)


def _angle_delay(figure: Figure, axes: Axes, channel: NDArray[np.complexfloating], spacing_hz: float | None) -> None:
    antennas, carriers = channel.shape
    level = angle_delay_db(channel[None])[0].reshape(antennas, carriers)
    # Bin i of the antenna DFT is the direction cosine 2 i / M for elements half a wavelength apart.
    level = np.fft.fftshift(level, axes=0)
    end = carriers / (carriers * spacing_hz) * 1e6 if spacing_hz else float(carriers)
    image = axes.imshow(
        level, origin="lower", aspect="auto", extent=(0, end, -1, 1), vmin=-_RANGE_DB, vmax=0,
        cmap="magma", interpolation="nearest",
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("magnitude (dB re maximum)")
    bar.outline.set_linewidth(0.4)
    axes.set(
        xlabel="delay (µs)" if spacing_hz else "delay bin",
        ylabel="direction cosine",
        title="Angle-delay magnitude",
    )
    axes.spines[:].set_visible(False)


def _caption(store: Store, sample: int) -> str:
    parts = [f"{store.path.name}, sample {sample:,}"]
    if "labels/los" in store.names:
        names = store.label_classes("los") or ["NLoS", "LoS"]
        parts.append(names[int(store.rows("labels/los").take([sample])[0])])
    if "meta/log_power_db" in store.names:
        parts.append(f"mean power {float(store.rows('meta/log_power_db').take([sample])[0]):.1f} dB per element")
    return ", ".join(parts)
