"""Pictures of a spectrogram store: one sample, some of every class, how many there are, and their mean spectra."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.style import COLUMN, GREY, PAGE, PALETTE, grid, look, new_figure
from wfm_cli.core.store.reader import Store

_CLASSES = 8
"""Classes of the grid at most; the largest ones."""
_EACH = 4
"""Samples of every class in the grid."""
_MEAN_OF = 64
"""Samples of a class that its mean spectrum is taken over, at most."""
_RANGE_DB = 60.0


@dataclass(frozen=True)
class _Kinds:
    """Names of the classes and their rows, largest first."""

    names: list[str]
    rows: list[NDArray[np.int64]]


def spectrogram_figures(store: Store, sample: int) -> Iterator[tuple[str, Figure]]:
    """`spectrogram`, `spectrograms`, `classes` and `spectra`; nothing where the store has no spectrograms in dB."""
    if "spectrogram" not in store.names or not store.spec("spectrogram").units.startswith("dB"):
        return
    kinds = _kinds(store)
    yield "spectrogram", _one(store, sample)
    yield "spectrograms", _grid(store, kinds)
    if kinds.names != [""]:
        yield "classes", _counts(store, kinds)
    yield "spectra", _spectra(store, kinds)


def _kinds(store: Store) -> _Kinds:
    labels = [name for name in store.names if name.startswith("labels/")]
    name = "labels/label" if "labels/label" in labels else next(iter(labels), None)
    classes = store.label_classes(name.partition("/")[2]) if name else None
    if name is None or classes is None:
        return _Kinds([""], [np.arange(store.samples)])
    values = store.read(name)
    rows = [np.flatnonzero(values == number).astype(np.int64) for number in range(len(classes))]
    order = sorted((n for n in range(len(classes)) if len(rows[n])), key=lambda n: -len(rows[n]))
    return _Kinds([classes[n] for n in order], [rows[n] for n in order])


def _take(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Spectrograms (n, frequency, time) of the first channel."""
    with store.rows("spectrogram") as reader:
        return np.asarray(reader.take(rows)[:, 0], np.float32)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64))]


def _rate(store: Store, row: int) -> float:
    """Sampling rate of a row in Hz, 0 where it is not known."""
    return float(store.rows("meta/sample_rate_hz").take([row])[0]) if "meta/sample_rate_hz" in store.names else 0.0


