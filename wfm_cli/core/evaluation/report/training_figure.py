"""Training curves of a run: one panel for each kind of quantity."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wfm_cli.core.evaluation.report.pretraining import (
    QUANTILE,
    UNTRAINED,
    of_model,
    plain_reference,
    reference_rank,
    system_title,
)
from wfm_cli.core.evaluation.report.style import COLUMN, GREY, PAGE, PALETTE, grid, look, new_figure
from wfm_cli.core.store.run import Run

Columns = Mapping[str, NDArray[np.float64]]

_PANELS = (
    ("Loss by expert", "loss", r"loss_(masked|contrastive)_.+"),
    ("Loss", "loss", r".*loss.*"),
    ("Reconstruction on validation", "NMSE (dB)", r".*nmse.*"),
    ("Retrieval of views", "share", r"(val_)?retrieval.*"),
    ("Use of experts", "share", r"(val_)?expert_.*"),
    ("Router", "share", r"(val_)?router_(accuracy|entropy|uneven)"),
    ("Learning rate", "learning rate", r"lr|learning_rate.*"),
    ("Gradient norm", "gradient norm", r".*grad.*norm.*"),
    ("Effective rank", "RankMe", r".*rankme.*"),
    ("Feature spread", "std per dimension", r".*std.*"),
    ("Throughput", "samples/s", r".*(samples|items)_per_s.*"),
)
_LABELS = {"loss": "training", "val_loss": "validation"}
_HIDDEN = re.compile(r"step|epoch|rankme_rows|refused_steps|ms_per_step|.*time.*|.*seconds.*|.*memory.*")


def training_figure(columns: Columns) -> Figure | None:
    """Curves over the optimiser step, in one IEEE page width; None when nothing was logged."""
    panels = _panels(columns)
    if "step" not in columns or not panels:
        return None
    across = min(3, len(panels))
    rows = -(-len(panels) // across)
    with look():
        figure = new_figure(PAGE if across > 1 else COLUMN, 1.75 * rows)
        axes = np.atleast_1d(figure.subplots(rows, across)).ravel()
        for axis, (title, label, names) in zip(axes, panels, strict=False):
            _panel(axis, columns, names)
            axis.set(title=title, ylabel=label, xlabel="step")
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
    return figure


def reconstruction_figure(run: Run) -> Figure | None:
    """Distribution over validation samples of the error of masked tokens: the model and its training-free references.

    Returns:
        One column wide; None when the run kept no errors by sample (unit `validation`).
    """
    if not run.has_unit("validation"):
        return None
    unit = run.unit("validation")
    names = sorted(name for name in unit.attrs.get("quantiles") or () if name.startswith("nmse"))
    if not names:
        return None
    with look():
        figure = new_figure(COLUMN, 2.3)
        axes = figure.subplots()
        for name in names:
            values = np.sort(10 * np.log10(np.maximum(unit.array(name), 1e-30)))
            share = 100 * np.arange(1, values.size + 1) / values.size
            own = "--" if name.endswith("_future") else "-"
            color, width, line = (PALETTE[0], 1.6, own) if of_model(name) else (GREY, 1.0, reference_line(name))
            label = _short(name)
            axes.step(values, share, line, where="post", label=label, color=color, linewidth=width)
        axes.set(xlabel="NMSE of masked tokens (dB)", ylabel="validation samples (%)", ylim=(0, 100))
        axes.legend(loc="lower right")
        grid(axes)
    return figure


def reference_line(name: str) -> str:
    """Dashes of a training-free reference, the same in every figure."""
    plain = plain_reference(name)
    if plain is not None:
        return {"visible": ":", "frequency": "--", "mean": ":", "latent_mean": ":"}.get(plain, "-.")
    return (":", "--")[(reference_rank(name) or 0) % 2]


def _short(name: str) -> str:
    """Title of a system in a legend."""
    return system_title(name).removesuffix(UNTRAINED).removesuffix(" completion")


def _panels(columns: Columns) -> list[tuple[str, str, list[str]]]:
    left = [n for n, v in columns.items() if not _HIDDEN.fullmatch(n) and np.isfinite(v).any()]
    panels = []
    for title, label, pattern in _PANELS:
        names = [name for name in left if re.fullmatch(pattern, name)]
        left = [name for name in left if name not in names]
        if names:
            panels.append((title, label, names))
    return panels


def _panel(axes: Axes, columns: Columns, names: list[str]) -> None:
    steps = columns["step"]
    medians = [name for name in names if (m := QUANTILE.fullmatch(name)) and m["quantile"] == "median"]
    shown = medians or names
    for index, name in enumerate(shown):
        known = np.isfinite(columns[name])
        reference = name in medians and not of_model(name)
        color = GREY if reference else PALETTE[index % len(PALETTE)]
        label = _short(name) if medians else _LABELS.get(name, name.replace("_", " "))
        line = reference_line(name) if reference else "-"
        dots = "." if known.sum() <= 25 and not reference else None
        axes.plot(steps[known], columns[name][known], line, color=color, label=label, marker=dots)
        low, high = (columns.get(name.replace("_median", f"_{q}")) for q in ("p10", "p90"))
        if medians and not reference and low is not None and high is not None:
            both = np.isfinite(low) & np.isfinite(high)
            axes.fill_between(steps[both], low[both], high[both], color=color, alpha=0.14, linewidth=0)
    positive = [columns[name][np.isfinite(columns[name])] for name in shown]
    wide = all(v.min() > 0 for v in positive) and any(v.max() > 20 * v.min() for v in positive)
    if wide and any("loss" in name or "norm" in name for name in shown):
        axes.set_yscale("log")
    if len(shown) > 1:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=3, columnspacing=1.2)
    grid(axes)
