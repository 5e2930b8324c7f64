"""A run: what pretrain, probe and benchmark leave behind, one Zarr group.

    RUN.zarr/
      zarr.json                 attributes {"wfm_run": {...}}: kind, recipe, versions, status ...
      weights/{best,last}/      encoder ("encoder.*") and heads ("head.*") as flat tensors, see `save_weights`
      checkpoints/step_00000500/{model,optimizer,...}/
      curves/<name>/            one array per column, rows in step order
      results/<key>/            one group per finished unit of work
      features/<name>/          cached embeddings

Every write is atomic: a group is laid out beside its place and renamed into it, so a reader sees all of it or none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from wfm_cli.core.store.curves import EMPTY_GROUP, Curves, replace_bytes
from wfm_cli.errors import InputError, StoreError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
RUN_VERSION = 1
KEY = re.compile(r"[a-z0-9][a-z0-9._-]*")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a fresh folder beside `target`; on success it takes the target's place, on failure it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_group(path: Path, arrays: Mapping[str, Array], attrs: Mapping[str, Any]) -> None:
    """Write one Zarr group with whole arrays (names may hold `/`) and attributes, atomically."""
    with replacing(path) as folder:
        group = zarr.create_group(folder, attributes=dict(attrs))
        for name, values in arrays.items():
            group.create_array(name, data=np.ascontiguousarray(values), chunks=_chunks(values), compressors=None)
    _ensure_group(path.parent)


def _ensure_group(folder: Path) -> None:
    """Make `folder` a Zarr group unless it is a node or no part of a hierarchy (a bare folder outside a run)."""
    if not (folder / "zarr.json").exists() and (folder.parent / "zarr.json").exists():
        replace_bytes(folder / "zarr.json", EMPTY_GROUP)


def _chunks(values: Array) -> tuple[int, ...]:
    """Whole rows in chunks of about 16 MiB."""
    if values.ndim == 0:
        return ()
    row = max(1, int(np.prod(values.shape[1:], dtype=np.int64)) * values.itemsize)
    return (max(1, min(len(values), (16 << 20) // row)), *(max(1, size) for size in values.shape[1:]))


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], attrs: Mapping[str, Any] | None = None) -> None:
    """Write named tensors as one flat array per dtype; the group's `layout` says where each one lies.

    A model of hundreds of small tensors thus costs a handful of files. bfloat16 is stored as its 16 bits.
    """
    import torch

    flat: dict[str, list[Array]] = {}
    sizes: dict[str, int] = {}
    layout: dict[str, Any] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        kind = str(value.dtype).removeprefix("torch.")
        values = (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy().reshape(-1)
        layout[name] = {"dtype": kind, "offset": sizes.get(kind, 0), "shape": list(value.shape)}
        flat.setdefault(kind, []).append(values)
        sizes[kind] = sizes.get(kind, 0) + values.size
    write_group(path, {k: np.concatenate(v) for k, v in flat.items()}, {**(attrs or {}), "layout": layout})


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read what `save_tensors` wrote.

    Raises:
        StoreError: The folder holds no tensors or they do not fit their layout.
    """
    import torch

    try:
        group = zarr.open_group(path, mode="r")
        layout: dict[str, Any] = group.attrs["layout"]  # type: ignore[assignment]
        flat = {kind: _read(group, kind) for kind in {entry["dtype"] for entry in layout.values()}}
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(f"{path}: no readable tensors ({error})", "the run may be unfinished or damaged") from None
    tensors = {}
    for name, entry in layout.items():
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = flat[entry["dtype"]][entry["offset"] : entry["offset"] + count]
        if values.size != count:
            raise StoreError(f"{path}: tensor {name} is cut short", "restore the run from a copy")
        tensor = torch.from_numpy(values.copy())
        if entry["dtype"] == "bfloat16":
            tensor = tensor.view(torch.bfloat16)
        tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def tensor_attrs(path: Path) -> dict[str, Any]:
    """Attributes given to `save_tensors`."""
    attrs = dict(zarr.open_group(path, mode="r").attrs)
    attrs.pop("layout", None)
    return attrs


def _read(group: zarr.Group, name: str) -> Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return np.asarray(array[...])


@dataclass(frozen=True)
class Unit:
    """One finished unit of work of a run."""

    key: str
    attrs: dict[str, Any]
    path: Path

    def array(self, name: str) -> Array:
        """Whole array `name` of the unit."""
        return _read(zarr.open_group(self.path, mode="r"), name)


