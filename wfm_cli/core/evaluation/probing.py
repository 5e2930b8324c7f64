"""`wfm probe`: one encoder on one store."""

from __future__ import annotations

from pathlib import Path

from wfm_cli.core.evaluation.planning import encoders_of, plan_suite
from wfm_cli.core.evaluation.suite import run_suite
from wfm_cli.core.recipe.evaluate import ProbeRecipe
from wfm_cli.core.store.run import Run


def run_probe(recipe: ProbeRecipe, out: Path, resume: bool = False, progress: bool = True) -> Run:
    """Measure one frozen encoder with strict probes, beside what needs no training.

    Args:
        recipe: Encoder, store, tasks and probe.
        out: Folder of the run; must be free or empty unless `resume` is set.
        resume: Keep the finished units in `out` and do the others.
        progress: Whether to report on stderr.

    Returns:
        The run, one unit for every task, row and label budget.

    Raises:
        InputError: Something named in the recipe does not exist or does not fit, or `out` is not empty.
        WfmError: Some units failed.
    """
    suite = plan_suite(recipe, encoders_of(recipe), progress)
    return run_suite(suite, Path(out), "probe", resume=resume, progress=progress)
