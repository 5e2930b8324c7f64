"""Pictures of a whole store of sequences: best beams on the map, lengths and time steps, parts of the windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.style import GREY, INK, PAGE, PALETTE, SEQUENTIAL, grid, look, new_figure, save
from wfm_cli.core.inspect.frame_picture import frame_figure
from wfm_cli.core.inspect.kinds import make_folder
from wfm_cli.core.inspect.sequence_view import leak_words
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.sequences import INDEX, window_split

KIND = "sequence"
_ACROSS = 3
_POINTS = 20_000
"""Frames drawn on a map at most."""
_PARTS = {"train": PALETTE[0], "val": PALETTE[4], "test": PALETTE[1], "none": "#c8c8c8"}


def frame_picture(store: Store, frame: int, out: Path) -> list[Path]:
    """Write `frame-<number>.png` into the folder `out`."""
    return save(frame_figure(store, frame), make_folder(out) / f"frame-{frame}", ("png",))


def sequence_figures(store: Store, frame: int) -> Iterator[tuple[str, Figure]]:
    """`frame-<number>`, `map`, `lengths` and, of windows, `splits`; nothing of stores of another kind."""
    if store.kind != KIND:
        return
    yield f"frame-{frame}", frame_figure(store, frame)
    yield "map", _map(store)
    yield "lengths", _lengths(store)
    if INDEX in store.names:
        yield "splits", _splits(store)


def _scenarios(store: Store) -> list[tuple[str, NDArray[np.int64]]]:
    """Name and frames of every scenario."""
    numbers = store.read("meta/scenario")
    names = store.spec("meta/scenario").attrs.get("classes") or []
    return [(str(name), np.flatnonzero(numbers == number).astype(np.int64)) for number, name in enumerate(names)]


def _map(store: Store) -> Figure:
    """Positions of every scenario about its own base station, coloured by the best beam."""
    scenarios = _scenarios(store)
    position, beam = store.read("frames/position"), store.read("labels/beam")
    known = store.read("meta/position_known") > 0 if "meta/position_known" in store.names else np.ones(len(beam), bool)
    across = min(_ACROSS, len(scenarios))
    down = -(-len(scenarios) // across)
    beams = store.spec("frames/power").shape[0]
    colours = colormaps[SEQUENTIAL].with_extremes(bad=GREY)  # frames without powers
    with look():
        figure = new_figure(PAGE if across > 1 else 4.2, 0.3 + 2.6 * down)
        panels = np.atleast_1d(figure.subplots(down, across)).ravel()
        for axes, (name, frames) in zip(panels, scenarios, strict=False):
            shown = frames[known[frames]]
            drawn = shown[:: max(1, -(-len(shown) // _POINTS))]
            best = np.where(beam[drawn] >= 0, beam[drawn], np.nan)
            dots = axes.scatter(
                *position[drawn].T,
                c=best,
                s=5,
                linewidths=0,
                vmin=0,
                vmax=beams - 1,
                cmap=colours,
                plotnonfinite=True,
            )
            axes.plot(0, 0, linestyle="", marker="^", color=INK, markersize=5)
            axes.annotate("BS", (0, 0), (4, 2), textcoords="offset points", fontsize=6.5, weight="bold")
            axes.set(title=f"Scenario {name}, {len(frames):,} frames", xlabel="east (m)", ylabel="north (m)")
            axes.set_aspect("equal", adjustable="datalim")
            grid(axes)
        for axes in panels[len(scenarios) :]:
            axes.set_axis_off()
        bar = figure.colorbar(dots, ax=list(panels[: len(scenarios)]), pad=0.01, aspect=35)
        bar.set_label("best beam")
        bar.outline.set_linewidth(0.4)
    return figure


def _lengths(store: Store) -> Figure:
    """How long sequences are, against the frames of a window, and the time between two frames."""
    sequence, time = store.read("meta/sequence"), store.read("meta/time_s")
    with look():
        figure = new_figure(PAGE, 2.3)
        left, right = figure.subplots(1, 2)
        lengths = {
            name: np.unique(sequence[frames], return_counts=True)[1]
            for name, frames in _scenarios(store)
            if len(frames)
        }
        edges = _whole_bins(np.concatenate(list(lengths.values())))
        left.hist(
            list(lengths.values()), bins=edges, stacked=True, color=_colours(len(lengths)),
            label=[f"scenario {name}" for name in lengths],
        )  # fmt: skip
        if INDEX in store.names:
            steps = store.spec(INDEX).shape[0]
            left.axvline(steps, color=INK, linewidth=0.8, linestyle="--", label=f"a window, {steps} frames")
        left.set(title="Lengths of the sequences", xlabel="frames", ylabel="sequences")
        left.legend(fontsize=6)
        left.yaxis.get_major_locator().set_params(integer=True)
        _time_steps(right, 1e3 * np.diff(time)[np.diff(sequence) == 0])
        for axes in (left, right):
            grid(axes)
            axes.grid(False, axis="x")
    return figure


def _whole_bins(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Edges of about 20 bins with whole numbers inside."""
    low, high = int(values.min()), int(values.max())
    step = max(1, -(-(high - low + 1) // 20))
    edges: NDArray[np.float64] = np.arange(low - 0.5, high + step + 0.5, step, dtype=np.float64)
    return edges


def _colours(count: int) -> list[str]:
    return [PALETTE[n % len(PALETTE)] for n in range(count)]


def _time_steps(axes: Axes, steps: NDArray[np.float64]) -> None:
    if len(steps):
        end = float(np.percentile(steps, 99.5)) * 1.2 + 1
        inside = steps[(steps >= 0) & (steps <= end)]
        axes.hist(inside, bins=40, range=(0, end), color=PALETTE[2], log=True)
        middle = float(np.median(steps))
        axes.axvline(middle, color=INK, linewidth=0.8, linestyle="--", label=f"median {middle:.1f} ms")
        more = len(steps) - len(inside)
        if more:
            axes.plot([], [], " ", label=f"{more:,} longer, up to {steps.max() / 1e3:.3g} s")
        axes.legend(fontsize=6)
    axes.set(title="Time between two frames", xlabel="step (ms)", ylabel="steps")


def _splits(store: Store) -> Figure:
    """Part of the window that begins at every frame: a line per sequence, a panel per split."""
    about = store.attrs["windows"]
    first, sequence = store.read(INDEX)[:, 0], store.read("meta/sequence")
    begin = np.searchsorted(sequence, np.arange(int(sequence.max()) + 1))
    row, column = sequence[first], first - begin[sequence[first]]
    with look():
        figure = new_figure(PAGE, 2.9)
        panels = np.atleast_1d(figure.subplots(1, len(about["splits"]), sharey=True))
        for axes, name in zip(panels, about["splits"], strict=True):
            part = np.full((int(sequence.max()) + 1, int(column.max()) + 1), np.nan)
            part[row, column] = window_split(store, name)
            colours = ListedColormap(list(_PARTS.values()))
            norm = BoundaryNorm(np.arange(len(_PARTS) + 1) - 0.5, len(_PARTS))
            axes.imshow(part, aspect="auto", cmap=colours, norm=norm, interpolation="nearest")
            axes.set_title(f"{name} (default)" if name == about["default"] else name)
            axes.set_xlabel(f"window, by its first frame\n{leak_words(about['splits'][name], short=True)}")
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel("sequence")
        panels[0].yaxis.get_major_locator().set_params(integer=True)
        handles = [Patch(color=colour, label=name) for name, colour in _PARTS.items()]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=6.5)
        figure.suptitle("Parts of the windows", x=0.01, ha="left", fontsize=7, color=GREY)
    return figure
