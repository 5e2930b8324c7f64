"""Masks: context and target of 256 samples on a 14 x 14 grid, against a Python loop over the samples.

The loop draws the same geometry (same counts, same distribution of places) image by image as a collate function would,
with numpy's generator, and stacks the results into tensors. It is written for speed: one generator for all images. A
second loop seeds a generator per image, without which masks depend on the batch that a sample happens to be in; ours
never do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from measure import Row, compare

from wfm_cli.core.objectives.masks import build_sampler
from wfm_cli.core.recipe.masks import AntennaMask, AnyMask, FrequencyMask, MaskBlock, RegionMask, TemporalMask, TimeMask

BATCH, SIDE, RATIO = 256, 14, 0.6
CELLS = SIDE * SIDE
CALLS = 20
BARE = "random, one permutation per image"

Pair = tuple[np.ndarray, np.ndarray]
Generators = Iterator[np.random.Generator]
Tensors = Callable[[], tuple[torch.Tensor, torch.Tensor]]


def one_generator() -> Generators:
    """The same generator for every image."""
    generator = np.random.default_rng(0)
    while True:
        yield generator


def own_generators() -> Generators:
    """A generator of its own for every image."""
    sample = 0
    while True:
        yield np.random.default_rng((0, 0, sample))
        sample += 1


def random_image(generator: np.random.Generator) -> Pair:
    """Random cells of one image."""
    mask = np.zeros(CELLS, dtype=bool)
    mask[generator.choice(CELLS, round(RATIO * CELLS), replace=False)] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def permuted_image(generator: np.random.Generator) -> Pair:
    """Random cells of one image by a single call: as little Python as a loop can have."""
    order = generator.permutation(CELLS)
    hidden = round(RATIO * CELLS)
    return order[hidden:], order[:hidden]


def strips_image(strips: int, axis: int, wrap: bool) -> Callable[[np.random.Generator], Pair]:
    """Separate strips of one image."""
    hidden = round(RATIO * SIDE)
    visible = SIDE - hidden
    cells = np.arange(CELLS).reshape(SIDE, SIDE)

    def draw(generator: np.random.Generator) -> Pair:
        if wrap:
            cuts = [0, *sorted(generator.choice(visible - 1, strips - 1, replace=False) + 1)] if strips > 1 else [0]
            turn = int(generator.integers(SIDE))
        else:
            cuts, turn = sorted(generator.choice(visible + 1, strips, replace=False)), 0
        mask = np.zeros(SIDE, dtype=bool)
        start = 0
        for strip, cut in enumerate(cuts):
            width = hidden // strips + (strip < hidden % strips)
            mask[np.arange(cut + start + turn, cut + start + turn + width) % SIDE] = True
            start += width
        grid = cells if axis == 0 else cells.T
        return grid[~mask].ravel(), grid[mask].ravel()

    return draw


def region_image(blocks: int, context: int) -> Callable[[np.random.Generator], Pair]:
    """Four rectangles of one image, grown to the common size, and a random part of the rest."""
    hidden = round(RATIO * CELLS)
    side = math.sqrt((1 - (1 - RATIO) ** (1 / blocks)) * CELLS)
    places = np.arange(SIDE)

    def draw(generator: np.random.Generator) -> Pair:
        centres = generator.random((blocks, 2, 1)) * SIDE
        away = np.abs(places - centres)
        away = np.minimum(away, SIDE - away) / side
        row, column = away[:, 0, :, None], away[:, 1, None, :]
        distance = (np.maximum(row, column) + 1e-3 * np.minimum(row, column)).min(0).ravel()
        mask = np.zeros(CELLS, dtype=bool)
        mask[np.argpartition(distance, hidden - 1)[:hidden]] = True
        return generator.permutation(np.flatnonzero(~mask))[:context], np.flatnonzero(mask)

    return draw


def loop(draw: Callable[[np.random.Generator], Pair], generators: Callable[[], Generators]) -> Tensors:
    """Image by image, then one tensor for the context and one for the target."""

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        source = generators()
        pairs = [draw(next(source)) for _ in range(BATCH)]
        context, target = (np.stack(side) for side in zip(*pairs, strict=True))
        return torch.from_numpy(context), torch.from_numpy(target)

    return call


def main() -> list[Row]:
    """Every geometry against both loops."""
    torch.set_num_threads(1)
    share, ids = (0.9, 0.9), torch.arange(BATCH)
    kept = round(share[0] * (CELLS - round(RATIO * CELLS)))
    cases: dict[str, tuple[AnyMask, Callable[[np.random.Generator], Pair]]] = {
        "region": (RegionMask(ratio=RATIO, context=share, aspect=(1.0, 1.0)), region_image(4, kept)),
        "frequency strips": (FrequencyMask(ratio=RATIO), strips_image(2, 0, True)),
        "time strips": (TimeMask(ratio=RATIO), strips_image(2, 1, True)),
        "random": (MaskBlock(kind="random", ratio=RATIO), random_image),
        BARE: (MaskBlock(kind="random", ratio=RATIO), permuted_image),
        "temporal block": (TemporalMask(ratio=RATIO), strips_image(1, 1, False)),
        "antenna block": (AntennaMask(ratio=RATIO), strips_image(1, 0, True)),
    }
    coords = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE))
    rows = []
    for name, (block, draw) in cases.items():
        axes = ("antenna", "time") if block.kind == "antenna" else ("frequency", "time")
        sampler = build_sampler(block, axes, coords)
        want, got = loop(draw, one_generator)(), sampler(ids, 0, 0)
        if [tuple(side.shape) for side in want] != [tuple(got.context.shape), tuple(got.target.shape)]:
            raise RuntimeError(f"{name}: the loop draws other counts")

        def ours(sampler: Callable[..., object] = sampler) -> None:
            for step in range(CALLS):
                sampler(ids, 0, step)

        seconds = compare(
            {"ours": ours, "loop": loop(draw, one_generator), "own": loop(draw, own_generators)}, repeats=15
        )
        each = seconds["ours"] / CALLS
        note = f"{1e6 * each / BATCH:.2f} against {1e6 * seconds['loop'] / BATCH:.1f} us per sample"
        rows.append(
            Row(
                f"masks of 256 samples, 14 x 14, {name}: against a loop",
                seconds["loop"] / each,
                "x",
                None if name == BARE else 10,
                note=note,
            )
        )
        rows.append(Row("  against a loop that seeds every image", seconds["own"] / each, "x"))
    return rows
