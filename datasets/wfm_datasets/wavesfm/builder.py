"""The builder: picks the reader of the task, makes the splits and says what each of them gives away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.recipe.base import Strict
from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.core.store import splits
from wfm_cli.core.store.build import BuildPlan
from wfm_cli.errors import InputError
from wfm_datasets.wavesfm.icarus import IcarusReader
from wfm_datasets.wavesfm.nr_position import PositionReader
from wfm_datasets.wavesfm.powder import PowderReader
from wfm_datasets.wavesfm.radcom import RadComReader
from wfm_datasets.wavesfm.rf_images import ImageReader
from wfm_datasets.wavesfm.rml import RMLReader
from wfm_datasets.wavesfm.scan import Column, Reader, Scan
from wfm_datasets.wavesfm.sensing import SensingReader
from wfm_datasets.wavesfm.uwb_indoor import IndoorReader
from wfm_datasets.wavesfm.uwb_industrial import IndustrialReader

READERS: Mapping[str, Callable[[WavesFMSource], Reader]] = {
    "sensing": SensingReader,
    "rfs": ImageReader,
    "pos": PositionReader,
    "radcom": RadComReader,
    "rml": RMLReader,
    "rfp": PowderReader,
    "interf": IcarusReader,
    "uwb-indoor": IndoorReader,
    "uwb-industrial": IndustrialReader,
}
"""Readers by the name of the task, as WavesFM calls it."""
PUBLISHED = "published"
"""Name of the split that follows the papers: single samples at random."""


class WavesFMBuilder:
    """Builds one input array (`csi`, `spectrogram`, `iq` or `cir`), `labels/*`, `meta/*` and `split/*`."""

    def __init__(self, source: Strict, seed: int) -> None:
        if not isinstance(source, WavesFMSource):
            raise TypeError(f"WavesFMBuilder needs a WavesFMSource, got {type(source).__name__}")
        self.source = source
        self.seed = seed
        self.reader = READERS[source.task](source)

    def plan(self) -> BuildPlan:
        """Look at the files and lay out the store.

        Raises:
            InputError: see `Reader.scan`; or a split that cannot be made.
        """
        scan = self.reader.scan()
        made = self._splits(scan)
        default = self._default(scan, list(made))
        kept, group = next(iter(scan.groups.items()))
        columns: list[Column] = [*scan.columns, *((splits.column(name), values) for name, values in made.items())]
        return BuildPlan(
            kind=scan.kind,
            samples=len(scan.stratum),
            arrays=(scan.array,),
            columns=tuple(columns),
            sources=scan.sources,
            attrs={
                "input": scan.array.name,
                "task": self.source.task,
                "conventions": dict(scan.attrs),
                "splits": {
                    "default": default,
                    "available": {name: splits.describe_groups(group, split, kept) for name, split in made.items()},
                },
            },
            state={**scan.state, "input": np.array([scan.array.name])},
        )

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The input array of samples [start, stop)."""
        with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite, which the writer refuses
            return {str(state["input"][0]): self.reader.rows(start, stop, state)}

    def _splits(self, scan: Scan) -> dict[str, splits.Split]:
        """Every split in which no part is empty."""
        fractions, seed = self.source.fractions, [self.seed, self.source.split_seed]
        made = {name: splits.group_split(group, scan.stratum, fractions, seed) for name, group in scan.groups.items()}
        group = next(iter(scan.groups.values()))
        for name, test in scan.held_out.items():
            made[name] = splits.hold_out(
                test,
                fractions,
                lambda rest, inner: splits.group_split(group[rest], scan.stratum[rest], inner, seed),
            )
        made[PUBLISHED] = splits.random_split(len(group), fractions, seed)
        return splits.whole(made)

    def _default(self, scan: Scan, possible: list[str]) -> str:
        wanted = self.source.split
        if wanted is not None and wanted not in possible:
            raise InputError(
                f"split: '{wanted}' cannot be made of these files", f"possible: {', '.join(possible) or 'none'}"
            )
        # Never the leaking split by default: a store too small for a group split asks for more files.
        honest = [name for name in possible if name != PUBLISHED]
        if wanted is None and not honest:
            names = ", ".join(scan.groups)
            raise InputError(
                f"split: too few groups ({names}) for train, validation and test",
                f"give more files, or ask for split: {PUBLISHED}" if possible else "give more files",
            )
        return wanted or (scan.default if scan.default in honest and scan.default is not None else honest[0])
