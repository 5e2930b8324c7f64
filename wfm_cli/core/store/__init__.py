"""Stores: prepared data sets, one sharded Zarr v3 group each.

Writing, part by part, resumable and safe against concurrent writers (`parts`):

    init(recipe, out) -> load(out, part=(i, n), workers=...) -> finalise(out);  parts.run(recipe, out) does all three
    status(out), verify(out)

Reading:

    store = open_store(path)            refuses what is unfinished or damaged
    store.read("labels/los")            a whole array
    store.rows("channel").take(idx)     arbitrary rows
    BatchLoader(store, "channel", store.indices("train"), 256, seed=0).iterate(0, 1000)

Builders describe their arrays with `ArraySpec` and `BuildPlan` and implement the `Builder` protocol.
"""

from wfm_cli.core.store.build import BUILDERS, Builder, BuildPlan, load_builder
from wfm_cli.core.store.loader import Batch, BatchLoader
from wfm_cli.core.store.parts import Status, VerifyReport, finalise, init, load, status, verify
from wfm_cli.core.store.reader import Store, open_store
from wfm_cli.core.store.rows import RowReader
from wfm_cli.core.store.schema import FORMAT_VERSION, ArraySpec

__all__ = [
    "BUILDERS",
    "FORMAT_VERSION",
    "ArraySpec",
    "Batch",
    "BatchLoader",
    "BuildPlan",
    "Builder",
    "RowReader",
    "Status",
    "Store",
    "VerifyReport",
    "finalise",
    "init",
    "load",
    "load_builder",
    "open_store",
    "status",
    "verify",
]
