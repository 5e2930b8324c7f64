"""Plans all units of a probe or a benchmark: everything is opened and checked before the first one runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wfm_cli.core.evaluation.baselines import unfit
from wfm_cli.core.evaluation.encoders import BASELINE, RANDOM
from wfm_cli.core.evaluation.forecast.suite import ForecastSuite, plan_forecasts
from wfm_cli.core.evaluation.rows import table_rows
from wfm_cli.core.evaluation.taskdata import FOLDS, TaskData, load_task_data
from wfm_cli.core.evaluation.tasks import RANDOM as UNTRAINED
from wfm_cli.core.evaluation.tasks import Task, load_task
from wfm_cli.core.evaluation.units import TableRow, UnitPlan
from wfm_cli.core.evaluation.voice import Voice
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, EncoderRow, ProbeBlock, ProbeRecipe
from wfm_cli.core.recipe.probes import STRICT, ProbeChoice
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.errors import InputError

AnyRecipe = ProbeRecipe | BenchmarkRecipe


@dataclass(frozen=True)
class Suite:
    """Everything that is decided before the first unit runs."""

    recipe: AnyRecipe
    store: Store
    split: str
    tasks: tuple[TaskData, ...]
    rows: tuple[TableRow, ...]
    units: tuple[UnitPlan, ...]

    @property
    def leak(self) -> dict[str, Any]:
        """How far the split lets test users stand beside training users."""
        split = "fold_0" if self.split == FOLDS else self.split
        return dict(self.store.attrs["splits"]["available"].get(split, {}).get("leak") or {})


def encoders_of(recipe: AnyRecipe) -> tuple[EncoderRow, ...]:
    """The rows that a recipe asks for."""
    return (EncoderRow(encoder=recipe.encoder),) if isinstance(recipe, ProbeRecipe) else tuple(recipe.encoders)


def plan_suite(recipe: AnyRecipe, rows: Sequence[EncoderRow], progress: bool = True) -> Suite | ForecastSuite:
    """Open and check all that a recipe names; nothing is written and nothing is computed.

    Args:
        recipe: Probe or benchmark.
        rows: The encoders under test.
        progress: Whether baselines that are left out are reported on stderr.

    Raises:
        InputError: Store, task, encoder or budget do not exist or do not fit one another.
    """
    store = open_store(recipe.data)
    named = [load_task(name) for name in dict.fromkeys(recipe.tasks)]
    if any(task.kind == "forecast" for task in named):
        return plan_forecasts(recipe, rows, store, named)
    split = recipe.probe.split or store.default_split
    tasks = tuple(load_task_data(store, task, split) for task in named)
    beside = list(_beside([data.task for data in tasks], rows, store, Voice(progress))) if recipe.baselines else []
    table = table_rows(store, rows, beside, recipe.probe)
    return Suite(recipe, store, split, tasks, table, tuple(_units(tasks, table, recipe.probe)))


def _beside(tasks: Sequence[Task], rows: Sequence[EncoderRow], store: Store, say: Voice) -> Iterator[EncoderRow]:
    """The rows that the tasks ask for beside the encoders, as far as they can be computed on this store."""
    first = next((row.encoder for row in rows if not row.encoder.startswith((BASELINE, RANDOM))), None)
    for name in dict.fromkeys(name for task in tasks for name in task.baselines):
        if name == UNTRAINED:
            if first is not None:
                yield EncoderRow(encoder=f"{RANDOM}{first}")
        elif (problem := unfit(name, store)) is None:
            yield EncoderRow(encoder=f"{BASELINE}{name}")
        else:
            say.line(f"left out: {problem}")


def _units(tasks: Sequence[TaskData], rows: Iterable[TableRow], block: ProbeBlock) -> Iterator[UnitPlan]:
    """All units, encoder by encoder so that features are needed one encoder at a time."""
    for number, row in enumerate(rows):
        for data in tasks:
            for probe, choice in _probes(data.task, row):
                budgets = block.labels if choice is None else block.adapt.labels or block.labels
                for budget in dict.fromkeys(budgets):
                    # The number keeps rows apart whose labels differ in odd characters alone, and in order.
                    key = f"{data.task.name}.{number:02d}-{_slug(row.label)}.{_slug(probe)}.{budget}"
                    yield UnitPlan(_slug(key, keep="._"), data, row, probe, budget, choice)


def _probes(task: Task, row: TableRow) -> tuple[tuple[str, ProbeChoice | None], ...]:
    """Name and, for a trained one, block of every probe of a row on a task."""
    if not row.probes:
        return (("majority", None),)
    own = "logistic" if task.kind == "classes" else "ridge"
    found: dict[str, ProbeChoice | None] = {}
    for choice in row.probes:
        if choice.kind == "logistic" and task.kind == "values":
            raise InputError(
                f"probe.kind: logistic regression cannot fit the values of task {task.name}", "use linear, ridge or knn"
            )
        strict = choice.kind in STRICT
        found[own if choice.kind == "linear" else choice.name] = None if strict else choice
    return tuple(found.items())


def _slug(text: str, keep: str = "") -> str:
    return re.sub(rf"[^a-z0-9{re.escape(keep)}]+", "-", text.lower()).strip("-")
