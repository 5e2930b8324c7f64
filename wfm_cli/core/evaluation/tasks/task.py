"""Tasks: what is predicted from an embedding, how it is scored, and what must stand beside every score.

A task is one versioned YAML file. A file may describe a family (`beam_{n}`): its `variants` fill the braces.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wfm_cli.core.evaluation.baselines import BASELINES
from wfm_cli.core.evaluation.forecast import BESIDE_NAMES
from wfm_cli.core.evaluation.metrics import METRICS, Metric
from wfm_cli.core.recipe.base import Strict
from wfm_cli.errors import InputError

FOLDER = Path(__file__).parent
RANDOM = "random"
"""Baseline name of the encoder under test with fresh weights."""


class Task(Strict):
    """One task."""

    name: str
    """Name in recipes and results."""
    version: int = Field(ge=1)
    """Raised whenever a change makes old and new scores incomparable."""
    title: str
    """Words for tables."""
    description: str = ""
    """One sentence."""
    label: str
    """Array of the store that holds the truth: integer classes, or values in metres."""
    or_label: tuple[str, ...] = ()
    """Arrays of the same meaning in stores of other builders; the first that a store has is taken."""
    kind: Literal["classes", "values", "forecast"]
    """What the array holds; `forecast`: the index of windows of frames, for the predictive tasks of wfm."""
    columns: tuple[str, ...] = ()
    """Metrics that stand side by side in tables of predictive tasks."""
    classes: int | None = None
    """Number of classes; None takes the array's own list of classes."""
    only: Mapping[str, tuple[str, ...]] = {}
    """Samples that belong to the task: label arrays of the store and the classes of each that are kept, such as
    `{labels/mobility: [pedestrian, vehicular]}`. All others are left out and counted; classes of `label` that no kept
    sample has are none of the task's."""
    in_both: bool = False
    """Leave out classes that training and test do not both hold, such as those of a single recording."""
    primary: str
    """Metric that chooses on validation and fills tables."""
    within: str | None = None
    """Array whose groups the labels may not cross: the test part must not hold a group unknown to training."""
    baselines: tuple[str, ...]
    """Rows that stand beside every encoder: names of baselines, and `random` for the untrained encoder."""
    published: tuple[Mapping[str, Any], ...] = ()
    """Figures of the literature: system, protocol, metric, budget (labels or share of them), value, unit, source."""

    @model_validator(mode="after")
    def _known(self) -> Task:
        if self.primary not in METRICS:
            raise ValueError(f"primary: unknown metric {self.primary!r}; known: {', '.join(METRICS)}")
        if self.kind == "forecast" and self.name not in BESIDE_NAMES:
            raise ValueError(f"name: predictive tasks are {', '.join(BESIDE_NAMES)}")
        if wrong := [name for name in self.columns if name not in METRICS]:
            raise ValueError(f"columns: unknown metric {wrong[0]!r}; known: {', '.join(METRICS)}")
        rows = BESIDE_NAMES[self.name] if self.kind == "forecast" else BASELINES
        unknown = [name for name in self.baselines if name not in (*rows, RANDOM)]
        if unknown:
            raise ValueError(f"baselines: unknown {', '.join(unknown)}; known: {', '.join((*rows, RANDOM))}")
        if (self.only or self.in_both) and self.classes is not None:
            raise ValueError("classes: with `only` or `in_both`, classes are counted from the samples that are kept")
        if self.in_both and self.kind == "values":
            raise ValueError("in_both: values have no classes")
        wanted = {"system", "protocol", "metric", "budget", "value", "unit", "source"}
        for entry in self.published:
            if set(entry) != wanted:
                raise ValueError(f"published: every figure has exactly the keys {', '.join(sorted(wanted))}")
        return self

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        return METRICS[self.primary]


def load_task(name: str) -> Task:
    """A task by name, or from a YAML file of the user's.

    Args:
        name: `los`, `beam_64`, `position` ..., or a path that ends in `.yaml`; a family's file is followed by
            `:MEMBER`.

    Raises:
        InputError: There is no such task, or its file is wrong.
    """
    known = shipped_tasks()
    if name in known:
        return known[name]
    path, _, member = name.partition(".yaml:")
    if name.endswith(".yaml") or member:
        return _from_file(Path(path if not member else f"{path}.yaml"), member)
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"did you mean {', '.join(near)}? Known tasks: {', '.join(known)}" if near else f"known: {', '.join(known)}"
    raise InputError(f"task {name}: there is no such task", hint)


@cache
def shipped_tasks() -> Mapping[str, Task]:
    """The tasks that come with wfm, by name."""
    tasks = [task for path in sorted(FOLDER.glob("*.yaml")) for task in read_tasks(path)]
    return {task.name: task for task in tasks}


def read_tasks(path: Path) -> list[Task]:
    """Every task that a file describes.

    Raises:
        InputError: The file is missing, no YAML, or no task.
    """
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable task file ({' '.join(str(error).split())})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a task file is a mapping", "see the shipped tasks for an example")
    try:
        return [Task.model_validate(member) for member in _members(data)]
    except ValidationError as error:
        # An unknown key first: it is what a missing one was meant to be.
        first = min(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        field = ".".join(map(str, first["loc"])) or "task"
        words = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {field}: {words}", f"keys of a task: {', '.join(Task.model_fields)}") from None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: variants: {error}", "every {word} in the file is a key of `variants`") from None


def _from_file(path: Path, member: str) -> Task:
    tasks = {task.name: task for task in read_tasks(path)}
    if member in tasks:
        return tasks[member]
    if member or len(tasks) > 1:
        raise InputError(f"{path}: choose one of its tasks", f"{path}:NAME with NAME among {', '.join(tasks)}")
    return next(iter(tasks.values()))


def _members(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The mapping itself, or one mapping for every combination of its `variants`, braces filled."""
    data = dict(data)
    common = data.pop("published_by", None)
    if common is not None:
        data["published"] = [f for figure in data.get("published", ()) for f in _by_metric({**common, **figure})]
    variants = data.pop("variants", None)
    if variants is None:
        return [data]
    figures = data.pop("published", [])
    members = []
    for choice in itertools.product(*variants.values()):
        words: dict[str, Any] = {}
        for key, value in zip(variants, choice, strict=True):
            words |= value if isinstance(value, dict) else {key: value}
        member = {key: _fill(value, words) for key, value in data.items()}
        member["published"] = [f for figure in figures for f in _figures(figure, member["name"])]
        members.append(member)
    return members


def _by_metric(figure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One figure for each of its `values`, a mapping from metric to value, for all labels."""
    figure = dict(figure)
    values = figure.pop("values")
    return [
        {**figure, "metric": name, "value": value, "unit": METRICS[name].unit, "budget": "all"}
        for name, value in values.items()
    ]


def _fill(value: Any, words: Mapping[str, Any]) -> Any:
    """`value` with every `{word}` replaced; a text that is one brace alone takes the word's own type."""
    if isinstance(value, str):
        bare = value[1:-1] if value.startswith("{") and value.endswith("}") else ""
        return words[bare] if bare in words else value.format(**words)
    if isinstance(value, list):
        return [_fill(item, words) for item in value]
    if isinstance(value, dict):
        return {_fill(key, words): _fill(item, words) for key, item in value.items()}
    return value


def _figures(figure: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
    """Figures of one member of a family: `values` maps members to a value for each of `budgets`."""
    figure = dict(figure)
    budgets, values = figure.pop("budgets"), figure.pop("values")
    pairs = zip(budgets, values.get(member, ()), strict=member in values)
    return [{**figure, "budget": budget, "value": value} for budget, value in pairs]
