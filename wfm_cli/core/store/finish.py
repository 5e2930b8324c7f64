"""The last step of a build, and the group attributes that tell a finished store from an unfinished one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from wfm_cli.core.store.files import PARTIAL, canonical, read_json, write_json
from wfm_cli.core.store.moments import Moments
from wfm_cli.core.store.plan import BUILD, StoredPlan
from wfm_cli.core.store.schema import FORMAT, FORMAT_VERSION, JSON, group_metadata
from wfm_cli.errors import StoreError

PROVENANCE = "provenance"
"""Group of a finished store whose attributes keep the plan and every checksum."""

PARTS = ("train", "val", "test")
"""Values 0, 1, 2 of a split."""


def group_attributes(plan: StoredPlan, finished: Mapping[str, JSON] | None = None) -> dict[str, JSON]:
    """Attributes of the root group; `finished` is what only a complete store can say."""
    begun = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "complete": finished is not None,
        "kind": plan.kind,
        "builder": plan.builder,
        "samples": plan.samples,
        "parts": plan.parts,
        "plan_sha256": plan.sha256,
    }
    # The builder's own attributes come first: they can never overwrite what the format defines.
    return {"wfm": {**plan.attrs, **begun, **(finished or {})}}


def read_group(path: Path) -> dict[str, JSON]:
    """The `wfm` attribute of a store, finished or not.

    Raises:
        StoreError: not a store of a version that this wfm reads.
    """
    if not path.exists():
        raise StoreError(f"{path}: does not exist", "check the path; `wfm prepare` makes stores")
    if not path.is_dir():
        raise StoreError(f"{path}: is a file; a store is a folder", "give the folder that `wfm prepare` wrote")
    if not (path / "zarr.json").exists():
        old = (path / ".zgroup").exists() or (path / ".zarray").exists()
        what = "is a Zarr v2 folder" if old else "is not a store (it has no zarr.json)"
        raise StoreError(f"{path}: {what}", "stores are made by `wfm prepare`")
    attributes = read_json(path / "zarr.json").get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    wfm = attributes.get("wfm")
    if not isinstance(wfm, dict) or wfm.get("format") != FORMAT:
        what = "is a run, not a store" if "wfm_run" in attributes else "is a Zarr folder that wfm has not written"
        raise StoreError(f"{path}: {what}", "stores are made by `wfm prepare`")
    if wfm.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: store of format version {wfm.get('format_version')}; this wfm reads version {FORMAT_VERSION}",
            "use a wfm that knows this version, or prepare the store again",
        )
    return wfm


def is_complete(path: Path) -> bool:
    """Whether a finished store stands at `path`."""
    try:
        return read_group(path).get("complete") is True
    except StoreError:
        return False


def complete(out: Path, plan: StoredPlan, markers: Sequence[Path]) -> None:
    """Merge the markers, write the provenance, flip `complete` last, then remove the build folder."""
    parts = [read_json(marker)["arrays"] for marker in markers]
    records = {spec.name: [part[spec.name] for part in parts] for spec in plan.arrays} | dict(plan.records)
    for leftover in out.rglob(f"*{PARTIAL}"):
        leftover.unlink(missing_ok=True)
    (out / PROVENANCE).mkdir(exist_ok=True)
    kept = {"plan": {**plan.to_json(), "records": {}}, "records": records}
    write_json(out / PROVENANCE / "zarr.json", group_metadata({"wfm": kept}))
    finished = {
        "arrays": [spec.name for spec in (*plan.arrays, *plan.columns)],
        "bytes": plan.bytes,
        "recipe": dict(plan.recipe),
        "data_sha256": data_digest(plan, records),
        "sources": list(plan.sources),
        "versions": dict(plan.versions),
        "statistics": {name: merged(pieces).summary() for name, pieces in records.items()},
        "splits": _splits(plan, out),
    }
    write_json(out / "zarr.json", group_metadata(group_attributes(plan, finished)))
    shutil.rmtree(out / BUILD, ignore_errors=True)


def merged(records: Sequence[Mapping[str, JSON]]) -> Moments:
    """Statistics of an array from those of its shards, in their order."""
    moments = Moments()
    for record in records:
        moments.merge(Moments.from_json(record))
    return moments


def data_digest(plan: StoredPlan, records: Mapping[str, Sequence[Mapping[str, JSON]]]) -> str:
    """SHA-256 over name, dtype, shape and the chunk checksums of every array, in order."""
    digest = hashlib.sha256()
    for spec in (*plan.arrays, *plan.columns):
        sums = [record["crc32c"] for record in records[spec.name]]
        digest.update(canonical([spec.name, spec.dtype, plan.length(spec), list(spec.shape), sums]))
    return digest.hexdigest()


def _splits(plan: StoredPlan, out: Path) -> dict[str, JSON]:
    """Complete what the builder says about its splits (default, leaks) with the counts of every part."""
    from wfm_cli.core.store.direct import read_whole  # reading belongs to another layer; needed for these columns alone

    given = plan.attrs.get("splits", {})
    available = {}
    for spec in plan.columns:
        family, _, name = spec.name.partition("/")
        if family == "split":
            values = read_whole(out / spec.name)
            counts = {part: int((values == number).sum()) for number, part in enumerate(PARTS)}
            available[name] = counts | given.get("available", {}).get(name, {})
    return {"default": given.get("default", next(iter(available), None)), "available": available}
