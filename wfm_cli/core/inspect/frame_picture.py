"""One frame of a store of sequences: what every sensor saw, where the vehicle was, and which beam was the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.style import GREY, INK, PAGE, PALETTE, PAPER, grid, look, new_figure
from wfm_cli.core.signal.radar import PROFILES
from wfm_cli.core.store.reader import Store

RADAR_BIN_M = 299_792_458 * 5e6 / (2 * 256 * 15.015e12)
"""Range bin of the released chirps: 256 samples at 5 MS/s, slope 15.015 MHz/us."""
_RADAR_SAMPLES = 256
_RADAR_RANGE_DB = 40.0
_CAMERA = 9 / 16
"""Height over width of the released pictures, which the store keeps square."""
_DAY_S = 86_400.0

Panel = Callable[[Figure, Axes, Store, int], None]


def frame_figure(store: Store, frame: int) -> Figure:
    """Camera, range-angle map and track above depth image and beam powers; sensors without data have no panel."""
    above: list[tuple[float, Panel]] = [
        (width, panel)
        for name, width, panel in (("image", 1.2, _camera), ("radar", 1.1, _radar))
        if _has(store, name, frame)
    ]
    above.append((1.2, _track))
    below: list[tuple[float, Panel]] = [(2.0, _depth)] if _has(store, "lidar", frame) else []
    if _has(store, "power", frame):
        below.append((1.4, _powers))
    rows = [row for row in (above, below) if row] if len(above) + len(below) > 2 else [above + below]
    with look():
        figure = new_figure(PAGE, 0.35 + 2.1 * len(rows))
        outer = figure.add_gridspec(len(rows), 1, height_ratios=(1.15, 1.0)[: len(rows)])
        for place, row in enumerate(rows):
            inner = outer[place].subgridspec(1, len(row), width_ratios=[width for width, _ in row])
            for column, (_, panel) in enumerate(row):
                panel(figure, figure.add_subplot(inner[column]), store, frame)
        figure.suptitle(frame_caption(store, frame), x=0.01, ha="left", fontsize=7.5, weight="bold")
    return figure


def frame_caption(store: Store, frame: int) -> str:
    """Store, number of the frame, scenario, sequence with the place in it, and time of the day."""
    number = int(_one(store, "meta/sequence", frame))
    own = np.flatnonzero(store.read("meta/sequence") == number)
    place = f"frame {int(np.searchsorted(own, frame)) + 1} of {len(own)}"
    scenario = _named(store, "meta/scenario", int(_one(store, "meta/scenario", frame)))
    sequence = _named(store, "meta/sequence", number)
    time = clock(float(_one(store, "meta/time_s", frame)))
    return f"{store.path.name}, frame {frame:,}: scenario {scenario}, sequence {sequence} ({place}), {time}"


def clock(seconds: float) -> str:
    """Time of the day, also of seconds that go on over midnight: 86401.5 -> 00:00:01.500."""
    milli = round(seconds * 1000) % round(_DAY_S * 1000)
    whole = milli // 1000
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{milli % 1000:03d}"


def _has(store: Store, sensor: str, frame: int) -> bool:
    """Whether the store has a sensor, and the frame's file of it was there."""
    known = f"meta/{sensor}_known"
    return f"frames/{sensor}" in store.names and (known not in store.names or bool(_one(store, known, frame)))


def _one(store: Store, name: str, frame: int) -> Any:
    with store.rows(name) as reader:
        return reader.take([frame])[0]


def _named(store: Store, name: str, number: int) -> str:
    classes = store.spec(name).attrs.get("classes") or []
    return str(classes[number]) if 0 <= number < len(classes) else str(number)


