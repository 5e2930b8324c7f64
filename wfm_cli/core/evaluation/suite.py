"""Runs the units of a probe or a benchmark; results land one by one, and a stopped run goes on by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wfm_cli.core.evaluation.adaptation.samples import Row
from wfm_cli.core.evaluation.features import cached
from wfm_cli.core.evaluation.forecast.suite import ForecastSuite, words
from wfm_cli.core.evaluation.forecast.suite import Plan as ForecastPlan
from wfm_cli.core.evaluation.planning import AnyRecipe, Suite, encoders_of, plan_suite
from wfm_cli.core.evaluation.units import RowFeatures, RowInputs, TableRow, UnitPlan, run_unit
from wfm_cli.core.evaluation.voice import Voice
from wfm_cli.core.recipe.loading import to_dict
from wfm_cli.core.store.pool import run_all
from wfm_cli.core.store.run import Run, refuse_non_empty
from wfm_cli.core.training.dist import Ranks
from wfm_cli.core.training.precision import choose_threads
from wfm_cli.errors import InputError, RecipeError, WfmError

AnyPlan = UnitPlan | ForecastPlan
Result = tuple[AnyPlan, Mapping[str, Any]]
"""A unit and what came of it, which is on disk by then."""


def run_suite(
    suite: Suite | ForecastSuite, out: Path, kind: str, *, resume: bool = False, workers: int = 1, progress: bool = True
) -> Run:
    """Run the units that are not done yet.

    Args:
        suite: The plan.
        out: Folder of the run.
        kind: `probe` or `benchmark`.
        resume: Go on in `out`: finished units are kept, failed ones are tried again.
        workers: Processes that take one row of the table after another and share the cores.
        progress: Whether split, units and feature extraction are reported on stderr.

    Raises:
        InputError: `out` is not empty, or (with `resume`) holds something else.
        WfmError: Some units failed, the others are there; or a process died.
    """
    run = _open(suite, out, kind, resume)
    run.set_attrs(status="running", complete=False)
    say, failed = Voice(progress, len(suite.units)), []
    _introduce(suite, say)
    left = [plan for plan in suite.units if not _done(run, plan.key)]
    say.skipped(len(suite.units) - len(left))
    try:
        results = _spread(suite, run, left, workers) if workers > 1 else _here(suite, run, left, progress)
        for plan, result in results:
            if isinstance(plan, UnitPlan):
                say.unit(plan, result)
            else:
                say.result(words(plan, result))
            failed += [plan.key] if result["status"] == "failed" else []
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


def _introduce(suite: Suite | ForecastSuite, say: Voice) -> None:
    """The split, its leak and what is left out."""
    if isinstance(suite, Suite):
        say.opening(suite.split, suite.leak, suite.tasks[0])
        for data in suite.tasks:
            if data.left_out:
                say.line(f"{data.task.name}: {data.left_out:,} samples of other labels left out")
        return
    say.line(suite.opening)
    if suite.windows.left_out:
        say.line(f"{suite.windows.left_out:,} windows with an unknown position or power left out")
    for words_of_row in suite.left_out:
        say.line(f"left out: {words_of_row}")


def _here(suite: Suite | ForecastSuite, run: Run, plans: Sequence[AnyPlan], progress: bool) -> Iterator[Result]:
    """Units in this process, row by row."""
    if isinstance(suite, Suite):
        yield from _work(suite, run, [plan for plan in plans if isinstance(plan, UnitPlan)], progress)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(choose_threads(None, Ranks()))
    try:
        yield from suite.work(run, [plan for plan in plans if isinstance(plan, ForecastPlan)], progress)
    finally:
        torch.set_num_threads(before)


def _spread(suite: Suite | ForecastSuite, run: Run, plans: Sequence[AnyPlan], workers: int) -> Iterator[Result]:
    """Units in so many processes, a row at a time; each process opens all that the recipe names for itself."""
    by_key = {plan.key: plan for plan in plans}
    jobs = [tuple(plan.key for plan in row) for _, row in groupby(plans, key=lambda plan: id(plan.row))]
    threads = max(1, choose_threads(None, Ranks()) // workers)
    for keys in run_all(partial(_worker, suite.recipe, run.path, threads), jobs, workers):
        yield from ((by_key[key], run.unit(key).attrs) for key in keys)


def _worker(recipe: AnyRecipe, out: Path, threads: int) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """What does a row in a process of its own."""
    torch.set_num_threads(threads)
    suite, run = plan_suite(recipe, encoders_of(recipe), progress=False), Run.open(out)

    def do(keys: tuple[str, ...]) -> tuple[str, ...]:
        plans = [plan for plan in suite.units if plan.key in keys]
        if isinstance(suite, Suite):
            results: Iterator[Result] = _work(suite, run, [p for p in plans if isinstance(p, UnitPlan)], False)
        else:
            results = suite.work(run, [p for p in plans if isinstance(p, ForecastPlan)])
        return tuple(plan.key for plan, _ in results)

    return do


def _work(suite: Suite, run: Run, plans: Sequence[UnitPlan], progress: bool) -> Iterator[Result]:
    """Units of tasks on labels, encoder by encoder."""
    common = {
        "benchmark": suite.recipe.name,
        "split": suite.split,
        "split_leak": suite.leak,
        "data_digest": suite.store.digest,
    }
    used = np.unique(np.concatenate([data.train for data in suite.tasks]))
    for row, own in groupby(plans, key=lambda plan: plan.row):
        inputs = RowInputs(partial(_features, suite, run, row, used, progress), Row(row.source, suite.store))
        for plan in own:
            attrs = plan.attrs(common)
            try:
                more, arrays = run_unit(plan, inputs, suite.recipe.probe)
            except Exception as error:  # one broken encoder must not cost the results of the others
                reason = " ".join(str(error).split()) or type(error).__name__
                more, arrays = {"status": "failed", "error": f"{type(error).__name__}: {reason}"}, {}
            run.write_unit(plan.key, {**attrs, **more}, arrays)
            yield plan, more
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
