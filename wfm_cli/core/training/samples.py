"""What a recipe trains on: rows of one array, or windows of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.models import with_statistics
from wfm_cli.core.objectives.base import Objective
from wfm_cli.core.recipe.models import ModelBlock
from wfm_cli.core.recipe.msac import JEPAMSACModel
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.rows import RowReader
from wfm_cli.core.store.sequences import INDEX, WindowRows, training_scales, window_indices
from wfm_cli.core.training.batches import as_real, spread
from wfm_cli.core.training.selection import select, whole_numbers
from wfm_cli.errors import RecipeError

_LOOK = 8
"""Samples that an objective is shown at once."""


@dataclass(frozen=True)
class Samples:
    """Training and validation samples of a recipe."""

    train: NDArray[np.int64]
    """Numbers of the training samples, or windows."""
    val: NDArray[np.int64]
    shape: tuple[int, ...]
    """Shape of a sample as the encoder sees it."""
    model: ModelBlock
    """The model block with everything that it takes from the data."""
    rows: Callable[[], RowReader]
    """A reader of the samples; frames that lie in memory are shared by all readers."""
    labels: Callable[[str, NDArray[np.int64]], torch.Tensor]
    """(N,) int64 labels of samples, by the name of the label."""
    windows: bool = False
    """Whether samples are windows, which the reader holds in memory itself."""


def samples_of(store: Store, recipe: PretrainRecipe) -> Samples:
    """Which samples a recipe takes from its store.

    Raises:
        RecipeError: `data.array` and the model do not go together, or `data.where` admits nothing.
        StoreError: there is no such split.
    """
    data, model = recipe.data, recipe.model
    if isinstance(model, JEPAMSACModel) != (data.array == INDEX):
        raise RecipeError(
            f"data.array: model '{model.kind}' does not take '{data.array}'",
            f"windows ({INDEX}) go with model.kind=jepa_msac, single arrays with the others",
        )
    if isinstance(model, JEPAMSACModel):
        return _windows(store, recipe, model)
    spec = store.spec(data.array)
    shape = (*spec.shape, 2) if spec.dtype.startswith("complex") else spec.shape
    return Samples(
        train=select(store, data, store.indices("train", data.split))[: data.samples],
        val=select(store, data, store.indices("val", data.split)),
        shape=shape,
        model=with_statistics(model, store.attrs.get("statistics", {}).get(data.array)),
        rows=lambda: store.rows(data.array),
        labels=lambda name, ids: whole_numbers(store, name, "train.monitor_label")[torch.from_numpy(ids)],
    )


def _windows(store: Store, recipe: PretrainRecipe, model: JEPAMSACModel) -> Samples:
    data = recipe.data
    if data.where:
        raise RecipeError("data.where: windows cannot be chosen by label", "choose a split instead")
    index = store.read(INDEX)
    scales = training_scales(store, data.split)
    power = "linear" if model.power_unit == "linear" else "power"
    found = {"gps_scale": scales["gps_scale"], **{f"power_{s}": scales[f"{power}_{s}"] for s in ("mean", "scale")}}
    resolved = model.model_copy(
        update={name: value for name, value in found.items() if getattr(model, name) is None}
        | {"beams": store.spec("frames/power").shape[0]}
    )
    return Samples(
        train=window_indices(store, "train", data.split)[: data.samples],
        val=window_indices(store, "val", data.split),
        shape=(index.shape[1],),
        model=resolved,
        rows=_once(
            lambda: WindowRows(
                store, model.modalities, linear_power=model.power_unit == "linear", in_memory=data.in_memory
            )
        ),
        labels=lambda name, ids: whole_numbers(store, name, "train.monitor_label")[
            torch.from_numpy(index[ids, model.history - 1].astype(np.int64))
        ],
        windows=True,
    )


def show_samples(objective: Objective, samples: Samples) -> None:
    """Let the objective look at training samples, where it wants to."""
    if objective.looks:
        ids = spread(samples.train, objective.looks)
        with samples.rows() as rows:
            starts = range(0, len(ids), _LOOK)
            objective.look(as_real(rows.take(ids[start : start + _LOOK])) for start in starts)


def _once(make: Callable[[], RowReader]) -> Callable[[], RowReader]:
    """Training and validation share the frames that lie in memory; files are read by readers of their own."""
    held: list[RowReader] = []

    def rows() -> RowReader:
        if held:
            return held[0]
        reader = make()
        if reader.how == "memory":
            held.append(reader)
        return reader

    return rows


def default_split(store: Store, array: str) -> str:
    """Name of the split that is used where none is asked for."""
    return str(store.attrs["windows"]["default"]) if array == INDEX else store.default_split
