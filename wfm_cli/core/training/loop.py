"""The training loop. It knows neither which objective it runs nor where samples come from."""

from __future__ import annotations

import math
import time
from contextlib import closing

from torch import Tensor

from wfm_cli.core.objectives.base import Objective
from wfm_cli.core.recipe.pretrain import TrainBlock
from wfm_cli.core.training.batches import Batches, Fed, Held, feed
from wfm_cli.core.training.checkpoint import Checkpoints, State
from wfm_cli.core.training.dist import World
from wfm_cli.core.training.journal import Journal
from wfm_cli.core.training.optimiser import build_optimiser
from wfm_cli.core.training.parallel import Parallel, whole
from wfm_cli.core.training.schedule import interval, learning_rate
from wfm_cli.core.training.speed import Speed
from wfm_cli.core.training.step import Outcome, Stepper
from wfm_cli.core.training.stopping import listening, raise_stop
from wfm_cli.core.training.validate import Validation, describe, validate
from wfm_cli.errors import WfmError

PATIENCE = 10
"""Refused steps in a row that end a training."""


class Trainer:
    """Trains one objective for `total` steps.

    Args:
        objective: What is minimised; its weights are initialised, on the CPU.
        batches: Training samples by step.
        held: Validation samples; None trains without validation and keeps the last weights alone.
        train: The recipe's block.
        seed: Seed of everything random.
        total: Optimiser steps of the whole training.
        world: The processes that train together.
        journal: Curves and status; its run takes checkpoints and weights.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Batches,
        held: Held | None,
        *,
        train: TrainBlock,
        seed: int,
        total: int,
        world: World,
        journal: Journal,
    ) -> None:
        self.objective = objective
        self.batches = batches
        self.held = held
        self.train = train
        self.seed = seed
        self.total = total
        self.world = world
        self.journal = journal
        self.model = Parallel(objective, world, train.parallel, train.compile)
        self.optimiser = build_optimiser(self.model.unit, train)
        self.state = State()
        self._step = Stepper(self.model, self.optimiser, world, train, seed, total)
        self._speed = Speed()

    def restore(self, checkpoints: Checkpoints, step: int) -> None:
        """Go on from a checkpoint."""
        saved = checkpoints.load(step)
        self.model.load_weights(saved.model)
        self.model.load_moments(self.optimiser, saved.optimizer)
        self.state = saved.state

    def fit(self) -> State:
        """Train to the end.

        Raises:
            WfmError: Ten steps in a row were refused, or the run cannot be written.
            Requeue: A signal asked to stop; a checkpoint is saved.
            KeyboardInterrupt: Ctrl-C, likewise.
        """
        try:
            self._fit()
        finally:
            self.model.release()
        return self.state

    def _fit(self) -> None:
        validate_every = interval(self.train.eval_every, self.total)
        save_every = interval(self.train.save_every, self.total)
        self.model.unit.train()
        began = time.perf_counter() - self.state.seconds
        fed = feed(self.batches, self.state.step, self.total, self.world.device)
        with listening() as asked, closing(fed):
            self._speed.go()
            for batch in fed:
                outcome, row = self._one(batch, bool(asked.signal))
                step, last = self.state.step, self.state.step == self.total
                self.state.seconds = time.perf_counter() - began
                improved = False
                if self.held is not None and (last or step % validate_every == 0):
                    improved = self._validate(row)
                if row:
                    self._log(row, batch)
                stopping = outcome.stop and not last
                if improved or last or stopping or step % save_every == 0:
                    self._save(improved)
                if stopping:
                    raise_stop(asked.signal, step, self.total, self.journal)
                self._speed.go()

    def _one(self, batch: Fed, stop: bool) -> tuple[Outcome, dict[str, float]]:
        """One step; its row of the curves where one is due."""
        state, lr = self.state, learning_rate(self.train, batch.step, self.total)
        outcome = self._step(batch, lr, stop)
        self._speed.done(self.train.batch_size)
        if outcome.refused:
            self._refuse(outcome, batch.step)
        else:
            state.refused_in_row = 0
            self.objective.after_step(batch.step, self.total)
        state.step = batch.step + 1
        if state.step % self.train.log_every and state.step != self.total:
            return outcome, {}
        row = {"loss": outcome.loss, "lr": lr, "grad_norm": outcome.grad_norm, **outcome.logs}
        return outcome, {**row, "samples_per_s": self._speed.samples_per_s}

    def _log(self, row: dict[str, float], batch: Fed) -> None:
        """Complete a row with what every row has, and write it."""
        epoch = self.state.step / self.batches.steps_per_epoch
        common = {"step": float(self.state.step), "epoch": epoch, "refused_steps": float(self.state.refused)}
        self.journal.row({**common, **row, "seconds": self.state.seconds}, self._speed.ms_per_step)
        if "loss" in row:
            self._speed.reset()

    def _refuse(self, outcome: Outcome, step: int) -> None:
        state = self.state
        state.refused += 1
        state.refused_in_row += 1
        self.journal.say(f"step {step + 1}: refused, {outcome.reason}; the weights are unchanged")
        if state.refused_in_row >= PATIENCE:
            remedy = (
                "the masks hide nothing that the loss counts: see masks.ratio"
                if outcome.count == 0
                else "lower train.lr, keep train.clip above 0, and check the store with `wfm prepare verify`"
            )
            raise WfmError(f"step {step + 1}: {PATIENCE} steps in a row were refused, {outcome.reason}", remedy)

    def _validate(self, row: dict[str, float]) -> bool:
        """Validate, add the result to `row`; True when these are the weights to keep so far."""
        columns = self.evaluate().columns()
        row |= columns
        self.journal.say(f"validation at step {self.state.step}: {describe(columns, self.objective.references)}")
        loss, best = columns["val_loss"], self.state.best_loss
        if math.isfinite(loss) and (best is None or loss < best or not self.objective.loss_ranks):
            self.state.best_loss, self.state.best_step = loss, self.state.step
            return True
        return False

    def evaluate(self) -> Validation:
        """The validation samples through the present weights."""
        assert self.held is not None
        size = self.train.micro_batch or -(-self.train.batch_size // self.world.size)
        result = validate(self.model, self.held, self.seed, self.world, self.train.precision, size)
        if result.health.alarm:
            self.journal.say(f"ALARM: {result.health.alarm}")
        return result

    def weights(self) -> dict[str, Tensor]:
        """What the run's weights hold, as whole tensors."""
        return {name: whole(value) for name, value in self.objective.weights().items()}

    def _save(self, improved: bool) -> None:
        """A checkpoint; when it is the best one its weights become the run's."""
        model, moments = self.model.weights(), self.model.moments(self.optimiser)
        weights = self.weights() if improved else None
        self.world.first(lambda: self.journal.keep(self.state, model, moments, weights, self.train.keep_last))
