"""Pictures of a store: one sample's channel or spectrogram, where the users are, how labels and splits are spread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfm_cli.core.evaluation.report.style import COLUMN, PAGE, PALETTE, grid, look, new_figure, save
from wfm_cli.core.inspect.channel_picture import channel_figure
from wfm_cli.core.inspect.kinds import make_folder
from wfm_cli.core.inspect.maps import map_figure, splits_figure, users_of
from wfm_cli.core.inspect.sequence_pictures import KIND, frame_picture, sequence_figures
from wfm_cli.core.inspect.spectrogram_picture import spectrogram_figures
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.errors import InputError

_BARS = 32
"""Classes drawn as bars with names at most."""


def store_pictures(path: Path, out: Path, sample: int) -> list[Path]:
    """Write `channel`, `map`, `labels`, `splits`, of spectrograms `spectrogram`, `spectrograms`, `classes` and
    `spectra`, of sequences `frame-<sample>`, `map`, `lengths`, `splits` and `labels` as PNG, as far as the store holds
    what they show.

    Raises:
        StoreError: The store is unfinished or damaged.
        InputError: There is no such sample, or `out` is a file.
    """
    store = _open(path, sample)
    folder, paths = make_folder(out), []
    for name, figure in _figures(store, sample):
        paths += save(figure, folder / name, ("png",))
    return paths


def one_frame(path: Path, out: Path, frame: int) -> list[Path]:
    """Write `frame-<frame>.png` of a store of sequences.

    Raises:
        StoreError: The store is unfinished or damaged.
        InputError: There is no such frame, the store has no sequences, or `out` is a file.
    """
    store = _open(path, frame)
    if store.kind != KIND:
        raise InputError(f"{path}: is a store of kind '{store.kind}', which has no frames", "choose one by --sample")
    return frame_picture(store, frame, out)


def _open(path: Path, sample: int) -> Store:
    store = open_store(path)
    what = "frame" if store.kind == KIND else "sample"
    if not 0 <= sample < store.samples:
        raise InputError(f"{path}: there is no {what} {sample}", f"{what}s run from 0 to {store.samples - 1}")
    return store


def _figures(store: Store, sample: int) -> Iterator[tuple[str, Figure]]:
    channel = channel_figure(store, sample)
    if channel is not None:
        yield "channel", channel
    yield from spectrogram_figures(store, sample)
    yield from sequence_figures(store, sample)
    users = users_of(store, sample)
    if users is not None and (drawn := map_figure(store, users)) is not None:
        yield "map", drawn
    labels = [name for name in store.names if name.startswith("labels/") and not store.spec(name).shape]
    labels = [name for name in labels if store.spec(name).dtype.startswith(("int", "uint"))]
    labels.sort(key=lambda name: len(store.label_classes(name.partition("/")[2]) or ()))
    if labels:
        yield "labels", _labels_figure(store, labels)
    if users is not None and store.attrs["splits"]["available"]:
        yield "splits", splits_figure(store, users)


def _labels_figure(store: Store, names: list[str]) -> Figure:
    """Histograms of all labels."""
    across = min(3, len(names))
    down = -(-len(names) // across)
    with look():
        figure = new_figure(PAGE if across > 1 else COLUMN, 1.6 * down + 0.1)
        axes = np.atleast_1d(figure.subplots(down, across)).ravel()
        for axis, name in zip(axes, names, strict=False):
            _histogram(axis, store, name)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
    return figure


def _histogram(axes: Axes, store: Store, name: str) -> None:
    values = store.read(name).astype(np.int64)
    classes = store.label_classes(name.partition("/")[2])
    low = min(0, int(values.min()))
    counts = np.bincount(values - low, minlength=len(classes or ()))
    places = np.arange(len(counts)) + low
    angles = store.spec(name).attrs.get("angles_deg")
    if angles and len(angles) == len(counts) > 1:
        step = float(angles[1]) - float(angles[0])
        axes.bar(angles, counts, color=PALETTE[0], width=step * (0.85 if len(counts) <= _BARS else 1.0))
        axes.set_xlabel("beam angle (deg)")
    elif len(counts) <= _BARS:
        axes.bar(places, counts, color=PALETTE[0], width=0.85)
        axes.set_xlabel("class")
    else:
        axes.stairs(counts, np.append(places, places[-1] + 1) - 0.5, fill=True, color=PALETTE[0])
        axes.set_xlabel("class number")
    if classes and len(classes) <= 6:
        axes.set_xticks(range(len(classes)), classes)
        for place, count in zip(places, counts, strict=True):
            axes.annotate(f"{count:,}", (place, count), (0, 1), textcoords="offset points", ha="center", fontsize=6)
        axes.margins(y=0.15)
    axes.set(title=name.partition("/")[2], ylabel="samples")
    grid(axes)
    axes.grid(False, axis="x")
