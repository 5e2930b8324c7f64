"""Maps of the users of a store."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.style import COLUMN, GREY, INK, PAGE, PALETTE, PAPER, grid, look, new_figure
from wfm_cli.core.evaluation.report.words import leak_sentence
from wfm_cli.core.store.reader import Store

_POINTS = 40_000
"""Users drawn on a map at most; more would hide one another."""
_WIDE = 2.2
"""Maps wider than so many times their height are stacked, others stand side by side."""


@dataclass(frozen=True)
class Users:
    """The users on a map: those of one scenario, thinned out when there are very many."""

    rows: NDArray[np.int64]
    xy: NDArray[np.float64]
    sample: NDArray[np.float64]
    """Position (2,) of the sample that is shown, metres."""
    station: NDArray[np.float64] | None
    """Position (2,) of the base station, metres."""
    scenario: str
    thinned: bool

    @property
    def wide(self) -> bool:
        """Whether several maps are better stacked."""
        span = np.ptp(self.xy, axis=0)
        return bool(span[0] > _WIDE * span[1])


def users_of(store: Store, sample: int) -> Users | None:
    """Users of the scenario that `sample` belongs to; None when the store has no positions."""
    if "meta/position" not in store.names:
        return None
    position = store.read("meta/position")[:, :2].astype(np.float64)
    rows: NDArray[np.int64] = np.arange(store.samples)
    scenario = ""
    if "meta/scenario" in store.names:
        numbers = store.read("meta/scenario")
        rows = np.flatnonzero(numbers == numbers[sample])
        names = store.spec("meta/scenario").attrs.get("classes") or []
        scenario = str(names[numbers[sample]]) if numbers[sample] < len(names) else ""
    about: Mapping[str, Any] = (store.attrs.get("scenarios") or {}).get(scenario) or {}
    station = about.get("bs_position_m")
    kept: NDArray[np.int64] = rows[:: -(-len(rows) // _POINTS)].astype(np.int64)
    return Users(
        kept,
        position[kept],
        position[sample],
        None if station is None else np.asarray(station[:2], dtype=np.float64),
        scenario,
        len(kept) < len(rows),
    )


def map_figure(store: Store, users: Users) -> Figure | None:
    """Users by line of sight and by received power; None when the store holds neither."""
    has = [name for name in ("labels/los", "meta/log_power_db") if name in store.names]
    if not has:
        return None
    with look():
        figure, panels = _canvas(users, len(has))
        for axes, name in zip(panels, has, strict=True):
            values = store.read(name)[users.rows]
            if name == "labels/los":
                names = store.label_classes("los") or ["NLoS", "LoS"]
                _by_class(axes, users, values, names, (PALETTE[1], PALETTE[0]))
                axes.set_title("Line of sight")
            else:
                _by_power(figure, axes, users, values)
            _furnish(axes, users)
    return figure


def splits_figure(store: Store, users: Users) -> Figure:
    """The parts of every split, with its leak."""
    available = store.attrs["splits"]["available"]
    with look():
        figure, panels = _canvas(users, len(available))
        for axes, name in zip(panels, available, strict=True):
            parts = ["train", "val", "test"]
            _by_class(axes, users, store.split(name)[users.rows], parts, (PALETTE[0], PALETTE[4], PALETTE[1]))
            axes.set_title(f"{name} split" + (" (default)" if name == store.attrs["splits"]["default"] else ""))
            _furnish(axes, users)
            leak = leak_sentence(available[name].get("leak") or {})
            axes.set_xlabel("\n".join(["x (m)", *textwrap.wrap(leak, 100 if users.wide else 42)]))
    return figure


def _canvas(users: Users, panels: int) -> tuple[Figure, list[Axes]]:
    """Panels at equal scale: stacked for long streets, else side by side."""
    span = np.ptp(users.xy, axis=0)
    ratio = float(span[1] / span[0]) if span[0] > 0 else 1.0
    rows, columns = (panels, 1) if users.wide else (1, panels)
    width = PAGE if panels > 1 or users.wide else COLUMN
    height = float(np.clip((width / columns - (1.6 if users.wide else 0.8)) * ratio, 0.6, 4.5))
    figure = new_figure(width, rows * (height + 0.75) + 0.25)
    drawn = np.atleast_1d(figure.subplots(rows, columns, sharey=not users.wide)).ravel()
    text = (users.scenario or "users") + (", thinned out" if users.thinned else "")
    figure.suptitle(f"{text}; circle: the chosen sample", x=0.01, ha="left", fontsize=6.5, color=GREY)
    drawn[0].set_ylabel("y (m)")
    return figure, list(drawn)


def _by_class(axes: Axes, users: Users, values: NDArray[Any], names: list[str], colours: tuple[str, ...]) -> None:
    for value, (name, colour) in enumerate(zip(names, colours, strict=False)):
        x, y = users.xy[values == value].T
        axes.scatter(x, y, s=_dot(users), color=colour, linewidths=0, label=f"{name} ({len(x):,})")
    if users.wide:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2.5, handletextpad=0.1)
    else:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, markerscale=2.5, handletextpad=0.1)


def _by_power(figure: Figure, axes: Axes, users: Users, values: NDArray[Any]) -> None:
    # Robust ends: a handful of deep shadows would flatten the rest of the scale.
    low, high = np.percentile(values, [2, 98])
    x, y = users.xy.T
    drawn = axes.scatter(x, y, c=values, s=_dot(users), vmin=low, vmax=high, linewidths=0)
    place = axes.inset_axes((1.02, 0.0, 0.02 if users.wide else 0.04, 1.0))
    bar = figure.colorbar(drawn, cax=place, extend="both")
    bar.set_label("mean power per element (dB)" if not users.wide else "power per\nelement (dB)")
    bar.outline.set_linewidth(0.4)
    axes.set_title("Received power")


def _furnish(axes: Axes, users: Users) -> None:
    halo = [withStroke(linewidth=2, foreground=PAPER)]
    if users.station is not None:
        x, y = users.station
        axes.plot(x, y, marker="^", color=INK, markersize=6, linestyle="", path_effects=halo, zorder=5)
        axes.annotate(
            "BS", (x, y), (5, 3), textcoords="offset points", fontsize=7, weight="bold", path_effects=halo, zorder=5
        )
    axes.plot(
        *users.sample, marker="o", color=INK, markerfacecolor="none", markersize=6, linestyle="", path_effects=halo,
        zorder=5, clip_on=False,
    )  # fmt: skip
    axes.set(xlabel="x (m)", aspect="equal")
    grid(axes)


def _dot(users: Users) -> float:
    return float(np.clip(6000 / max(len(users.rows), 1), 0.3, 9.0))
