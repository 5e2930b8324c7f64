"""The end of a training: weights, one last look at the best of them, and a plain verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wfm_cli.core.store.run import Run, tensor_attrs
from wfm_cli.core.training.checkpoint import Checkpoints, writing
from wfm_cli.core.training.loop import Trainer
from wfm_cli.core.training.status import Status, clock
from wfm_cli.core.training.validate import QUANTILES, Validation, quantiles, title

UNIT = "validation"
"""Key of the result unit with the values of every validation sample."""


def finish(trainer: Trainer, out: Path) -> dict[str, Any] | None:
    """Save the last weights, evaluate the best ones sample by sample, and close the run.

    Returns:
        The summary; None on all ranks but the first.
    """
    journal, state, world = trainer.journal, trainer.state, trainer.world
    last = trainer.weights()
    world.first(lambda: journal.weights(last, "last", {"step": state.step}))
    if state.best_step:
        _load_best(trainer, out)
    result = None if trainer.held is None else trainer.evaluate()
    if journal.run is None:
        return None
    summary = _summary(trainer, result)
    with writing(journal.run.path):
        if result is not None and trainer.held is not None:
            journal.run.write_unit(UNIT, {"kind": UNIT, **summary}, {**result.values, "ids": trainer.held.ids})
        journal.finish("complete")
        journal.run.set_attrs(status="complete", complete=True, summary=summary)
    _tell(summary, journal.status)
    return summary


def finished_summary(run: Run, status: Status) -> dict[str, Any]:
    """The summary of a run that has nothing left to do."""
    summary: dict[str, Any] = run.attrs["summary"]
    status.say(f"{run.path}: complete already, {summary['steps']} steps; give more train.steps to go on")
    _tell(summary, status)
    return summary


def _load_best(trainer: Trainer, out: Path) -> None:
    """Put the best checkpoint's weights into the model, and into the run unless they are there.

    They are missing when an earlier process was killed between its checkpoint and the weights.
    """
    state, journal = trainer.state, trainer.journal
    if state.best_step != state.step:
        trainer.model.load_weights(Checkpoints(out).load(state.best_step).model)
    weights = trainer.weights()

    def write() -> None:
        folder = out / "weights" / "best"
        there = (folder / "zarr.json").is_file() and tensor_attrs(folder).get("step") == state.best_step
        if not there:
            journal.weights(weights, "best", {"step": state.best_step, "val_loss": state.best_loss})

    trainer.world.first(write)


def _summary(trainer: Trainer, result: Validation | None) -> dict[str, Any]:
    """JSON values; what is not finite is None."""
    state = trainer.state
    summary: dict[str, Any] = {
        "steps": state.step,
        "epochs": state.step / trainer.batches.steps_per_epoch,
        "best_step": state.best_step or None,
        "refused_steps": state.refused,
        "seconds": state.seconds,
        "val_loss": None,
        "samples": 0,
        "quantiles": {},
        "references": list(trainer.objective.references),
        "verdict": "",
        "alarm": None,
    }
    if result is None:
        return summary
    table = {name: _quantiles(name, values) for name, values in result.quantiled.items()}
    health = result.health
    means = {name.removeprefix("val_"): _finite(value) for name, value in health.more.items() if name[:4] == "val_"}
    return {
        **summary,
        "val_loss": _finite(result.loss),
        "samples": health.rows,
        "quantiles": table,
        "means": means,
        "verdict": verdict(table, trainer.objective.references),
        "rankme": _finite(health.rankme),
        "dim": health.dim,
        "feature_std": _finite(health.feature_std),
        "feature_cosine": _finite(health.cosine),
        "knn": health.knn,
        "alarm": health.alarm,
    }


def _quantiles(name: str, values: Any) -> dict[str, Any]:
    found = quantiles(name, values)
    unit = "dB" if any("_db_" in key for key in found) else ""
    return {"unit": unit, **{key: _finite(found[next(k for k in found if k.endswith(key))]) for key in QUANTILES}}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def verdict(table: Mapping[str, Mapping[str, Any]], references: Sequence[str]) -> str:
    """Whether the model does better than the best training-free reference, by the median over the same samples.

    Empty when the objective has no reference. A reference is compared with the value whose name its own goes on from:
    `nmse_rank2` with `nmse`, `nmse_latent_mean` with `nmse_latent`.
    """
    medians = {name: table[name]["median"] for name in references if name in table}
    own = [name for name in table if name not in references]
    ours = {max((n for n in own if name.startswith(f"{n}_")), key=len, default="") for name in medians}
    ours_medians = {table[name]["median"] if name else None for name in ours}
    if not medians or len(ours_medians) != 1 or None in ours_medians or None in medians.values():
        return ""
    mine, best = ours_medians.pop(), min(medians, key=lambda name: medians[name])
    gap = mine - medians[best]
    if gap >= 0:
        return (
            f"{title(best)}, which needs no training, does better than the model: {medians[best]:.2f} dB against "
            f"{mine:.2f} dB (median). This pretraining has not yet beaten a closed-form method."
        )
    return f"The model does {-gap:.2f} dB better (median) than {title(best)}, the best training-free reference."


def _tell(summary: Mapping[str, Any], status: Status) -> None:
    for line in summary_lines(summary):
        status.say(line)


def summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The summary for people."""
    yield f"trained {summary['steps']} steps ({summary['epochs']:.1f} epochs) in {clock(summary['seconds'])}"
    if not summary["samples"]:
        return
    yield f"weights of step {summary['best_step']} on {summary['samples']} validation samples:"
    for name, row in summary["quantiles"].items():
        mark = "  (no training)" if name in summary["references"] else ""
        values = "  ".join(f"{key} {'-' if row[key] is None else format(row[key], '8.2f')}" for key in QUANTILES)
        yield f"  {title(name):<20} {values} {row['unit']}{mark}"
    for name, value in summary.get("means", {}).items():
        yield f"  {title(name):<20} mean   {'-' if value is None else format(value, '8.3f')}"
    if summary["verdict"]:
        yield summary["verdict"]
    if summary["alarm"]:
        yield f"ALARM: {summary['alarm']}"
