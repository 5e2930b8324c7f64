"""Lines of a table of predictions: encoders with their options, and what they give on the windows of a store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.forecast.data import Frames, Windows
from wfm_cli.core.evaluation.forecast.fit import (
    BeamTask,
    Latents,
    PositionTask,
    PowerTask,
    fit_guided,
    fit_position,
)
from wfm_cli.core.evaluation.forecast.given import Pictures
from wfm_cli.core.evaluation.forecast.guide import Guide
from wfm_cli.core.evaluation.forecast.joint import Problems, fit_joint
from wfm_cli.core.evaluation.forecast.latents import Forecaster
from wfm_cli.core.evaluation.forecast.metrics import rssi
from wfm_cli.core.evaluation.forecast.sources import Source
from wfm_cli.core.evaluation.source import Role
from wfm_cli.core.models.counting import parameters
from wfm_cli.core.progress import progress
from wfm_cli.core.provenance import digest
from wfm_cli.core.recipe.forecast import ForecastBlock, ForecastRow
from wfm_cli.core.store.reader import Store
from wfm_cli.errors import InputError

TARGETS = {"localisation": "gps", "beam_prediction": "power", "rssi_prediction": "power"}
"""The sensor whose past tells most about what a task predicts."""
Cached = Callable[[str, Callable[[], NDArray[Any]]], NDArray[Any]]
"""Arrays of a run by name, made on first use."""


@dataclass(frozen=True)
class Found:
    """Predictions of one row on one task."""

    predictions: NDArray[Any]
    """(S, test windows, K, ...): metres, scores of beams, or RSSI in dB."""
    seeds: list[int]
    trained: int
    """Parameters that were trained."""
    more: dict[str, float] = field(default_factory=dict)
    """Numbers about the latents."""


class EncoderRow:
    """An encoder with options; what several tasks need is made once."""

    probe = "forecast"

    def __init__(self, label: str, source: Source, options: ForecastRow) -> None:
        self.source, self.options = source, options
        self.label = label or source.name
        joint = options.weights != "frozen"
        self.role: Role = "supervised" if joint and source.role == "control" else source.role
        self.title = self.label
        self.dim: int | None = source.encoder.dim
        sensors = source.encoder.block.modalities
        unknown = [name for name in (*options.without, *_sensor(options)) if name not in sensors]
        if unknown:
            raise InputError(
                f"{source.spec}: it has no {' and no '.join(unknown)}", f"its sensors: {', '.join(sensors)}"
            )

    def missing(self, task: str) -> tuple[str, ...]:
        """Sensors that are not seen in a task."""
        lost = {*self.options.without, *([TARGETS[task]] if self.options.history == "missing" else [])}
        return tuple(name for name in self.source.encoder.block.modalities if name in lost)

    def sees(self, sensor: str, missing: tuple[str, ...]) -> bool:
        """Whether the encoder has a sensor and it works."""
        return sensor in self.source.encoder.block.modalities and sensor not in missing


def _sensor(options: ForecastRow) -> tuple[str, ...]:
    return () if options.tokens == "all" else (options.tokens,)


class Bench:
    """Windows, frames and settings that all rows share, and what has been made for the row at hand."""

    def __init__(self, store: Store, windows: Windows, block: ForecastBlock, seeds: list[int], cached: Cached) -> None:
        self.store, self.windows, self.block, self.seeds, self._cached = store, windows, block, seeds, cached
        self._row: EncoderRow | None = None
        self._forecaster: Forecaster | None = None
        self._latents: dict[tuple[str, ...], tuple[Latents, dict[str, float]]] = {}
        self._places: dict[tuple[tuple[str, ...], int], NDArray[np.float64]] = {}
        self._joint: dict[str, Found] = {}
        self._powers: dict[bool, PowerTask] = {}

    def predict(self, row: EncoderRow, task: str, show: bool = False) -> Found:
        """Train what the options ask for, and predict the test windows."""
        if row is not self._row:
            self._row, self._forecaster, self._latents, self._places, self._joint = row, None, {}, {}, {}
        if row.options.weights != "frozen":
            return self._together(row, task, show)
        missing = row.missing(task)
        latents, ranks = self._of(row, missing, show)
        test = self.windows.test
        if task == "localisation":
            places = [self._place(row, missing, seed, show) for seed in self._trainings(show)]
            head: torch.nn.Module = self._positions(row.sees("gps", missing)).head(latents.dim)
            return Found(np.stack([place[test] for place in places]), self.seeds, parameters(head), ranks)
        problem = BeamTask(self.windows) if task == "beam_prediction" else self._power(row.sees("power", missing))
        guide = Guide.of(self.windows, latents.dim, self.block.guide_weight)
        made = []
        for seed in self._trainings(show):
            place = self._place(row, missing, seed, show) if row.options.guided else None
            told = guide.rows(place, len(self.windows.index))
            made.append(_answer(fit_guided(latents, problem, told, self.block, seed)[test], task))
        return Found(np.stack(made), self.seeds, parameters(problem.head(latents.dim)), ranks)

    def _trainings(self, show: bool) -> Iterator[int]:
        return progress(self.seeds, total=len(self.seeds), unit="training", label="heads", enabled=show)

    def pictures(self) -> Pictures:
        """Pictures of the store's frames, for rows beside the encoders that look at them."""
        return Pictures(self.store, self._cached)

    def _positions(self, known: bool) -> PositionTask:
        return PositionTask(self.windows, known, self.block.motion)

    def _power(self, known: bool) -> PowerTask:
        if known not in self._powers:
            self._powers[known] = PowerTask(self.windows, known)
        return self._powers[known]

    def _of(self, row: EncoderRow, missing: tuple[str, ...], show: bool) -> tuple[Latents, dict[str, float]]:
        """Latents without some sensors; kept in the run as they are dear."""
        if missing not in self._latents:
            source, tokens, count = row.source, row.options.tokens, self.block.rank_windows
            name = digest(["forecast", source.digest, self.store.digest, self.windows.split, tokens, missing])[:32]
            values = np.asarray(
                self._cached(name, lambda: self._forecasts(row, show).latents(missing, tokens)), np.float32
            )
            ranks = {}
            if not missing:
                made = self._cached(
                    f"{name[:24]}-ranks",
                    lambda: np.array([*self._forecasts(row, show).ranks(values, tokens, count).values()]),
                )
                ranks = dict(zip(("rank_me", "lda_rank"), map(float, made), strict=True))
            self._latents[missing] = Latents(values, self.windows.train), ranks
        return self._latents[missing]

    def _forecasts(self, row: EncoderRow, show: bool) -> Forecaster:
        if self._forecaster is None:
            self._forecaster = Forecaster(row.source.encoder, self._frames(row), self.windows, show)
        return self._forecaster

    def _frames(self, row: EncoderRow) -> Frames:
        model = row.source.encoder.block
        return Frames(self.store, model.modalities, model.power_unit == "linear")

    def _place(self, row: EncoderRow, missing: tuple[str, ...], seed: int, show: bool) -> NDArray[np.float64]:
        """Predicted positions of all windows in metres: a result of one task and the guide of the others."""
        key = (missing, seed)
        if key not in self._places:
            task = self._positions(row.sees("gps", missing))
            self._places[key] = fit_position(self._of(row, missing, show)[0], task, self.block, seed)
        return self._places[key]

    def _together(self, row: EncoderRow, task: str, show: bool) -> Found:
        """Encoder and heads trained together: on one task, or on all three at once."""
        if task in self._joint:
            return self._joint[task]
        options, missing = row.options, row.missing(task)
        all_tasks = options.weights == "multitask" and options.history == "known"
        names = [name for name in TARGETS if all_tasks or name == task]
        others: dict[str, BeamTask | PowerTask] = {}
        for name in names:
            if name == "beam_prediction":
                others[name] = BeamTask(self.windows)
            elif name == "rssi_prediction":
                others[name] = self._power(row.sees("power", missing))
        guide = Guide.of(self.windows, row.source.encoder.dim, self.block.guide_weight) if options.guided else None
        problems = Problems(self.windows, self._positions(row.sees("gps", missing)), others, guide)
        seeds, made, trained = list(range(self.block.joint_seeds)), [], 0
        for seed in seeds:
            scratch = row.source.role == "control"
            encoder = row.source.untrained(seed) if scratch else copy.deepcopy(row.source.encoder)
            encoder.requires_grad_(True)
            found, trained = fit_joint(
                encoder, self._frames(row), problems, options.tokens, missing, self.block, seed, show
            )
            made.append(found)
        for name in names:
            answers = np.stack([_answer(found[name], name) for found in made])
            self._joint[name] = Found(answers, seeds, trained)
        return self._joint[task]


def _answer(predicted: NDArray[Any], task: str) -> NDArray[Any]:
    """Powers become RSSI; everything else is what is scored already."""
    return rssi(predicted) if task == "rssi_prediction" else predicted
