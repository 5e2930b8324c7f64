"""The plan of a build as it lies beside the data until the build is finished.

    OUT/zarr.json                    group, attribute wfm.complete = false
    OUT/<array>/zarr.json, c.0.0 ... arrays and their shards
    OUT/_wfm/plan.json               everything a worker needs, plus the digest that tells two builds apart
    OUT/_wfm/state/NAME.npy          the builder's private arrays
    OUT/_wfm/parts/000012.json       one marker per finished part

Nothing here holds a time, a host or a path of its own: two builds of one recipe end byte-identical.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli._version import __version__
from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store.build import Builder, BuildPlan, builder_target
from wfm_cli.core.store.files import canonical, read_json
from wfm_cli.core.store.schema import FORMAT_VERSION, JSON, ArraySpec, Grid, grid, rows_per_shard
from wfm_cli.errors import StoreError

BUILD = "_wfm"
"""Folder of an unfinished build."""

_NOT_DATA = ("name", "description")
"""Keys of a recipe that change nothing in the data."""


@dataclass(frozen=True)
class StoredPlan:
    """What `_wfm/plan.json` holds."""

    kind: str
    builder: str
    samples: int
    rows_per_part: int
    arrays: tuple[ArraySpec, ...]
    columns: tuple[ArraySpec, ...]
    digests: Mapping[str, str]
    """SHA-256 of every column and of every state array."""
    sources: tuple[Mapping[str, JSON], ...]
    attrs: Mapping[str, JSON]
    recipe: Mapping[str, JSON]
    versions: Mapping[str, str]
    records: Mapping[str, list[JSON]]
    """Checksums and statistics of the columns' shards, known since they were written."""
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Rows of the tables."""

    @property
    def parts(self) -> int:
        """Number of parts of the build."""
        return -(-self.samples // self.rows_per_part)

    @property
    def seed(self) -> int:
        """Seed of the build."""
        return int(self.recipe["seed"])

    def rows(self, part: int) -> tuple[int, int]:
        """Row range [start, stop) of one part."""
        start = part * self.rows_per_part
        return start, min(start + self.rows_per_part, self.samples)

    @property
    def bytes(self) -> int:
        """Bytes of all arrays, before compression."""
        return sum(self.length(spec) * spec.row_bytes for spec in (*self.arrays, *self.columns))

    def length(self, spec: ArraySpec) -> int:
        """Rows of an array: the samples, or a table's own."""
        return self.lengths.get(spec.name, self.samples)

    def grid(self, spec: ArraySpec) -> Grid:
        """How the rows of an array are cut."""
        layout = self.recipe["layout"]
        rows = self.rows_per_part
        if all(spec.name != made.name for made in self.arrays):
            rows = rows_per_shard([spec], self.length(spec), layout["shard_mib"], layout["chunk_mib"])
        return grid(spec, rows, layout["chunk_mib"], layout["compression"])

    @property
    def identity(self) -> dict[str, JSON]:
        """What makes two builds the same build."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "samples": self.samples,
            "arrays": [spec.to_json() for spec in self.arrays],
            "columns": [spec.to_json() for spec in self.columns],
            "digests": dict(self.digests),
            "sources": [dict(source) for source in self.sources],
            "attrs": dict(self.attrs),
            "recipe": {key: value for key, value in self.recipe.items() if key not in _NOT_DATA},
            **({"lengths": dict(self.lengths)} if self.lengths else {}),
        }

    @property
    def sha256(self) -> str:
        """Digest of the identity."""
        return hashlib.sha256(canonical(self.identity)).hexdigest()

    def to_json(self) -> dict[str, JSON]:
        """As written to `plan.json`."""
        specs = {"arrays": [s.to_json() for s in self.arrays], "columns": [s.to_json() for s in self.columns]}
        return {**asdict(self), **specs, "format_version": FORMAT_VERSION, "plan_sha256": self.sha256}

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> StoredPlan:
        """The inverse of `to_json`."""
        values = {key: value for key, value in data.items() if key not in ("format_version", "plan_sha256")}
        for key in ("arrays", "columns"):
            values[key] = tuple(ArraySpec.from_json(spec) for spec in data[key])
        values["sources"] = tuple(data["sources"])
        return cls(**values)

    def with_records(self, records: Mapping[str, list[JSON]]) -> StoredPlan:
        """The same plan after its columns have been written."""
        return replace(self, records=records)


def make_plan(recipe: PrepareRecipe, plan: BuildPlan) -> StoredPlan:
    """Join what the recipe says with what the builder found."""
    resolved = recipe.model_dump(mode="json")
    layout = recipe.layout
    columns = {f"column:{spec.name}": values for spec, values in plan.columns}
    state = {f"state:{key}": values for key, values in plan.state.items()}
    return StoredPlan(
        kind=plan.kind,
        builder=builder_target(recipe.source.kind),
        samples=plan.samples,
        rows_per_part=rows_per_shard(plan.arrays, plan.samples, layout.shard_mib, layout.chunk_mib),
        arrays=plan.arrays,
        columns=tuple(spec for spec, _ in plan.columns),
        digests={key: _digest(values) for key, values in {**columns, **state}.items()},
        sources=plan.sources,
        attrs=plan.attrs,
        recipe=resolved,
        versions={"wfm": __version__, "python": platform.python_version(), "numpy": np.__version__},
        records={},
        lengths={spec.name: len(values) for spec, values in plan.columns if spec.is_table},
    )


def _digest(values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_plan(out: Path) -> StoredPlan:
    """The plan of the unfinished build in `out`.

    Raises:
        StoreError: there is none, or another version of wfm began it.
    """
    path = out / BUILD / "plan.json"
    if not path.is_file():
        what = "holds no unfinished build" if out.exists() else "does not exist"
        raise StoreError(f"{out}: {what}", "begin one with `wfm prepare init RECIPE --out ...`")
    data = read_json(path)
    if data.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: build of format version {data.get('format_version')}, this wfm writes {FORMAT_VERSION}",
            "finish it with the version of wfm that began it, or remove the folder and start again",
        )
    return StoredPlan.from_json(data)


def source_of(plan: StoredPlan, builder: type[Builder]) -> Strict:
    """The source block of the plan's recipe as the model that the builder expects."""
    model: type[Strict] | None = getattr(builder, "source_model", None)
    if model is not None:
        return model.model_validate_json(canonical(plan.recipe["source"]))
    return PrepareRecipe.model_validate_json(canonical(plan.recipe)).source


def differences(there: JSON, here: JSON, path: str = "") -> Iterator[str]:
    """Lines such as `source.antennas is 32 there and 64 here` for two JSON values."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted({*there, *here}):
            yield from differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for number, (left, right) in enumerate(zip(there, here, strict=True)):
            yield from differences(left, right, f"{path}[{number}]")
    elif there != here:
        yield f"{path} is {_short(there)} there and {_short(here)} here"


def _short(value: JSON) -> str:
    text = canonical(value).decode()
    return text if len(text) <= 40 else f"{text[:37]}..."
