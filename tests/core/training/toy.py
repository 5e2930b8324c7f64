"""A masked regression small enough to train in milliseconds, whose loss counts differ from sample to sample."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wfm_cli.core.objectives.base import LossParts, Objective, StepKey
from wfm_cli.core.recipe.pretrain import TrainBlock
from wfm_cli.core.store.run import Run
from wfm_cli.core.training.batches import Held
from wfm_cli.core.training.checkpoint import Checkpoints
from wfm_cli.core.training.dist import World, connect
from wfm_cli.core.training.ema import follow
from wfm_cli.core.training.finish import finish
from wfm_cli.core.training.journal import Journal
from wfm_cli.core.training.loop import Trainer
from wfm_cli.core.training.precision import arithmetic
from wfm_cli.core.training.status import Status
from wfm_cli.core.training.tracking import Trackers

SHAPE = (4, 3)
WIDTH = 8


class Layer(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm, self.linear, self.drop = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.nn.functional.gelu(self.linear(self.norm(x))))


class ToyEncoder(nn.Module):
    """(B, 4, 3, 2) -> 12 tokens of width 8."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dim = WIDTH
        self.project = nn.Linear(2, WIDTH)
        self.position = nn.Parameter(torch.randn(SHAPE[0] * SHAPE[1], WIDTH) * 0.1)
        self.blocks = nn.ModuleList(Layer(dropout) for _ in range(2))

    def forward(self, values: Tensor) -> Tensor:
        x = self.project(values) + self.position
        for block in self.blocks:
            x = block(x)
        return x

    def embed(self, batch: Tensor, pooling: str | None = None) -> Tensor:
        return self(batch.flatten(1, 2)).mean(1)


class ToyObjective(Objective):
    """Fill in hidden entries; a slow copy of the encoder follows, so that there is a target to keep."""

    def __init__(self, dropout: float = 0.0, poison: tuple[int, ...] = (), hide: bool = True) -> None:
        super().__init__(ToyEncoder(dropout))  # type: ignore[arg-type]
        self.head = nn.Linear(WIDTH, 2)
        self.target = ToyEncoder(dropout).requires_grad_(False)
        self.target.load_state_dict(self.encoder.state_dict())
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.references = ("nmse_rank1",)
        self.poison, self.hide = poison, hide

    def hidden(self, ids: Tensor, key: StepKey) -> Tensor:
        """(B, 12) bool; sample i hides (i % 4) / 4 of its entries on average, so every fourth hides none."""
        place = torch.arange(SHAPE[0] * SHAPE[1], dtype=torch.float64, device=ids.device)
        mix = ids.double()[:, None] * 12.9898 + place * 78.233 + (key.step % 1000) * 37.719 + key.seed
        return ((torch.sin(mix) * 43758.5453) % 1.0 < (ids % 4)[:, None] / 4) & self.hide

    def reconstruct(self, batch: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        values = batch.flatten(1, 2)
        return self.head(self.encoder(values.masked_fill(hidden[..., None], 0.0))), values

    def forward(self, batch: Tensor, ids: Tensor, key: StepKey) -> LossParts:
        hidden = self.hidden(ids, key)
        found, values = self.reconstruct(batch, hidden)
        error = ((found.float() - values) ** 2).sum(-1) * hidden
        if key.step in self.poison and self.training:
            error = error * float("nan")
        total, count = error.sum(), hidden.sum().float()
        samples = torch.tensor(float(len(ids)))
        return LossParts(total, count, {"hidden_per_sample": (hidden.sum().double(), samples)})

    def evaluate(self, batch: Tensor, ids: Tensor, key: StepKey) -> dict[str, Tensor]:
        hidden = self.hidden(ids | 1, key)
        found, values = self.reconstruct(batch, hidden)
        power = (values**2).sum((1, 2))
        return {"nmse": ((found.float() - values) ** 2).sum((1, 2)) / power, "nmse_rank1": torch.ones_like(power) / 2}

    def after_step(self, step: int, total_steps: int) -> None:
        follow(self.target, self.encoder, 0.9)
        self.taken += 1

    def weights(self) -> dict[str, Tensor]:
        parts = {"encoder": self.target, "head": self.head}
        return {f"{part}.{name}": v for part, module in parts.items() for name, v in module.state_dict().items()}


def samples(count: int = 60) -> np.ndarray[Any, Any]:
    """Complex rows of rank one with a little noise."""
    rng = np.random.default_rng(5)
    left, right = (rng.standard_normal((count, n, 2)).view(np.complex128)[..., 0] for n in SHAPE)
    return (left[:, :, None] * right[:, None, :] + 0.1).astype(np.complex64)


class ToyBatches:
    """Order is a pure function of (seed, epoch), as in the loader."""

    def __init__(self, rows: np.ndarray[Any, Any], batch: int, world: World, seed: int = 3) -> None:
        self.rows, self.batch, self.world, self.seed = rows, batch, world, seed
        self.steps_per_epoch = len(rows) // batch

    def iterate(self, start: int, stop: int) -> Iterator[Any]:
        for step in range(start, stop):
            epoch, place = divmod(step, self.steps_per_epoch)
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
            ids = order[place * self.batch : (place + 1) * self.batch][self.world.rank :: self.world.size]
            yield argparse.Namespace(step=step, epoch=epoch, ids=ids, data=self.rows[ids])


class ToyRows:
    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self.rows = rows

    def take(self, idx: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self.rows[idx]


@contextmanager
def trainer(
    out: Path,
    *,
    resume: bool = False,
    seed: int = 11,
    objective: ToyObjective | None = None,
    dropout: float = 0.1,
    count: int = 60,
    held: int = 10,
    **train: Any,
) -> Iterator[Trainer]:
    """A trainer on the toy, with its run at `out`; `train` are fields of the recipe's block."""
    fields = {
        "steps": 20,
        "batch_size": 12,
        "lr": 1e-2,
        "log_every": 1,
        "eval_every": 5,
        "save_every": 10,
        "device": "cpu",
    } | train
    block = TrainBlock.model_validate(fields)
    assert block.steps
    with connect(block.device) as world, arithmetic(block.precision, world):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        run = world.first(lambda: Run.open(out) if resume else Run.create(out, "pretrain", {}))
        rows = samples(count)
        status = Status(False)
        made = Trainer(
            objective or ToyObjective(dropout),
            ToyBatches(rows[: count - held], block.batch_size, world),
            Held(ToyRows(rows), np.arange(count - held, count)) if held else None,
            train=block,
            seed=seed,
            total=block.steps,
            world=world,
            journal=Journal(run, status, Trackers((), status.say), block.steps),
        )
        steps = Checkpoints(out).steps() if resume else []
        if steps:
            made.restore(Checkpoints(out), steps[-1])
        made.journal.start(steps[-1] if steps else 0, "", {})
        yield made


def train(out: Path, **options: Any) -> dict[str, Any] | None:
    """Train the toy to its end."""
    with trainer(out, **options) as made:
        made.fit()
        return finish(made, out)


if __name__ == "__main__":  # one process of several
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], type=lambda text: text.split("="))
    given = parser.parse_args()
    options = {key: (value if value.isalpha() or "fsdp" in value else float(value)) for key, value in given.set}
    whole_numbers = {"steps", "batch_size", "micro_batch", "resume", "save_every", "eval_every"}
    train(given.out, **{key: int(v) if key in whole_numbers else v for key, v in options.items()})
