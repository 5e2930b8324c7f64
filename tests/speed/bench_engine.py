"""What the training engine costs around a bare training step, and its monitors against their plain forms."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measure import Row, compare
from torch import nn

from wfm_cli.core.models import build_encoder
from wfm_cli.core.objectives import build_objective
from wfm_cli.core.objectives.base import Objective, StepKey
from wfm_cli.core.recipe.loading import parse_recipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.loader import BatchLoader
from wfm_cli.core.store.reader import Store
from wfm_cli.core.training.batches import as_real, feed
from wfm_cli.core.training.dist import Ranks, World
from wfm_cli.core.training.ema import follow
from wfm_cli.core.training.monitors import rankme
from wfm_cli.core.training.optimiser import build_optimiser
from wfm_cli.core.training.parallel import Parallel
from wfm_cli.core.training.precision import arithmetic
from wfm_cli.core.training.step import Stepper

BATCH = 64
STEPS = 4
ALONE = World(Ranks(), torch.device("cpu"))


def recipe(layers: int) -> PretrainRecipe:
    """LWM v1.0 with so many layers."""
    model = {"kind": "lwm", "wiring": "v1.0", "layers": layers}
    train = {"steps": 10, "batch_size": BATCH}
    return parse_recipe({"data": {"store": "-"}, "model": model, "train": train}, PretrainRecipe)


def fresh(plan: PretrainRecipe) -> Objective:
    """The recipe's objective, the same weights at every call."""
    torch.manual_seed(0)
    return build_objective(plan, build_encoder(plan.model, (32, 32, 2))).train()


def bare(plan: PretrainRecipe, store: Store) -> Callable[[], None]:
    """The shortest loop that trains the same: batches lie ready, nothing is checked, counted, kept or seeded."""
    objective = fresh(plan)
    optimiser = build_optimiser(objective, plan.train)
    rows = as_real(store.read("channel")[: BATCH * STEPS])
    ids = torch.arange(len(rows))

    def run() -> None:
        for step in range(STEPS):
            part = slice(step * BATCH, (step + 1) * BATCH)
            parts = objective(rows[part], ids[part], StepKey(0, step, 0))
            torch.autograd.backward(parts.total / parts.count)
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()

    return run


def engine(plan: PretrainRecipe, store: Store) -> Callable[[], None]:
    """The engine's step, fed by the loader."""
    model = Parallel(fresh(plan), ALONE)
    step = Stepper(model, build_optimiser(model.unit, plan.train), ALONE, plan.train, 0)
    loader = BatchLoader(store, "channel", store.indices("train"), BATCH, seed=0)

    def run() -> None:
        for batch in feed(loader, 0, STEPS, ALONE.device):
            step(batch, 1e-3, False)

    return run


def average_cost() -> Row:
    """A moving average over lists against one operation per tensor."""
    source = nn.Sequential(*(build_encoder(recipe(12).model, (32, 32, 2)) for _ in range(2)))
    target, other = (nn.Sequential(*(build_encoder(recipe(12).model, (32, 32, 2)) for _ in range(2))) for _ in "ab")

    @torch.no_grad()
    def plain() -> None:
        for kept, new in zip(other.parameters(), source.parameters(), strict=True):
            kept.mul_(0.99).add_(new, alpha=0.01)

    seconds = compare({"plain": plain, "ours": lambda: follow(target, source, 0.99)}, repeats=21)
    note = f"{seconds['ours'] * 1e3:.2f} ms for {sum(p.numel() for p in source.parameters()):,} weights"
    return Row(
        "moving average, against one product and sum per tensor", seconds["plain"] / seconds["ours"], "x", note=note
    )


def rank_cost() -> Row:
    """RankMe by the Gram matrix against the singular values themselves."""
    values = torch.randn(25600, 128, generator=torch.Generator().manual_seed(0)) @ torch.randn(128, 128)

    def plain() -> Any:
        return torch.linalg.svdvals(values.double())

    seconds = compare({"svd": plain, "ours": lambda: rankme(values)})
    note = f"{seconds['ours'] * 1e3:.0f} ms for 25,600 embeddings of 128"
    return Row("RankMe, against singular values in double precision", seconds["svd"] / seconds["ours"], "x", note=note)


@contextmanager
def small_store() -> Iterator[Store]:
    """400 channels of 32 x 32."""
    sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
    from tests.fakes.stores import make_store

    with tempfile.TemporaryDirectory() as folder:
        yield make_store(Path(folder) / "s.zarr", samples=400, antennas=32, subcarriers=32)


def main() -> list[Row]:
    """Overhead of the engine, averages, monitors."""
    rows = []
    with small_store() as store, arithmetic("fp32", ALONE):
        torch.set_num_threads(1)
        for layers in (2, 12):
            plan = recipe(layers)
            seconds = compare({"bare": bare(plan, store), "engine": engine(plan, store)}, repeats=7)
            over = 100 * (seconds["engine"] / seconds["bare"] - 1)
            note = f"{seconds['engine'] / STEPS * 1e3:.1f} against {seconds['bare'] / STEPS * 1e3:.1f} ms per step"
            goal = 5.0 if layers == 12 else None  # the short model is for information: noise alone is some per cent
            rows.append(Row(f"engine over a bare loop, LWM v1.0 of {layers} layers", over, "%", goal, False, note))
        return [*rows, average_cost(), rank_cost()]
