"""Whether a stopped run may go on with a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfm_cli.core.recipe.loading import parse_recipe, to_dict
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store.run import Run
from wfm_cli.core.training.tracking import flatten
from wfm_cli.errors import InputError, RecipeError

FREE = frozenset(
    {
        *("name", "description", "data.store", "data.in_memory"),
        *("train.steps", "train.epochs", "train.parallel", "train.device", "train.threads"),
        *("train.log_every", "train.eval_every", "train.save_every", "train.keep_last", "train.tracking"),
    }
)
"""Keys that may change on resume. The store may have moved; that its content is the same is checked by digest."""


def changed_keys(stored: Mapping[str, Any], recipe: PretrainRecipe) -> list[str]:
    """Keys with `stored -> new` values that differ and matter to the weights."""
    # Through the model: keys that were added to the format since take their default.
    old = flatten(to_dict(parse_recipe(dict(stored), PretrainRecipe, "the run's recipe")))
    new = flatten(to_dict(recipe))
    keys = sorted(old.keys() | new.keys())
    return [f"{k} ({old.get(k)} -> {new.get(k)})" for k in keys if k not in FREE and old.get(k) != new.get(k)]


def open_for_resume(path: Path, recipe: PretrainRecipe, store_digest: str) -> Run:
    """Open the run at `path` to go on with it.

    Raises:
        StoreError: `path` is no run.
        RecipeError: The recipe asks for another training than the one in the run.
        InputError: The run is of another kind or was trained on other data.
    """
    run = Run.open(path)
    if run.kind != "pretrain":
        raise InputError(f"{path}: a {run.kind} run cannot be continued by pretrain", "choose another --out")
    changed = changed_keys(run.attrs["recipe"], recipe)
    if changed:
        raise RecipeError(
            f"{path}: the recipe differs from that of the run: {', '.join(changed)}",
            "resume with the run's own recipe, or train anew with another --out",
        )
    if run.attrs["store"]["digest"] != store_digest:
        raise InputError(
            f"data.store: {recipe.data.store} holds other data than the run was trained on",
            f"the run used {run.attrs['store']['path']} with digest {run.attrs['store']['digest'][:12]}",
        )
    return run