def _extent(store: Store, row: int) -> tuple[tuple[float, float, float, float], str, str]:
    """Edges of the picture in ms and kHz or MHz, else in frames and shares of the rate, with the axes' labels."""
    nfft, frames = store.spec("spectrogram").shape[-2:]
    about: dict[str, Any] = store.attrs.get("conventions") or {}
    rate, hop = _rate(store, row), about.get("hop")
    low, high = -(nfft // 2) - 0.5, nfft - nfft // 2 - 0.5
    if not rate or not hop:
        return (0, frames, low / nfft, high / nfft), "frame", "frequency / rate"
    scale, unit = (1e6, "MHz") if rate >= 2e6 else (1e3, "kHz")
    end = frames * float(hop) / rate * 1e3
    return (0, end, low / nfft * rate / scale, high / nfft * rate / scale), "time (ms)", f"frequency ({unit})"


def _draw(axes: Axes, store: Store, row: int, values: NDArray[np.float32]) -> Any:
    extent, time, frequency = _extent(store, row)
    top = float(np.percentile(values, 99.8))
    bottom = max(float(values.min()), top - _RANGE_DB)
    image = axes.imshow(
        values, origin="lower", aspect="auto", extent=extent, interpolation="nearest", vmin=bottom,
        vmax=max(top, bottom + 1e-3),
    )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.set(xlabel=time, ylabel=frequency)
    return image


def _one(store: Store, sample: int) -> Figure:
    with look():
        figure = new_figure(COLUMN, 2.8)
        axes = figure.subplots()
        image = _draw(axes, store, sample, _take(store, np.array([sample]))[0])
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.set_label(f"power ({store.spec('spectrogram').units})")
        bar.outline.set_linewidth(0.4)
        axes.set_title(_title(store, sample))
    return figure


def _title(store: Store, row: int) -> str:
    parts = [f"Sample {row:,}"]
    for name in (name for name in store.names if name.startswith("labels/")):
        classes = store.label_classes(name.partition("/")[2]) or []
        value = int(store.rows(name).take([row])[0])
        if 0 <= value < len(classes) and classes[value] not in parts:
            parts.append(classes[value])
    return ", ".join(parts[:4])


def _grid(store: Store, kinds: _Kinds) -> Figure:
    names, rows = kinds.names[:_CLASSES], [_spread(mine, _EACH) for mine in kinds.rows[:_CLASSES]]
    across = max(len(mine) for mine in rows)
    with look():
        figure = new_figure(PAGE, 1.35 * len(names) + 0.4)
        panels = figure.subplots(len(names), across, squeeze=False)
        for name, mine, line in zip(names, rows, panels, strict=True):
            for place, axes in enumerate(line):
                if place >= len(mine):
                    axes.set_axis_off()
                    continue
                _draw(axes, store, int(mine[place]), _take(store, mine[place : place + 1])[0])
                axes.tick_params(labelsize=5)
                axes.xaxis.label.set_size(5.5)
                axes.yaxis.label.set_size(5.5)
                if place:
                    axes.set_ylabel("")
            line[0].set_title(name or "samples")
        more = len(kinds.names) - len(names)
        text = f"colours over {_RANGE_DB:g} dB of every picture" + (f"; {more} more classes" if more else "")
        figure.suptitle(text, x=0.01, ha="left", fontsize=6.5, color=GREY)
    return figure


def _counts(store: Store, kinds: _Kinds) -> Figure:
    with look():
        figure = new_figure(COLUMN, 0.17 * len(kinds.names) + 0.8)
        axes = figure.subplots()
        counts = [len(mine) for mine in kinds.rows]
        axes.barh(range(len(counts)), counts, color=PALETTE[0], height=0.75)
        recording = store.read("meta/recording") if "meta/recording" in store.names else None
        for place, (count, mine) in enumerate(zip(counts, kinds.rows, strict=True)):
            files = f" of {len(np.unique(recording[mine])):,}" if recording is not None else ""
            axes.annotate(f"{count:,}{files}", (count, place), (2, 0), textcoords="offset points", va="center",
                          fontsize=5.5)  # fmt: skip
        axes.set_yticks(range(len(counts)), kinds.names)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set(
            xlabel="samples" + (", of how many recordings" if recording is not None else ""), title="Samples by class"
        )
        grid(axes)
        axes.grid(False, axis="y")
    return figure


def _spectra(store: Store, kinds: _Kinds) -> Figure:
    """Mean over samples and time of the decibels; frequencies as shares of the rate, which differs between classes."""
    nfft = store.spec("spectrogram").shape[-2]
    frequency = (np.arange(nfft) - nfft // 2) / nfft
    names = kinds.names[: 2 * len(PALETTE)]
    with look():
        figure = new_figure(PAGE, 2.6)
        axes = figure.subplots()
        for number, (name, mine) in enumerate(zip(names, kinds.rows, strict=False)):
            level = _take(store, _spread(mine, _MEAN_OF)).mean((0, 2))
            style = "-" if number < len(PALETTE) else "--"
            axes.plot(frequency, level, style, color=PALETTE[number % len(PALETTE)], label=name or "all", linewidth=1)
        axes.set(xlabel="frequency / sampling rate", ylabel=f"mean power ({store.spec('spectrogram').units})",
                 title="Mean spectrum of every class", xlim=(-0.5, 0.5))  # fmt: skip
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        grid(axes)
    return figure
