"""Build hook: the recipes travel inside the wheel, and an editable install keeps reading them from the checkout."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RecipesHook(BuildHookInterface[Any]):
    """Put `recipes/` into standard wheels as `wfm_cli/_recipes`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folder, except to editable wheels, where a copy would hide later edits."""
        if version == "standard":
            build_data["force_include"]["recipes"] = "wfm_cli/_recipes"
