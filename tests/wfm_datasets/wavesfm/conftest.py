"""Every fake data set, written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import wavesfm as fakes
from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_datasets.wavesfm import WavesFMBuilder

Make = Callable[..., WavesFMBuilder]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Path of the fake data set of every task."""
    folder = tmp_path_factory.mktemp("raw")
    pickle = folder / "RML22.01A"
    pickle.write_bytes(fakes.python2_pickle(fakes.rml_arrays()))
    return {
        "sensing": fakes.ntu_fi(folder / "NTU-Fi_HAR", 1),
        "rfs": fakes.commrad(folder / "commrad"),
        "pos": fakes.positioning(folder / "pos"),
        "radcom": fakes.radcom(folder / "RadComOta2.45GHz.hdf5"),
        "rml": pickle,
        "rfp": fakes.powder(folder / "powder"),
        "interf": fakes.icarus(folder / "icarus"),
        "uwb-indoor": fakes.uwb_indoor(folder / "uwb"),
        "uwb-industrial": fakes.uwb_industrial(folder / "hall"),
    }


@pytest.fixture
def builder(raw: dict[str, Path]) -> Make:
    """A builder of a task, of its fake data set unless paths are given."""

    def make(task: str, *paths: Path | str, **fields: object) -> WavesFMBuilder:
        where = tuple(map(str, paths)) or (str(raw[task]),)
        source = WavesFMSource.model_validate({"task": task, "paths": where, "size": 16, **fields})
        return WavesFMBuilder(source, seed=0)

    return make