def _camera(figure: Figure, axes: Axes, store: Store, frame: int) -> None:
    image = np.moveaxis(_one(store, "frames/image", frame), 0, -1)
    height, width = image.shape[:2]
    axes.imshow(image, aspect=_CAMERA * width / height)
    axes.set(title=f"Camera (kept as {width} x {height})", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _radar(figure: Figure, axes: Axes, store: Store, frame: int) -> None:
    """Angle bins in ascending order, whatever the order of the profile."""
    values = _one(store, "frames/radar", frame).astype(np.float64)
    name = str(store.spec("frames/radar").attrs.get("profile", ""))
    if name in PROFILES and not PROFILES[name].shift:
        values = np.fft.fftshift(values, axes=0)
    angles, ranges = values.shape
    level = 20 * np.log10(np.maximum(values, 1e-30) / max(float(values.max()), 1e-30))
    metres = RADAR_BIN_M if ranges == _RADAR_SAMPLES else None
    end, half = ranges - 0.5, 1 / angles
    extent = (-1 - half, 1 - half, -0.5 * (metres or 1), end * (metres or 1))
    image = axes.imshow(
        level.T, origin="lower", aspect="auto", extent=extent, vmin=-_RADAR_RANGE_DB, vmax=0, cmap="magma",
        interpolation="nearest",
    )  # fmt: skip
    _bar(figure, axes, image, "dB re maximum")
    axes.set(
        title=f"Range-angle map ({name})" if name else "Range-angle map",
        xlabel="sin(angle)",
        ylabel=f"range (m), bins of {metres:.3f} m" if metres else "range bin",
    )
    axes.spines[:].set_visible(False)


def _track(figure: Figure, axes: Axes, store: Store, frame: int) -> None:
    """Positions of the whole sequence, those up to the frame in colour."""
    own = np.flatnonzero(store.read("meta/sequence") == _one(store, "meta/sequence", frame))
    if "meta/position_known" in store.names:
        own = own[store.read("meta/position_known")[own] > 0]
    xy = store.read("frames/position")[own]
    past = own <= frame
    axes.plot(*xy.T, color=GREY, linewidth=0.6, marker="o", markersize=1.6, label="to come")
    axes.plot(*xy[past].T, color=PALETTE[0], linewidth=1.2, marker="o", markersize=2.2, label="past")
    halo = [withStroke(linewidth=2, foreground=PAPER)]
    here = xy[own == frame]
    guessed = "meta/interpolated" in store.names and bool(_one(store, "meta/interpolated", frame))
    words = "this frame, interpolated" if guessed else "this frame"
    axes.plot(
        *here.T, linestyle="", marker="o", markersize=6, color=PALETTE[1], markeredgecolor=INK,
        markerfacecolor="none" if guessed else PALETTE[1], path_effects=halo, zorder=5,
        label=words if len(here) else "this frame: no position",
    )  # fmt: skip
    axes.plot(
        0, 0, linestyle="", marker="^", markersize=5, color=INK, path_effects=halo, zorder=5, label="base station"
    )
    axes.set(title="Track", xlabel="east (m)", ylabel="north (m)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="best", fontsize=5.5, handletextpad=0.3, borderpad=0.2, labelspacing=0.2, frameon=True,
                framealpha=0.7, edgecolor="none")  # fmt: skip
    grid(axes)


def _depth(figure: Figure, axes: Axes, store: Store, frame: int) -> None:
    about = store.spec("frames/lidar").attrs
    far, rows = float(about.get("far_m", 1.0)), store.spec("frames/lidar").shape
    depth: NDArray[np.float64] = far * _one(store, "frames/lidar", frame).astype(np.float64)
    hit = depth > 0
    if "frames/lidar_hit" in store.names:
        hit = _one(store, "frames/lidar_hit", frame) > 0
    left = -180.0 - 360.0 * float(about.get("roll", 0)) / rows[1]
    extent = (left, left + 360, float(about.get("down_deg", 0)), float(about.get("up_deg", rows[0])))
    top = float(np.percentile(depth[hit], 98)) if hit.any() else far
    axes.set_facecolor("#e4e4e4")
    image = axes.imshow(
        np.where(hit, depth, np.nan), aspect="auto", extent=extent, cmap="viridis_r", vmin=0, vmax=top,
        interpolation="nearest",
    )  # fmt: skip
    _bar(figure, axes, image, "range (m)", extend="max")
    axes.set(title="Depth image (grey: no return)", xlabel="azimuth (deg)", ylabel="elevation (deg)")
    ticks = np.arange(np.ceil(left / 60) * 60, left + 361, 60)
    axes.set_xticks(ticks, [f"{(tick + 180) % 360 - 180 if abs(tick) > 180 else tick:g}" for tick in ticks])
    axes.spines[:].set_visible(False)


def _powers(figure: Figure, axes: Axes, store: Store, frame: int) -> None:
    level = _one(store, "frames/power_db", frame).astype(np.float64)
    best = int(_one(store, "labels/beam", frame))
    bottom = float(level.min()) - 0.05 * max(float(np.ptp(level)), 1.0)
    edges = np.arange(len(level) + 1) - 0.5
    axes.stairs(level, edges, baseline=bottom, fill=True, color=PALETTE[0], alpha=0.85)
    words = "beam"
    if "labels/beam_released" in store.names and (released := int(_one(store, "labels/beam_released", frame))) >= 0:
        words += f"; the best was released as {released}"
    axes.stairs(level[best : best + 1], edges[best : best + 2], baseline=bottom, fill=True, color=PALETTE[1])
    axes.plot(best, level[best], marker="v", color=PALETTE[1], markersize=4, clip_on=False, zorder=5)
    axes.annotate(
        f"{level[best]:.1f} dB", (best, level[best]), (0, 5), textcoords="offset points", fontsize=6,
        ha="left" if best < len(level) / 8 else "right" if best > 7 * len(level) / 8 else "center",
    )  # fmt: skip
    unmeasured = int(_one(store, "meta/nan_powers", frame)) if "meta/nan_powers" in store.names else 0
    words += f"; {unmeasured} not measured" if unmeasured else ""
    axes.set(title=f"Beam powers: best is {best}", xlabel=words, ylabel="power (dB)", xlim=(edges[0], edges[-1]))
    axes.set_ylim(bottom, float(level.max()) + 0.12 * max(float(np.ptp(level)), 1.0))
    grid(axes)
    axes.grid(False, axis="x")


def _bar(figure: Figure, axes: Axes, image: Any, label: str, extend: str = "neither") -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.02, extend=extend, aspect=30)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)
