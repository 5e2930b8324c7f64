"""`pretrain`: from a recipe to a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import BaseModel

from wfm_cli.core.models import build_encoder
from wfm_cli.core.objectives import build_objective
from wfm_cli.core.objectives.base import Objective
from wfm_cli.core.recipe.loading import parse_recipe, to_dict
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.loader import BatchLoader
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.core.store.run import Run
from wfm_cli.core.training import tracking
from wfm_cli.core.training.batches import Held, spread
from wfm_cli.core.training.checkpoint import Checkpoints
from wfm_cli.core.training.dist import World, connect
from wfm_cli.core.training.experts import load_experts
from wfm_cli.core.training.finish import finish, finished_summary
from wfm_cli.core.training.journal import Journal
from wfm_cli.core.training.loop import Trainer
from wfm_cli.core.training.precision import arithmetic, choose_threads
from wfm_cli.core.training.resume import open_for_resume
from wfm_cli.core.training.samples import default_split, samples_of, show_samples
from wfm_cli.core.training.schedule import total_steps
from wfm_cli.core.training.selection import give_labels
from wfm_cli.core.training.status import Status
from wfm_cli.core.training.tracking import Trackers
from wfm_cli.errors import RecipeError, Requeue, WfmError


@dataclass(frozen=True)
class Parts:
    """What a recipe names, built."""

    store: Store
    objective: Objective
    loader: BatchLoader
    held: Held | None
    total: int
    counts: dict[str, int]
    """Samples to train and to validate on, of which a validation may take a part."""


def pretrain(
    recipe: PretrainRecipe, out: Path, *, resume: bool = False, progress: bool = True
) -> dict[str, Any] | None:
    """Train the encoder of `recipe` into the run `out`.

    On the CPU, weights and curves (timing columns apart) are a pure function of recipe, number of threads and of
    processes, stopped and resumed or not. Under torchrun or SLURM every process calls this, and rank 0 writes.

    Args:
        recipe: What to train, on what, how.
        out: Folder of the run.
        resume: Go on from the newest checkpoint in `out`; without one, start at the beginning.
        progress: Tell on stderr how it goes.

    Returns:
        Summary, JSON values alone: steps, best step and loss, quantiles on validation, monitors, and `verdict`, which
        says whether a training-free method does better. The same stands in the run's attribute `summary`. None on
        all ranks but the first.

    Raises:
        RecipeError: The recipe does not fit the store or the machine, or differs from that of the resumed run.
        InputError: `out` is not empty, or the store cannot be used.
        MissingExtraError: A tracker's package is not installed.
        WfmError: Ten optimiser steps in a row were refused, or the run cannot be written.
        Requeue: SIGTERM or SIGUSR1 came; a checkpoint is saved.
        KeyboardInterrupt: Ctrl-C, likewise.
    """
    tracking.check(recipe.train.tracking)
    with connect(recipe.train.device) as world, arithmetic(recipe.train.precision, world):
        status = Status(progress and world.main)
        going_on = resume and bool(Checkpoints(out).steps())
        parts = world.together(lambda: _build(recipe, world, going_on))
        run = world.first(lambda: _open(recipe, out, resume, parts, world))
        if world.agree(run is not None and run.complete):
            return None if run is None else finished_summary(run, status)
        start, threads = world.agree(_start(run))
        torch.set_num_threads(threads)
        trackers = Trackers(recipe.train.tracking if run else (), status.say)
        trainer = Trainer(
            parts.objective,
            parts.loader,
            parts.held,
            train=recipe.train,
            seed=recipe.seed,
            total=parts.total,
            world=world,
            journal=Journal(run, status, trackers, parts.total),
        )
        return _train(trainer, recipe, out, start)


def _build(recipe: PretrainRecipe, world: World, going_on: bool = False) -> Parts:
    """Open the store and make encoder, objective and loader; nothing is written yet.

    Where the training goes on from a checkpoint, the runs that experts started from are not needed again.
    """
    data, train = recipe.data, recipe.train
    if train.batch_size % world.size:
        raise RecipeError(
            f"train.batch_size: {train.batch_size} samples cannot be shared equally by {world.size} processes",
            "choose a multiple of the number of devices",
        )
    store = open_store(Path(data.store))
    samples = samples_of(store, recipe)
    indices = samples.train
    if len(indices) < train.batch_size:
        raise RecipeError(
            f"train.batch_size: {train.batch_size} is more than the {len(indices)} training samples of {data.store}",
            f"set train.batch_size={max(world.size, len(indices) // world.size * world.size)} or smaller",
        )
    torch.manual_seed(recipe.seed)
    encoder = build_encoder(samples.model, samples.shape, tuple(store.spec(data.array).dims))
    if not going_on:
        load_experts(encoder, samples.model)
    objective = build_objective(recipe, encoder)
    give_labels(objective, store)
    if not going_on:
        show_samples(objective, samples)
    loader = BatchLoader(
        store,
        data.array,
        indices,
        train.batch_size,
        seed=recipe.seed,
        rank=world.rank,
        world=world.size,
        in_memory=data.in_memory,
        rows=samples.rows() if samples.windows else None,
    )
    ids = spread(samples.val, train.eval_samples)
    labels = samples.labels(train.monitor_label, ids) if train.monitor_label else None
    held = Held(samples.rows(), ids, labels) if len(ids) else None
    counts = {"train": len(indices), "val": len(samples.val)}
    return Parts(store, objective, loader, held, total_steps(train, loader.steps_per_epoch), counts)


def _open(recipe: PretrainRecipe, out: Path, resume: bool, parts: Parts, world: World) -> Run:
    """The run to write into: a new one, or the one to go on with."""
    if resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        run = open_for_resume(out, recipe, parts.store.digest)
        Checkpoints(out).sweep()
        done = (Checkpoints(out).steps() or [0])[-1]
        if done > parts.total:
            raise RecipeError(
                f"train.steps: the recipe ends at step {parts.total}, the run is at step {done} already",
                "ask for more steps, or train anew with another --out",
            )
        if run.complete and done < parts.total:
            run.set_attrs(complete=False)
        if not run.complete:
            run.set_attrs(status="running", recipe=to_dict(recipe))
        return run
    return Run.create(out, "pretrain", to_dict(recipe), _attributes(recipe, parts, world))


def _attributes(recipe: PretrainRecipe, parts: Parts, world: World) -> dict[str, Any]:
    """What a reader of the run needs to rebuild the encoder and to repeat the training."""
    store, spec = parts.store, parts.store.spec(recipe.data.array)
    encoder = parts.objective.encoder
    return {
        "model": to_dict(cast(BaseModel, encoder.block)),
        "sample_shape": list(encoder.sample_shape),
        "array": recipe.data.array,
        "normalise": spec.attrs.get("normalise"),
        "input": {"array": spec.name, "shape": list(spec.shape), "dims": list(spec.dims), "units": spec.units},
        "store": {
            "path": str(store.path),
            "digest": store.digest,
            "split": recipe.data.split or default_split(store, recipe.data.array),
            "reading": parts.loader.how,
            "samples": parts.counts,
        },
        **({"sizes": sizes} if (sizes := encoder.sizes()) else {}),
        "parameters": sum(p.numel() for p in parts.objective.parameters() if p.requires_grad),
        "devices": world.size,
        "device": str(world.device.type),
        "threads": choose_threads(recipe.train.threads, world.ranks),
        "steps": parts.total,
    }


def _start(run: Run | None) -> tuple[int, int]:
    """Step to go on from, 0 without a checkpoint, and the number of threads; on rank 0, which tells the others."""
    if run is None:
        return 0, 1
    threads = parse_recipe(run.attrs["recipe"], PretrainRecipe).train.threads
    return (Checkpoints(run.path).steps() or [0])[-1], threads or int(run.attrs["threads"])


def _train(trainer: Trainer, recipe: PretrainRecipe, out: Path, start: int) -> dict[str, Any] | None:
    journal = trainer.journal
    if start:
        trainer.restore(Checkpoints(out), start)
        journal.say(f"{out}: going on from step {start} of {trainer.total}")
    if trainer.held is None:
        journal.say("the split has no validation samples: the last weights are kept, unjudged")
    journal.start(start, recipe.name, to_dict(recipe))
    try:
        trainer.fit()
        return finish(trainer, out)
    except WfmError as error:
        if journal.run is not None and not isinstance(error, Requeue):
            with suppress(OSError, WfmError):  # of a full disk; the first error says more
                journal.run.set_attrs(status="failed")
                journal.finish("failed")
        raise
