"""From a recipe file to a checked model, with errors that say file, line, column and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from wfm_cli.core.recipe.base import Recipe
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe, ProbeRecipe
from wfm_cli.core.recipe.locate import resolve
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.recipe.street import StreetRecipe
from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_cli.core.recipe.yaml_source import Loc, Source, apply_override, read_source
from wfm_cli.errors import RecipeError

R = TypeVar("R", bound=Recipe)

STEPS: dict[str, type[Recipe]] = {
    "prepare": PrepareRecipe,
    "pretrain": PretrainRecipe,
    "probe": ProbeRecipe,
    "benchmark": BenchmarkRecipe,
    "waveforms": WaveformsRecipe,
    "street": StreetRecipe,
}
"""Recipe models by their `step`."""
OWN_SOURCES = frozenset({"deepmimo", "wavesfm", "spectrogram", "deepsense"})
"""Kinds of the sources that come with wfm."""


def load_recipe(path: str | Path, model: type[R], overrides: Sequence[str] = ()) -> R:
    """Read, merge, override and check one recipe.

    Args:
        path: File, or the name of a shipped recipe such as `pretrain/lwm-v1`.
        model: What the recipe must be.
        overrides: `key.path=value` expressions, applied last.

    Raises:
        RecipeError: With one line for every mistake.
    """
    return check(_source(path, overrides), model)


def load_any(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Like `load_recipe`, for the model that the recipe's `step` names."""
    source = _source(path, overrides)
    step = source.data.get("step")
    if step not in STEPS:
        raise RecipeError(
            f"{source.place(('step',))}: step: expected one of {', '.join(STEPS)} (got {step!r})",
            "every recipe says which verb it is for",
        )
    return check(source, STEPS[step])


def parse_recipe(data: dict[str, Any], model: type[R], name: str = "recipe") -> R:
    """Check a recipe given as a dict, such as one stored in a run."""
    return check(Source(dict(data), {}, name), model)


def to_dict(recipe: BaseModel) -> dict[str, Any]:
    """JSON form of a recipe with every default filled in."""
    return recipe.model_dump(mode="json")


def _source(path: str | Path, overrides: Sequence[str]) -> Source:
    source = read_source(resolve(path))
    for expression in overrides:
        apply_override(source, expression)
    source.data.setdefault("name", Path(source.name).stem)
    return source


def check(source: Source, model: type[R]) -> R:
    """Check merged data against a model.

    Raises:
        RecipeError: With one line for every mistake.
    """
    step = model.model_fields["step"].default if "step" in model.model_fields else None
    if step is not None and source.data.setdefault("step", step) != step:
        given = source.data["step"]
        verb = f"prepare {given}" if given in ("waveforms", "street") else given
        raise RecipeError(
            f"{source.place(('step',))}: step: this is a {given} recipe, expected {step}",
            f"use `wfm {verb}`, or give a {step} recipe (`wfm recipes list`)",
        )
    model = _with_foreign_source(model, source.data)
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        lines = [_line(detail, source, model) for detail in error.errors(include_url=False)]
        raise RecipeError("\n       ".join(dict.fromkeys(lines)), "`wfm recipes schema` lists every key") from None


def _with_foreign_source(model: type[R], data: dict[str, Any]) -> type[R]:
    """A prepare recipe whose source is of a kind that somebody else's package registers takes that package's block."""
    block = data.get("source")
    kind = block.get("kind") if isinstance(block, dict) else None
    if not issubclass(model, PrepareRecipe) or not isinstance(kind, str) or kind in OWN_SOURCES:
        return model
    if not any(point.name == kind for point in entry_points(group="wfm.datasets")):
        return model
    from wfm_cli.core.store.build import load_builder

    foreign = getattr(load_builder(kind), "source_model", None)
    if foreign is None:
        raise RecipeError(f"source.kind: the builder of '{kind}' names no source_model", "ask its authors")
    return create_model(model.__name__, __base__=model, source=(foreign, ...))


def _line(detail: ErrorDetails, source: Source, model: type[BaseModel]) -> str:
    loc = _yaml_loc(detail["loc"], source.data)
    dotted = ".".join(map(str, loc)) or "recipe"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _known_keys(model, loc[:-1], source.data), 1, 0.5)
        message = "unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
    elif detail["type"] == "missing":
        message = "this key is required"
    elif detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        loc = (*loc, "kind")
        dotted, message = ".".join(map(str, loc)), _kinds(detail)
    elif not isinstance(detail["input"], dict | list):
        message += f" (got {detail['input']!r})"
    return f"{source.place(loc)}: {dotted}: {message}"


def _kinds(detail: ErrorDetails) -> str:
    """What is wrong with the `kind` of a block that can be one of several."""
    context = detail.get("ctx", {})
    known = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",") if tag.strip()]
    if "tag" not in context:
        return "this key is required" + (f"; known: {', '.join(known)}" if known else "")
    near = difflib.get_close_matches(str(context["tag"]), known, 1, 0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown kind (got {context['tag']!r}){guess} Known: {', '.join(known)}"


def _child(node: Any, step: str | int) -> tuple[bool, Any]:
    """Whether `node` has the child `step`, and the child."""
    if isinstance(node, dict) and step in node:
        return True, node[step]
    if isinstance(node, list) and isinstance(step, int) and step < len(node):
        return True, node[step]
    return False, None


def _yaml_loc(loc: Loc, data: Any) -> Loc:
    """Drop the tags that pydantic puts into error paths for unions: they are no keys of the document."""
    out: list[str | int] = []
    node = data
    for position, step in enumerate(loc):
        found, child = _child(node, step)
        if found:
            node = child
        elif position < len(loc) - 1 or not isinstance(node, dict):
            continue
        out.append(step)
    return tuple(out)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _known_keys(model: type[BaseModel], parent: Loc, data: Any) -> list[str]:
    """Keys that are valid at `parent`, following the `kind` that the document gives."""
    current: type[BaseModel] = model
    node = data
    for step in parent:
        node = _child(node, step)[1]
        if isinstance(step, int):
            continue
        field = current.model_fields.get(step)
        options = list(_models(field.annotation)) if field else []
        kind = node.get("kind") if isinstance(node, dict) else None
        fitting = [o for o in options if "kind" in o.model_fields and o.model_fields["kind"].default == kind]
        current = (fitting or options or [current])[0]
    return list(current.model_fields)
