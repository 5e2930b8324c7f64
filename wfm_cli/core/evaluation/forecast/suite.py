"""Plans and runs the units of predictive tasks: one for every task and row, all seeds together."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wfm_cli.core.evaluation.encoders import BASELINE, RANDOM
from wfm_cli.core.evaluation.forecast.beside import BESIDE, Beside
from wfm_cli.core.evaluation.forecast.data import Windows, load_windows
from wfm_cli.core.evaluation.forecast.mobilenet import check_weights
from wfm_cli.core.evaluation.forecast.rows import Bench, EncoderRow, Found
from wfm_cli.core.evaluation.forecast.scores import MEASURES, Resampled, plain, summarise
from wfm_cli.core.evaluation.forecast.sources import resolve_source
from wfm_cli.core.evaluation.metrics import METRICS
from wfm_cli.core.evaluation.tasks import RANDOM as UNTRAINED
from wfm_cli.core.evaluation.tasks import Task
from wfm_cli.core.progress import progress
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, ProbeRecipe
from wfm_cli.core.recipe.evaluate import EncoderRow as Asked
from wfm_cli.core.recipe.forecast import ForecastBlock
from wfm_cli.core.store.reader import Store
from wfm_cli.core.store.run import Run
from wfm_cli.core.store.sequences import MODALITIES
from wfm_cli.errors import InputError


@dataclass(frozen=True)
class Plan:
    """A unit that is to be done: an encoder, or a row beside them, on one task."""

    key: str
    task: Task
    row: EncoderRow | Beside
    label: str
    role: str

    def attrs(self, common: Mapping[str, Any], windows: Windows) -> dict[str, Any]:
        """What is known before the work begins."""
        task, row = self.task, self.row
        made: dict[str, Any] = {
            **common, "kind": "probe", "task": task.name, "task_version": task.version, "task_title": task.title,
            "primary": task.primary, "columns": list(task.columns), "label": self.label, "role": self.role,
            "probe": "forecast", "probe_kind": "forecast", "probe_settings": {}, "budget": "all", "pooling": "",
            "n_train": [len(windows.train)], "n_val": len(windows.val), "n_test": len(windows.test),
            "left_out": windows.left_out, "classes": [], "class_weight": "none", "dim": None,
            "encoder": f"{BASELINE}{self.label}", "encoder_digest": "",
        }  # fmt: skip
        if isinstance(row, EncoderRow):
            made |= {
                "encoder": row.source.spec, "encoder_digest": row.source.digest, "dim": row.dim,
                "pooling": row.options.tokens, "probe_settings": row.options.model_dump(mode="json"),
            }  # fmt: skip
        return made


@dataclass(frozen=True)
class ForecastSuite:
    """Everything that is decided before the first unit runs."""

    recipe: ProbeRecipe | BenchmarkRecipe
    store: Store
    windows: Windows
    rows: tuple[EncoderRow, ...]
    units: tuple[Plan, ...]
    left_out: tuple[str, ...] = ()
    """Rows that the tasks ask for and the store does not allow, and why."""

    @property
    def split(self) -> str:
        """Name of the split of the windows."""
        return self.windows.split

    @property
    def leak(self) -> dict[str, Any]:
        """How far the split shows test frames in training."""
        return dict(self.windows.leak or {})

    @property
    def opening(self) -> str:
        """What the split is, in one line."""
        windows = self.windows
        sizes = f"{len(windows.train)} train, {len(windows.val)} val, {len(windows.test)} test windows"
        seen = float(self.leak.get("test_frames_in_training", 0.0))
        return f"split {windows.split}: {sizes}; {100 * seen:.0f} % of the test frames occur in training"

    def work(self, run: Run, plans: Sequence[Plan], show: bool = False) -> Iterator[tuple[Plan, dict[str, Any]]]:
        """Do units, row by row; yields every one with its result, which is on disk by then."""
        probe = self.recipe.probe
        seeds = [probe.seed + i for i in range(probe.forecast.seeds or probe.seeds)]
        bench = Bench(self.store, self.windows, probe.forecast, seeds, run.cached)
        drives = self.windows.sequence[self.windows.test]
        common = {
            "benchmark": self.recipe.name, "split": self.split, "split_leak": self.leak,
            "data_digest": self.store.digest, "clustered": "drives",
        }  # fmt: skip
        for plan in plans:
            attrs, started = plan.attrs(common, self.windows), time.perf_counter()
            try:
                found = self._found(plan, bench, show)
                measured = MEASURES[plan.task.name](found.predictions, self.windows)
                metrics = summarise(measured, Resampled(drives, probe.bootstrap, probe.seed))
                numbers = {**found.more, "parameters_k": found.trained / 1000}
                metrics |= {name: plain(name, value) for name, value in numbers.items()}
                arrays = {f"windows/{name}": one.windows.astype(np.float32) for name, one in measured.items()}
                more: dict[str, Any] = {
                    "metrics": metrics, "seeds": found.seeds, "trainable_parameters": found.trained,
                    "seconds": round(time.perf_counter() - started, 4), "status": "ok", "error": None,
                }  # fmt: skip
            except Exception as error:  # one broken row must not cost the results of the others
                words = " ".join(str(error).split()) or type(error).__name__
                more, arrays = {"status": "failed", "error": f"{type(error).__name__}: {words}"}, {}
            run.write_unit(plan.key, {**attrs, **more}, arrays)
            yield plan, more

    def _found(self, plan: Plan, bench: Bench, show: bool) -> Found:
        if isinstance(plan.row, EncoderRow):
            return bench.predict(plan.row, plan.task.name, show)
        seeds = bench.seeds if plan.row.seeds else bench.seeds[:1]
        pictures = bench.pictures() if plan.row.sees else None
        trainings = progress(
            seeds, total=len(seeds), unit="training", label=plan.label, enabled=show and plan.row.seeds
        )
        made = [plan.row.predict(self.windows, bench.block, seed, pictures) for seed in trainings]
        predictions = np.stack([predicted[self.windows.test] for predicted, _ in made])
        return Found(predictions, seeds, made[0][1])


def words(plan: Plan, attrs: Mapping[str, Any]) -> str:
    """The result of a unit in one line."""
    head = f"{plan.task.title}, {plan.label}"
    if attrs["status"] == "failed":
        return f"{head}: failed ({attrs['error']})"
    numbers = (
        f"{METRICS[name].title} {attrs['metrics'][name]['mean']:.4g} {METRICS[name].unit}".rstrip()
        for name in plan.task.columns
        if name in attrs["metrics"] and name != "parameters_k"
    )
    return f"{head}: {', '.join(numbers)} ({attrs['seconds']:.1f} s)"


def plan_forecasts(
    recipe: ProbeRecipe | BenchmarkRecipe, asked: Sequence[Asked], store: Store, tasks: Sequence[Task]
) -> ForecastSuite:
    """Open and check all that a recipe names.

    Raises:
        InputError: something does not exist or does not fit.
    """
    others = [task.name for task in tasks if task.kind != "forecast"]
    if others:
        raise InputError(
            f"tasks: {', '.join(others)} cannot stand beside predictive tasks", "make a recipe of their own for them"
        )
    windows = load_windows(store, recipe.probe.split)
    rows = []
    for one in asked:
        if one.encoder.startswith(BASELINE):
            raise InputError(f"{one.encoder}: predictive tasks bring their own baselines", "leave this row out")
        rows.append(EncoderRow(one.label, resolve_source(one.encoder, store, windows, recipe.probe.seed), one.forecast))
    wants_untrained = recipe.baselines and any(UNTRAINED in task.baselines for task in tasks)
    if wants_untrained and not any(row.role == "control" for row in rows):
        first = next((row for row in rows if row.role == "encoder"), None)
        if first is not None:
            source = resolve_source(f"{RANDOM}{first.source.spec}", store, windows, recipe.probe.seed)
            rows.append(EncoderRow("", source, first.options))
    block = recipe.probe.forecast
    kept, left_out = _beside(tasks if recipe.baselines else (), store)
    if any(row.sees for _, _, row in kept):
        check_weights(block.vision_weights)
    units = (*_units(tasks, rows), *_units_beside(kept, len(rows), block))
    return ForecastSuite(recipe, store, windows, tuple(rows), units, left_out)


def _units(tasks: Sequence[Task], rows: Sequence[EncoderRow]) -> Iterator[Plan]:
    """All units of encoders, one after the other."""
    for number, row in enumerate(rows):
        for task in tasks:
            yield Plan(f"{task.name}.{number:02d}-{_slug(row.label)}", task, row, row.label, row.role)


def _beside(tasks: Sequence[Task], store: Store) -> tuple[list[tuple[Task, str, Beside]], tuple[str, ...]]:
    """The rows that stand beside encoders, and words about those that need pictures where a store has none."""
    asked = [(task, name, BESIDE[task.name][name]) for task in tasks for name in task.baselines if name != UNTRAINED]
    blind = MODALITIES["image"] not in store.names
    words = [f"{task.title}, {row.title}: {store.path} has no pictures" for task, _, row in asked if row.sees and blind]
    return [one for one in asked if not (one[2].sees and blind)], tuple(words)


def _units_beside(kept: Sequence[tuple[Task, str, Beside]], before: int, block: ForecastBlock) -> Iterator[Plan]:
    numbers: dict[str, int] = {}
    for task, name, row in kept:
        number = before + numbers.setdefault(task.name, 0)
        numbers[task.name] += 1
        yield Plan(f"{task.name}.{number:02d}-{_slug(name)}", task, row, row.titled(block), row.role)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
