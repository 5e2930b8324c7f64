"""Plans and runs all units of a probe or a benchmark; results land one by one, and a stopped run goes on by key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.adaptation.samples import Row
from wfm_cli.core.evaluation.baselines import unfit
from wfm_cli.core.evaluation.encoders import BASELINE, RANDOM
from wfm_cli.core.evaluation.features import cached
from wfm_cli.core.evaluation.forecast.suite import ForecastSuite, plan_forecasts, words
from wfm_cli.core.evaluation.rows import table_rows
from wfm_cli.core.evaluation.taskdata import FOLDS, TaskData, load_task_data
from wfm_cli.core.evaluation.tasks import RANDOM as UNTRAINED
from wfm_cli.core.evaluation.tasks import Task, load_task
from wfm_cli.core.evaluation.units import RowFeatures, RowInputs, TableRow, UnitPlan, run_unit
from wfm_cli.core.evaluation.voice import Voice
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, EncoderRow, ProbeBlock, ProbeRecipe
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.recipe.probes import STRICT, ProbeChoice
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.core.store.run import Run, refuse_non_empty
from wfm_cli.core.training.dist import Ranks
from wfm_cli.core.training.precision import choose_threads
from wfm_cli.errors import InputError, RecipeError, WfmError

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


def run_suite(
    suite: Suite | ForecastSuite, out: Path, kind: str, *, resume: bool = False, progress: bool = True
) -> Run:
    """Run the units that are not done yet.

    Args:
        suite: The plan.
        out: Folder of the run.
        kind: `probe` or `benchmark`.
        resume: Go on in `out`: finished units are kept, failed ones are tried again.
        progress: Whether split, units and feature extraction are reported on stderr.

    Raises:
        InputError: `out` is not empty, or (with `resume`) holds something else.
        WfmError: Some units failed; the others are there.
    """
    run = _open(suite, out, kind, resume)
    run.set_attrs(status="running", complete=False)
    say = Voice(progress, len(suite.units))
    work = _forecasts if isinstance(suite, ForecastSuite) else _work
    try:
        failed = list(work(suite, run, say, progress))  # type: ignore[arg-type]
    except BaseException:
        run.set_attrs(status="interrupted")
        raise
    run.set_attrs(status="failed" if failed else "complete", complete=not failed)
    if failed:
        raise WfmError(
            f"{out}: {len(failed)} of {len(suite.units)} units failed, the first is {failed[0]}: "
            f"{run.unit(failed[0]).attrs['error']}",
            "the other results are there (`wfm report`); the same command with --resume tries the failed ones again",
        )
    return run


def _forecasts(suite: ForecastSuite, run: Run, say: Voice, progress: bool) -> Iterator[str]:
    """Do what is left of predictive tasks; yields the keys of the units that failed."""
    say.line(suite.opening)
    if suite.windows.left_out:
        say.line(f"{suite.windows.left_out:,} windows with an unknown position or power left out")
    for words_of_row in suite.left_out:
        say.line(f"left out: {words_of_row}")
    done = {plan.key for plan in suite.units if _done(run, plan.key)}
    say.skipped(len(done))
    before = torch.get_num_threads()
    torch.set_num_threads(choose_threads(None, Ranks()))
    try:
        for plan, result in suite.work(run, done, progress):
            say.result(words(plan, result))
            if result["status"] == "failed":
                yield plan.key
    finally:
        torch.set_num_threads(before)


def _work(suite: Suite, run: Run, say: Voice, progress: bool) -> Iterator[str]:
    """Do what is left, encoder by encoder; yields the keys of the units that failed."""
    say.opening(suite.split, suite.leak, suite.tasks[0])
    for data in suite.tasks:
        if data.left_out:
            say.line(f"{data.task.name}: {data.left_out:,} samples of other labels left out")
    common = {
        "benchmark": suite.recipe.name,
        "split": suite.split,
        "split_leak": suite.leak,
        "data_digest": suite.store.digest,
    }
    left = [plan for plan in suite.units if not _done(run, plan.key)]
    say.skipped(len(suite.units) - len(left))
    used = np.unique(np.concatenate([data.train for data in suite.tasks]))
    for row, plans in groupby(left, key=lambda plan: plan.row):
        inputs = RowInputs(partial(_features, suite, run, row, used, progress), Row(row.source, suite.store))
        for plan in plans:
            attrs = plan.attrs(common)
            try:
                more, arrays = run_unit(plan, inputs, suite.recipe.probe)
            except Exception as error:  # one broken encoder must not cost the results of the others
                words = " ".join(str(error).split()) or type(error).__name__
                more, arrays = {"status": "failed", "error": f"{type(error).__name__}: {words}"}, {}
            run.write_unit(plan.key, {**attrs, **more}, arrays)
            say.unit(plan, more)
            if more["status"] == "failed":
                yield plan.key
        inputs.adaptable.close()


def _features(suite: Suite, run: Run, row: TableRow, train: NDArray[np.int64], progress: bool) -> RowFeatures:
    """Features of a row, made together with those of rows that pool the same hidden vectors otherwise."""
    source = row.source
    twins = {r.source.digest: r.source for r in suite.rows if source.weights and r.source.weights == source.weights}
    twins.pop(source.digest, None)
    everything = np.arange(suite.store.samples)
    found = cached(run, source, suite.store, everything, beside=tuple(twins.values()), show=progress)
    return RowFeatures.of(found, train)


def _done(run: Run, key: str) -> bool:
    return run.has_unit(key) and run.unit(key).attrs.get("status") == "ok"


def _open(suite: Suite | ForecastSuite, out: Path, kind: str, resume: bool) -> Run:
    """A fresh run, or the one in `out` if it was made by the same recipe from the same data and weights."""
    digests = {row.source.spec: row.source.digest for row in suite.rows}
    facts = {
        "data_digest": suite.store.digest,
        "encoders": digests,
        "manifest": [plan.key for plan in suite.units],
    }
    recipe = to_dict(suite.recipe)
    if not resume or not out.exists() or not any(out.iterdir()):
        refuse_non_empty(out)
        return Run.create(out, kind, recipe, facts)
    run = Run.open(out)
    again = "give the same recipe, or choose another --out"
    if run.kind != kind:
        raise InputError(f"{out}: holds a {run.kind} run, not a {kind}", again)
    changed = sorted(_differences(run.attrs["recipe"], recipe))
    if changed:
        raise RecipeError(f"{out}: the recipe has changed since the run began: {', '.join(changed)}", again)
    if run.attrs["data_digest"] != suite.store.digest:
        raise InputError(f"{out}: {suite.store.path} holds other data than when the run began", again)
    for spec, digest in run.attrs["encoders"].items():
        if digests.get(spec, digest) != digest:
            raise InputError(f"{out}: {spec} has other weights than when the run began", again)
    return run


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Dotted keys in which two recipes differ; name and description do not matter."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if path or key not in ("name", "description"):
                yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path


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
