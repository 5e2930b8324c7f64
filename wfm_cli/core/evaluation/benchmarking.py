"""`wfm benchmark`: a suite of encoders, tasks and label budgets on one store."""

from __future__ import annotations

from pathlib import Path

from wfm_cli.core.evaluation.planning import encoders_of, plan_suite
from wfm_cli.core.evaluation.suite import run_suite
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe
from wfm_cli.core.store.run import Run


def run_benchmark(
    recipe: BenchmarkRecipe, out: Path, resume: bool = False, workers: int = 1, progress: bool = True
) -> Run:
    """Run every unit of a suite; each result is on disk as soon as it is known.

    Args:
        recipe: The suite.
        out: Folder of the run; must be free or empty unless `resume` is set.
        resume: Keep the finished units in `out` and do the others.
        workers: Processes that share the rows.
        progress: Whether to report on stderr.

    Returns:
        The run, one unit for every task, row and label budget.

    Raises:
        InputError: Something named in the recipe does not exist or does not fit, or `out` is not empty.
        WfmError: Some units failed.
    """
    suite = plan_suite(recipe, encoders_of(recipe), progress)
    return run_suite(suite, Path(out), "benchmark", resume=resume, workers=workers, progress=progress)
