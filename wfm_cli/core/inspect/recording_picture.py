"""One recording of I/Q on a page: waterfall with annotations, spectrum, trace, histogram, constellation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from wfm_cli.core.evaluation.report.style import GREY, PAGE, PALETTE, grid, look, new_figure, save
from wfm_cli.core.inspect.kinds import make_folder
from wfm_cli.core.inspect.text import si
from wfm_cli.core.signal.waterfall import FLOOR_DBFS, Excerpt, colour_range

T = TypeVar("T")
_BOXES = 400
"""Annotations drawn at most."""
_NAMED = 40
"""Annotations that carry their class beside the box at most; more are told apart by colour alone."""
_BOX_COLOURS = ("#FFFFFF", "#FF8C5A", "#7FE0C0", "#FFB3DE", "#FFD24D", "#9AD9FF", "#E0C08A")


@dataclass(frozen=True)
class _Scale:
    """Units of the axes."""

    rate: float | None
    centre: float | None

    def time(self, samples: float) -> tuple[float, str]:
        """Factor from samples to the unit in which so many samples read best, and its name."""
        if not self.rate:
            return 1.0, "sample"
        seconds = samples / self.rate
        for limit, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if seconds >= limit:
                return 1 / (self.rate * limit), f"time ({unit})"
        return 1e9 / self.rate, "time (ns)"

    def frequency(self) -> tuple[float, float, str]:
        """Lower and upper edge of the band, and the name of the axis."""
        if not self.rate:
            return -0.5, 0.5, "frequency (share of the sample rate)"
        middle = self.centre or 0.0
        largest = abs(middle) + self.rate / 2
        scale, unit = next((s, u) for s, u in ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz"), (0, "Hz")) if largest >= s)
        if middle and unit == "GHz" and self.rate < 1e8:
            scale, unit = 1e6, "MHz"
        scale = scale or 1.0
        name = "frequency" if middle else "frequency from the centre"
        return (middle - self.rate / 2) / scale, (middle + self.rate / 2) / scale, f"{name} ({unit})"

    def share(self, hertz: float) -> float:
        """A frequency in Hz as a share of the band, 0 at its lower edge."""
        return (hertz - (self.centre or 0.0)) / (self.rate or 1.0) + 0.5


def picture_names(pages: Iterable[tuple[str, T]]) -> dict[str, T]:
    """File names without suffix for pages by the names of their recordings: safe, unique, below one folder."""
    named: dict[str, T] = {}
    for name, page in pages:
        safe = re.sub(r"[^\w.+#=-]+", "_", name).strip(".")[:120] or "recording"
        stem, number = safe, 1
        while stem.lower() in {known.lower() for known in named}:
            number += 1
            stem = f"{safe}-{number}"
        named[stem] = page
    return named


def recording_picture(facts: Mapping[str, Any], excerpt: Excerpt, out: Path, stem: str) -> Path:
    """Write the page of one recording as `out/stem.png`, 300 dpi.

    Args:
        facts: One entry of `recordings` from the inspection.
        excerpt: Its arrays.
        out: Folder, made if needed.
        stem: Name of the file.

    Raises:
        InputError: `out` is a file.
    """
    return save(recording_figure(facts, excerpt), make_folder(out) / stem, ("png",))[0]


def recording_figure(facts: Mapping[str, Any], excerpt: Excerpt) -> Figure:
    """Waterfall with annotations and spectrum above; trace, histogram and constellation below."""
    scale = _Scale(facts["sample_rate_hz"], facts["center_frequency_hz"])
    with look():
        figure = new_figure(PAGE, 5.0)
        halves: Any = figure.subfigures(2, 1, height_ratios=(3.1, 2.0))
        top, bottom = halves
        waterfall, spectrum = top.subplots(1, 2, sharey=True, width_ratios=(4.4, 1.0))
        _waterfall(waterfall, facts, excerpt, scale)
        _spectrum(spectrum, excerpt, scale)
        trace, histogram, plane = bottom.subplots(1, 3, width_ratios=(2.2, 1.3, 1.2))
        _trace(trace, excerpt, scale)
        _histogram(histogram, excerpt)
        _constellation(plane, excerpt)
        figure.suptitle(_caption(facts, excerpt), x=0.01, ha="left", fontsize=7)
    return figure


def _waterfall(axes: Axes, facts: Mapping[str, Any], excerpt: Excerpt, scale: _Scale) -> None:
    low, high, name = scale.frequency()
    if excerpt.axis == "example":
        end, label = float(excerpt.extent), "example"
    else:
        factor, label = scale.time(excerpt.extent)
        end = excerpt.extent * factor
    darkest, lightest = colour_range(excerpt.waterfall)
    half = (high - low) / (2 * excerpt.spectrum.size)  # bin k is centred on -1/2 + k / bins
    image = axes.imshow(
        excerpt.waterfall, origin="lower", aspect="auto", extent=(0, end, low - half, high - half),
        vmin=darkest, vmax=lightest, interpolation="nearest",
    )  # fmt: skip
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, fraction=0.04)
    bar.set_label("power in a bin (dBFS)")
    bar.outline.set_linewidth(0.4)
    axes.set(xlabel=label, ylabel=name, title="Spectrogram")
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    axes.spines[:].set_visible(False)
    if excerpt.axis == "time":
        _boxes(axes, facts["annotations"], scale, (end / excerpt.extent, low, high))
    axes.set(xlim=(0, end), ylim=(low, high))


def _boxes(
    axes: Axes, annotations: Sequence[Mapping[str, Any]], scale: _Scale, place: tuple[float, float, float]
) -> None:
    """Annotations as boxes in time and frequency; over the whole band where no edges are given."""
    factor, low, high = place
    names = sorted({note["label"] for note in annotations if note["label"] is not None})
    colours = {name: _BOX_COLOURS[i % len(_BOX_COLOURS)] for i, name in enumerate(names)}
    for note in annotations[:_BOXES]:
        edges = [scale.share(note[key]) if scale.rate and note[key] is not None else default
                 for key, default in (("low_hz", 0.005), ("high_hz", 0.995))]  # fmt: skip
        bottom, top = (low + float(np.clip(edge, 0.0, 1.0)) * (high - low) for edge in edges)
        colour = colours.get(note["label"], "#FFFFFF")
        left, width = note["start"] * factor, note["count"] * factor
        box = Rectangle((left, bottom), width, top - bottom, fill=False, edgecolor=colour, linewidth=0.8)
        box.set_path_effects([withStroke(linewidth=1.8, foreground="#20202090")])  # seen on strong and on weak cells
        axes.add_patch(box)
        if note["label"] and len(annotations) <= _NAMED:
            axes.annotate(
                note["label"], (left, top), (1, -1), textcoords="offset points", color=colour, fontsize=5.5, va="top",
                clip_on=True, annotation_clip=True, path_effects=[withStroke(linewidth=1.4, foreground="#202020")],
            )  # fmt: skip
    if len(names) > 1 and len(names) <= 12:
        handles = [Patch(facecolor="none", edgecolor=colours[name], label=name) for name in names]
        legend = axes.legend(handles=handles, loc="upper right", fontsize=5.5, frameon=True, framealpha=0.6)
        legend.get_frame().set(facecolor="#303030", linewidth=0)
        for text in legend.get_texts():
            text.set_color("white")


def _spectrum(axes: Axes, excerpt: Excerpt, scale: _Scale) -> None:
    low, high, _ = scale.frequency()
    bins = excerpt.spectrum.size
    frequency = low + np.arange(bins) / bins * (high - low)
    shown = np.where(excerpt.spectrum > FLOOR_DBFS, excerpt.spectrum, np.nan)
    axes.plot(shown, frequency, color=PALETTE[0], linewidth=0.8)
    axes.set(xlabel="mean (dBFS)", title="Spectrum")
    axes.tick_params(labelleft=False)
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    grid(axes)


def _trace(axes: Axes, excerpt: Excerpt, scale: _Scale) -> None:
    factor, label = scale.time(max(excerpt.trace.size, 1))
    places = np.arange(excerpt.trace.size) * factor
    axes.plot(places, excerpt.trace.real, color=PALETTE[0], linewidth=0.7, label="I")
    axes.plot(places, excerpt.trace.imag, color=PALETTE[1], linewidth=0.7, label="Q")
    if excerpt.axis == "example":
        title = f"Example {excerpt.example:,}"
    else:
        at = (
            si(float(f"{excerpt.trace_start / scale.rate:.4g}"), "s")
            if scale.rate
            else f"sample {excerpt.trace_start:,}"
        )
        title = f"Strongest moment, at {at}"
    axes.set(xlabel=label, ylabel="amplitude (full scale 1)", title=title)
    axes.legend(loc="upper right", ncols=2)
    grid(axes)


def _histogram(axes: Axes, excerpt: Excerpt) -> None:
    parts = (("I", excerpt.cloud.real, PALETTE[0]), ("Q", excerpt.cloud.imag, PALETTE[1]))
    edges = np.linspace(-1, 1, 101) * _reach(excerpt)
    for name, values, colour in parts:
        counts, _ = np.histogram(values, edges)
        axes.stairs(np.maximum(counts / max(values.size, 1), 1e-9), edges, color=colour, label=name, linewidth=0.8)
    axes.set(yscale="log", xlabel="amplitude", ylabel="share of samples", title="Histogram")
    axes.set_ylim(bottom=0.5 / max(excerpt.cloud.size, 1))
    axes.legend(loc="upper right")
    grid(axes)


def _constellation(axes: Axes, excerpt: Excerpt) -> None:
    reach = _reach(excerpt)
    edges = np.linspace(-reach, reach, 121)
    counts, _, _ = np.histogram2d(excerpt.cloud.imag, excerpt.cloud.real, (edges, edges))
    axes.imshow(
        np.where(counts > 0, counts, np.nan), origin="lower", extent=(-reach, reach, -reach, reach),
        interpolation="nearest", norm=LogNorm(1, max(float(counts.max()), 2.0)), cmap="viridis",
    )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.4)
    axes.axvline(0, color=GREY, linewidth=0.4)
    axes.set(xlabel="I", ylabel="Q", title="Plane")


def _reach(excerpt: Excerpt) -> float:
    """Largest magnitude of I and Q that is shown."""
    parts = np.abs(np.concatenate([excerpt.cloud.real, excerpt.cloud.imag]))
    return float(parts.max()) * 1.02 if parts.size and parts.max() > 0 else 1.0


def _caption(facts: Mapping[str, Any], excerpt: Excerpt) -> str:
    parts = [facts["name"], f"{facts['format']}, {facts['datatype']}"]
    if facts["sample_rate_hz"]:
        parts.append(si(facts["sample_rate_hz"], "S/s"))
    if facts["center_frequency_hz"] is not None:
        parts.append(si(facts["center_frequency_hz"], "Hz"))
    if facts["channels"] > 1:
        parts.append(f"channel {excerpt.channel} of {facts['channels']}")
    if facts["label"]:
        parts.append(facts["label"])
    if facts["levels"]:
        levels = facts["levels"][excerpt.channel]
        parts.append(f"mean {levels['mean_dbfs']:.1f} dBFS, peak {levels['peak_dbfs']:.1f} dBFS")
    return "; ".join(parts)
