"""Three real cities against golden channels and labels that another program made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.core.signal.slow import relative_error, slow_channels
from wfm_cli.core.recipe.prepare import DeepMIMOSource
from wfm_cli.core.signal.channels import Rays
from wfm_cli.core.signal.codebook import beam_powers_db
from wfm_datasets.deepmimo import DeepMIMOBuilder

pytestmark = pytest.mark.real

CITIES = {
    # name: (base station, samples, LoS, NLoS)
    "city_18_denver": (3, 1354, 709, 645),
    "city_15_indianapolis": (3, 3248, 1647, 1601),
    "city_12_fortworth": (1, 1902, 1016, 886),
}
CODEBOOKS = [(n, grid) for n in (16, 32, 64, 128) for grid in ("closed", "open")]


@pytest.fixture(scope="module")
def cities(real_data):
    """The three cities, built once under the published settings."""
    folder = real_data / "deepmimo-v2"
    if not folder.is_dir():
        pytest.skip(f"real data: folder {folder} does not exist")
    source = DeepMIMOSource(
        scenarios=tuple(str(folder / name) for name in CITIES),
        bs={name: values[0] for name, values in CITIES.items()},
        beams=(16, 32, 64, 128),
        normalise="raw",
    )
    builder = DeepMIMOBuilder(source, seed=0)
    plan = builder.plan()
    return SimpleNamespace(plan=plan, rows=builder.rows(0, plan.samples, plan.state))


@pytest.fixture(scope="module")
def golden(real_data):
    """Golden arrays of the same cities in the same order."""
    file = real_data / "wavesfm" / "deepmimo_wavesfm_golden.npz"
    if not file.is_file():
        pytest.skip(f"real data: file {file} does not exist")
    with np.load(file) as archive:
        data = {key: archive[key] for key in archive.files}
    names = data["scenario_names"].tolist()
    order = np.concatenate([np.flatnonzero(data["scenario"] == names.index(name)) for name in CITIES])
    labels = {key: data[key][order] for key in data if key.startswith("label_") or key in ("los", "location")}
    known = np.flatnonzero(np.isin(data["sample_index"], order))
    row = {int(index): place for place, index in enumerate(order)}
    rows = np.array([row[int(index)] for index in data["sample_index"][known]])
    return SimpleNamespace(**labels, rows=rows, channels=data["sample_channels"][known])


def test_counts(cities):
    for name, (bs, samples, los, nlos) in CITIES.items():
        told = cities.plan.attrs["scenarios"][name]
        assert (told["bs"], told["samples"], told["los"], told["nlos"]) == (bs, samples, los, nlos)
        assert told["late_paths_dropped"] == 0
        assert told["max_delay_s"] < 1.3e-6
    assert cities.plan.samples == 6504


def test_channels_equal_the_golden_ones(cities, golden):
    assert len(golden.rows) == 36
    assert relative_error(cities.rows["channel"][golden.rows], golden.channels.astype(np.complex128)) < 2e-5


def test_channels_equal_the_double_sum(cities):
    chosen = slice(0, None, 40)
    rays = Rays(
        *(cities.plan.state[k][chosen] for k in ("power_db", "phase_deg", "delay_s", "aod_az_deg", "aod_el_deg"))
    )
    truth = slow_channels(rays, 32, 32, 30e3, (0, 0, -135))
    assert relative_error(cities.rows["channel"][chosen], truth) < 1e-6


def test_los_and_positions_equal_the_golden_ones(cities, golden):
    made = {spec.name: values for spec, values in cities.plan.columns}
    np.testing.assert_array_equal(made["labels/los"], golden.los)
    np.testing.assert_array_equal(made["meta/position"], golden.location)


@pytest.mark.parametrize(("n", "grid"), CODEBOOKS)
def test_beam_labels_differ_from_the_golden_ones_by_rounding_ties_alone(cities, golden, n, grid):
    mine = cities.rows[f"labels/beam_{n}" + ("_half" if grid == "open" else "")]
    theirs = getattr(golden, f"label_beam_{n}_{grid}")
    differ = np.flatnonzero(mine != theirs)
    assert len(differ) <= 0.001 * len(mine)
    powers = beam_powers_db(cities.rows["channel"][differ], n, "closed" if grid == "closed" else "half_open")
    # A rounding tie: moving every power by the float32 noise of the other program (0.001 dB) gives its label.
    shifted = powers - 1e-3
    shifted[np.arange(len(differ)), theirs[differ]] += 2e-3
    np.testing.assert_array_equal(np.round(shifted, 1).argmax(axis=1), theirs[differ])


def test_random_split_of_real_cities_leaks_and_city_split_does_not(cities):
    told = cities.plan.attrs["splits"]
    assert told["default"] == "city"
    assert told["available"]["city"]["leak"]["share"] == 0.0
    assert told["available"]["random"]["leak"]["share"] > 0.95
    assert told["available"]["city"]["test"] == 1902