class Run:
    """Handle of a run. `Run.create` makes one, `Run.open` opens one."""

    def __init__(self, path: Path, attrs: dict[str, Any]) -> None:
        self.path = path
        self.attrs = attrs

    @classmethod
    def create(cls, path: Path, kind: str, recipe: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> Run:
        """Make an empty run.

        Raises:
            InputError: `path` exists and is not an empty folder.
        """
        from wfm_cli.core.provenance import versions

        refuse_non_empty(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, {"format_version": RUN_VERSION, "kind": kind, "status": "running", "complete": False})
        run.set_attrs(recipe=dict(recipe), versions=versions(), **(attrs or {}))
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run.

        Raises:
            StoreError: There is no run at `path`, or it was written by a newer version.
        """
        path = Path(path)
        try:
            attrs = json.loads((path / "zarr.json").read_text())["attributes"]["wfm_run"]
        except (OSError, ValueError, KeyError, TypeError):
            raise StoreError(
                f"{path}: not a run of wfm", "give the folder that wfm pretrain, probe, benchmark or import wrote"
            ) from None
        if attrs.get("format_version") != RUN_VERSION:
            raise StoreError(
                f"{path}: run format {attrs.get('format_version')}, this wfm reads {RUN_VERSION}", "update wfm-toolkit"
            )
        return cls(path, attrs)

    @property
    def kind(self) -> str:
        """`pretrain`, `probe`, `benchmark` or `import`."""
        return str(self.attrs["kind"])

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return bool(self.attrs.get("complete"))

    def set_attrs(self, **values: Any) -> None:
        """Merge attributes and write them atomically."""
        self.attrs = {**self.attrs, **values}
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"wfm_run": self.attrs}}
        replace_bytes(self.path / "zarr.json", json.dumps(document, indent=1, allow_nan=False).encode())

    def save_weights(
        self, tensors: Mapping[str, torch.Tensor], which: str, attrs: Mapping[str, Any] | None = None
    ) -> None:
        """Write weights under `best` or `last`.

        A run with weights names in its attributes what builds the encoder: `model` (its recipe block with every size),
        `sample_shape` (with the last re/im axis), `array` and `normalise` (of the store it was trained on).
        """
        save_tensors(self.path / "weights" / which, tensors, attrs)

    def load_weights(self, which: str | None = None) -> dict[str, torch.Tensor]:
        """Read weights: `which`, else the best, else the last.

        Raises:
            StoreError: The run has none.
        """
        for name in (which,) if which else ("best", "last"):
            if (self.path / "weights" / name / "zarr.json").is_file():
                return load_tensors(self.path / "weights" / name)
        raise StoreError(
            f"{self.path}: the {self.kind} run has no weights{f' {which!r}' if which else ''}",
            "let the pretraining end, or give a pretrain or import run",
        )

    def curve(self, name: str = "curves") -> Curves:
        """The training curves `name`."""
        return Curves(self.path / name)

    @property
    def curves(self) -> Curves:
        """The main training curves."""
        return self.curve()

    def write_unit(self, key: str, attrs: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Write the results of one unit; an earlier result of the same key is replaced."""
        if not KEY.fullmatch(key):
            raise ValueError(f"unit key {key!r} must match {KEY.pattern}")
        write_group(self.path / "results" / key, arrays, attrs)

    def has_unit(self, key: str) -> bool:
        """Whether unit `key` is there."""
        return (self.path / "results" / key / "zarr.json").is_file()

    def unit(self, key: str) -> Unit:
        """Unit `key`."""
        path = self.path / "results" / key
        try:
            return Unit(key, json.loads((path / "zarr.json").read_text())["attributes"], path)
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path}: no readable result ({error})", "run the command again with --resume") from None

    def units(self) -> Iterator[Unit]:
        """All units in the order of their keys."""
        folder = self.path / "results"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith(".") and (path / "zarr.json").is_file():
                yield self.unit(path.name)

    def cached(self, name: str, make: Callable[[], Array]) -> Array:
        """Array `features/<name>`, made and stored on first use."""
        path = self.path / "features" / name
        if not (path / "zarr.json").is_file():
            write_group(path, {"values": make()}, {})
        return _read(zarr.open_group(path, mode="r"), "values")


def refuse_non_empty(path: Path) -> None:
    """Raise `InputError` unless `path` is free or an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"{path}: the output folder is not empty",
            "choose another --out, remove the folder, or continue what is in it with --resume",
        )
