"""One look for every figure: IEEE column widths, a palette for colour-blind readers too, no global state."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMN = 3.5
"""Width of one IEEE column in inches."""
PAGE = 7.16
"""Width of an IEEE page (two columns) in inches."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's colours without black and yellow, which vanish on dark and on white paper, and a brown."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#7A7A7A"
INK = "#1c1d20"
"""Text, axes and ticks. HTML pages replace it by the colour of their own text."""
PAPER = "#fefefe"
"""Inside of hollow markers. HTML pages replace it by their own background."""
SEQUENTIAL = "viridis"

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.6,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "grid.color": "#9a9a9a",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.4,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "wfm",
    "image.cmap": SEQUENTIAL,
}


@contextmanager
def look() -> Iterator[None]:
    """Apply the style inside a `with` block."""
    with mpl.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in constrained layout, free of pyplot's global list; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(axes: Axes) -> None:
    """Faint lines behind the data."""
    axes.grid(True, which="major")
    axes.set_axisbelow(True)


def save(figure: Figure, stem: Path, formats: tuple[str, ...] = ("png", "pdf")) -> list[Path]:
    """Write `stem.png`, `stem.pdf` ... without a date inside, so that equal data gives equal files."""
    paths = []
    stem.parent.mkdir(parents=True, exist_ok=True)
    with look():
        for kind in formats:
            path = stem.with_name(f"{stem.name}.{kind}")
            metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
            figure.savefig(path, format=kind, metadata=metadata)
            paths.append(path)
    return paths


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element in the text and background colours of the page around it."""
    buffer = io.StringIO()
    with look():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--paper)")
