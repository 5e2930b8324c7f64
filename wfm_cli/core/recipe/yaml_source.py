"""YAML with positions: reads a recipe and its `extends` chain, and remembers where every key was written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from wfm_cli.core.recipe.locate import resolve
from wfm_cli.errors import RecipeError

Loc = tuple[str | int, ...]


class Source:
    """The merged data of a recipe, and for every key the place that set it last.

    Attributes:
        data: Plain dicts, lists and scalars.
        where: Key path -> text such as `lwm.yaml:3:5` or `--set train.lr=1`.
    """

    def __init__(self, data: dict[str, Any], where: dict[Loc, str], name: str) -> None:
        self.data = data
        self.where = where
        self.name = name

    def place(self, loc: Loc) -> str:
        """The place of the longest known prefix of `loc`."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.where:
                return self.where[loc[:length]]
        return f"{self.name}:1:1"


def read_source(path: Path, seen: tuple[Path, ...] = ()) -> Source:
    """Read `path` and what it extends; maps merge, lists and a changed `kind` replace.

    Raises:
        RecipeError: No such file, no YAML, duplicate keys, or a cycle of `extends`.
    """
    path = path.resolve()
    if path in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise RecipeError(f"{path.name}:1:1: extends: the recipes extend each other: {chain}", "break the cycle")
    document = _parse(path)
    where: dict[Loc, str] = {}
    data = _plain(document, (), where, path.name)
    if not isinstance(data, dict):
        raise RecipeError(f"{path.name}:1:1: a recipe is a map of keys", "start it with `step: pretrain`, for example")
    parent = data.pop("extends", None)
    if parent is None:
        return Source(data, where, path.name)
    if not isinstance(parent, str):
        raise RecipeError(f"{where[('extends',)]}: extends: expected the path of one recipe", None)
    base = read_source(resolve(parent, path.parent, where[("extends",)] + ": extends: "), (*seen, path))
    return Source(merge(base.data, data), {**base.where, **where}, path.name)


def _parse(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as text ({error})", "give a YAML recipe") from None
    try:
        return YAML(typ="rt").load(text) or CommentedMap()
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path.name}:{mark.line + 1}:{mark.column + 1}" if mark else path.name
        raise RecipeError(f"{place}: {str(error.problem).splitlines()[0]}", "correct the YAML") from None
    except YAMLError as error:
        raise RecipeError(f"{path.name}: {str(error).splitlines()[0]}", "correct the YAML") from None


def _plain(node: Any, loc: Loc, where: dict[Loc, str], name: str) -> Any:
    if isinstance(node, CommentedMap):
        out = {}
        for key, value in node.items():
            line, column = node.lc.key(key)
            where[(*loc, key)] = f"{name}:{line + 1}:{column + 1}"
            out[key] = _plain(value, (*loc, key), where, name)
        return out
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            line, column = node.lc.item(index)
            where[(*loc, index)] = f"{name}:{line + 1}:{column + 1}"
        return [_plain(value, (*loc, i), where, name) for i, value in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    # Round-trip scalars are subclasses of the plain ones; pydantic's strict checks and JSON want the plain ones.
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`. A block whose `kind` changes starts afresh, so keys of the old kind cannot leak."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


def apply_override(source: Source, expression: str) -> None:
    """Apply one `key.path=value`; the value is read as YAML, list items are addressed by number.

    Raises:
        RecipeError: The expression is no assignment, or its path leads through a scalar.
    """
    key, sign, raw = expression.partition("=")
    if not sign or not key:
        raise RecipeError(f"--set {expression}: expected key.path=value", "for example --set train.lr=3e-4")
    loc: Loc = tuple(int(k) if k.isdigit() else k for k in key.split("."))
    try:
        value = YAML(typ="safe").load(io.StringIO(raw))
    except YAMLError:
        raise RecipeError(f"--set {expression}: the value is no YAML", "quote it as in YAML") from None
    node: Any = source.data
    for position, step in enumerate(loc[:-1]):
        if isinstance(node, dict):
            node = node.setdefault(step, {})
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            node = None
        if not isinstance(node, dict | list):
            path = ".".join(map(str, loc[: position + 1]))
            raise RecipeError(f"--set {expression}: {path} is no block", "see `wfm recipes show` for the keys")
    last = loc[-1]
    if isinstance(node, list):
        if not isinstance(last, int) or last >= len(node):
            raise RecipeError(f"--set {expression}: the list has {len(node)} items", "count from 0")
        node[last] = value
    else:
        changed = last == "kind" and node.get("kind") not in (None, value)
        if changed:
            node.clear()
        node[last] = value
    source.where[loc] = f"--set {expression}"
