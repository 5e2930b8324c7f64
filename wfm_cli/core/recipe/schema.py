"""JSON Schema of all recipes, for completion and checks in editors."""

from __future__ import annotations

import json
from typing import Any

from wfm_cli.core.recipe.loading import STEPS


def recipe_schema() -> dict[str, Any]:
    """One schema for every recipe: the branch is chosen by `step`."""
    from pydantic import TypeAdapter

    branches: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for step, model in STEPS.items():
        schema = TypeAdapter(model).json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        schema["properties"]["extends"] = {"type": "string", "description": "Recipe that this one changes."}
        required = {"step"} if "extends" in schema["properties"] else set(schema.get("required", ()))
        # A recipe that extends another one need not repeat its keys: only the step is asked for here.
        schema["required"] = sorted(required)
        schema["properties"]["step"] = {"const": step, "description": "The verb that this recipe is for."}
        branches.append(schema)
    _any_kind([branches, definitions])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wfm recipe",
        "oneOf": branches,
        "$defs": dict(sorted(definitions.items())),
    }


def _any_kind(part: Any) -> None:
    """Let blocks that are told apart by `kind` fit several kinds: one that extends another need not name it."""
    if isinstance(part, dict):
        if part.pop("discriminator", None):
            part["anyOf"] = part.pop("oneOf")
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _any_kind(inner)


def schema_text() -> str:
    """The schema as it is committed in `recipes/schema.json`."""
    return json.dumps(recipe_schema(), indent=2) + "\n"
