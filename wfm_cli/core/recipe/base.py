"""The base of every recipe model: strict, frozen, documented by attribute docstrings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A recipe block: unknown keys are errors, values are not coerced across kinds, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


class Recipe(Strict):
    """What every recipe file carries."""

    schema_version: Literal[1] = 1
    """Version of the recipe format."""
    name: str = ""
    """Short name shown in logs and reports; by default the file's own name."""
    description: str = ""
    """One sentence about the purpose of this recipe."""
