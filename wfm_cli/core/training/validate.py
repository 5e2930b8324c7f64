"""One pass over the validation samples: loss, values per sample, health of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wfm_cli.core.models.bundle import rows
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.training.batches import Held, as_real, to_device
from wfm_cli.core.training.dist import World
from wfm_cli.core.training.monitors import EXPERT, Health, examine
from wfm_cli.core.training.parallel import Parallel
from wfm_cli.core.training.precision import autocast
from wfm_cli.core.training.references import REFERENCES

FLOOR = 1e-30
"""Errors below are shown as -300 dB: an exact reconstruction has no finite decibel value."""
QUANTILES = {"median": 50.0, "p10": 10.0, "p90": 90.0}


@dataclass(frozen=True)
class Validation:
    """Result of one pass."""

    loss: float
    """Loss sum over all samples divided by its count, as in training but without dropout."""
    values: dict[str, NDArray[np.float64]]
    """The objective's values of every sample, (N,) each, in the order of `Held.ids`."""
    health: Health

    def columns(self) -> dict[str, float]:
        """The row of the curves: `val_loss`, quantiles `val_<name>_median|p10|p90`, and the monitors."""
        row = {"val_loss": self.loss}
        for name, values in self.quantiled.items():
            row |= {f"val_{key}": value for key, value in quantiles(name, values).items()}
        return row | self.health.columns()

    @property
    def quantiled(self) -> dict[str, NDArray[np.float64]]:
        """The values that count by their quantiles: all but shares, which count by their mean."""
        return {name: values for name, values in self.values.items() if not name.startswith("share_")}


def quantiles(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Median, 10th and 90th percentile over samples; errors (`nmse...`, linear) in dB as `<name>_db_<quantile>`."""
    if name.startswith("nmse"):
        name, values = f"{name}_db", decibel(values)
    return {f"{name}_{key}": float(np.percentile(values, q)) for key, q in QUANTILES.items()}


def decibel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """10 log10 of linear power ratios."""
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(values, FLOOR))
    return level


@torch.no_grad()
def validate(model: Parallel, held: Held, seed: int, world: World, precision: str, batch_size: int) -> Validation:
    """Run the validation samples through the model in evaluation mode, shared out over all ranks.

    The key is that of step 0 at every validation: masks and other draws are the same each time, so the values of
    two validations differ by the weights alone. Every rank returns the same result.
    """
    count = len(held.ids)
    # Every rank makes as many and as large calls as the others; the surplus repeats samples and is cut off below.
    places = np.arange(-(-count // world.size) * world.size)[world.rank :: world.size]
    key, sums = StepKey(seed, 0, 0, progress=1.0), torch.zeros(2, dtype=torch.float64, device=world.device)
    values: dict[str, list[Tensor]] = {}
    embeddings: list[Tensor] = []
    model.unit.eval()
    for start in range(0, len(places), batch_size):
        part = places[start : start + batch_size]
        chosen = held.ids[part % count]
        data = to_device(as_real(held.rows.take(chosen)), world.device)
        ids = cast(Tensor, to_device(torch.from_numpy(chosen), world.device))
        with autocast(precision, world.device):
            found = model.unit.evaluate(data, ids, key)
            embeddings.append(model.unit.embed(data).float())
            own = int((part < count).sum())
            parts = model.unit(rows(data, slice(max(own, 1))), ids[: max(own, 1)], key)
        if own:
            sums += torch.stack([parts.total.double().reshape(()), parts.count.double().reshape(())])
        for name, value in found.items():
            values.setdefault(name, []).append(value.double())
    model.unit.train()
    total, counted = world.sum(sums).tolist()
    gathered = {name: _all(world, parts, count).cpu().numpy() for name, parts in values.items()}
    means = {f"val_{name}": value for name, value in model.unit.objective.telemetry(gathered).items()}
    return Validation(
        loss=total / counted if counted else float("nan"),
        values=gathered,
        health=examine(_all(world, embeddings, count), held.labels, {**model.unit.objective.monitors(), **means}),
    )


def _all(world: World, parts: list[Tensor], count: int) -> Tensor:
    return world.gather(torch.cat(parts))[:count]


def title(name: str) -> str:
    """`nmse` -> NMSE, `nmse_rank2` -> rank-2 completion, `nmse_latent` -> NMSE latent, `nmse_mean` -> training mean."""
    if (plain := name.removeprefix("nmse_")) in REFERENCES:
        return REFERENCES[plain]
    kind, _, rank = name.partition("_rank")
    return f"rank-{rank} completion" if rank.isdigit() else kind.replace("_", " ").replace("nmse", "NMSE")


def describe(columns: Mapping[str, float], references: Sequence[str]) -> str:
    """A validation row in one line for people."""
    text = [f"loss {columns['val_loss']:.4g}"]
    for name in columns:
        if name.startswith("val_") and name.endswith("_median"):
            stem = name.removesuffix("_median")
            plain = stem.removeprefix("val_").removesuffix("_db")
            unit = " dB" if stem.endswith("_db") else ""
            spread = (
                "" if plain in references else " [{:.2f}, {:.2f}]".format(*(columns[f"{stem}_p{q}"] for q in (10, 90)))
            )
            text.append(f"{title(plain)} {columns[name]:.2f}{spread}{unit}")
    text.append(f"RankMe {columns['rankme']:.1f} ({columns['rankme_rows']:.0f} rows)")
    text.append(f"std {columns['feature_std']:.3g}")
    if "feature_cosine" in columns:
        text.append(f"cosine {columns['feature_cosine']:.2f}")
    if "knn" in columns:
        text.append(f"kNN {100 * columns['knn']:.1f} %")
    if "val_retrieval" in columns:
        chance = f" (chance {100 * columns['val_retrieval_chance']:.1f} %)"
        text.append(f"retrieval {100 * columns['val_retrieval']:.1f} %{chance}")
    experts = [name for name in columns if name.startswith(EXPERT) and name != f"{EXPERT}entropy"]
    if experts:
        text.append(
            "experts " + " / ".join(f"{name.removeprefix(EXPERT)} {100 * columns[name]:.0f} %" for name in experts)
        )
    if "val_router_accuracy" in columns:
        text.append(f"router {100 * columns['val_router_accuracy']:.1f} %")
    return ", ".join(text)
