"""Where recipes are: files of the user, and the ones that ship with wfm."""

from __future__ import annotations

import difflib
from pathlib import Path

from wfm_cli.errors import RecipeError


def shipped_folder() -> Path:
    """Folder of the shipped recipes: inside the wheel, or `recipes/` of the checkout."""
    package = Path(__file__).resolve().parents[2]
    packaged = package / "_recipes"
    return packaged if packaged.is_dir() else package.parent / "recipes"


def shipped() -> dict[str, Path]:
    """Shipped recipes by name, such as `pretrain/lwm-v1`."""
    folder = shipped_folder()
    return {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.glob("*/*.yaml"))}


def resolve(name: str | Path, folder: Path | None = None, place: str = "") -> Path:
    """The file of a recipe: a path (relative to `folder`), else the name of a shipped recipe.

    Args:
        name: Path or shipped name, with or without `.yaml`.
        folder: Where relative paths start; the working directory by default.
        place: Put before the error message.

    Raises:
        RecipeError: There is neither; the hint names the nearest one.
    """
    path = Path(folder or ".") / name
    if path.is_file():
        return path
    known = shipped()
    short = str(name).removesuffix(".yaml").removeprefix("recipes/")
    if short in known:
        return known[short]
    same = [full for full in known if full.split("/")[-1] == short]
    if len(same) == 1:
        return known[same[0]]
    near = same or difflib.get_close_matches(short, [*known, *(k.split("/")[-1] for k in known)], 3, 0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "`wfm recipes list` shows the shipped recipes"
    raise RecipeError(f"{place}{name}: no such recipe", hint)
