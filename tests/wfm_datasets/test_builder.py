"""The builder from folders to arrays, and through the store engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from tests.core.signal.slow import relative_error, slow_channels
from tests.fakes.deepmimo import fake_rays, write_mat, write_v4
from wfm_cli.core.recipe.prepare import DeepMIMOSource, PrepareRecipe
from wfm_cli.core.signal.channels import Rays
from wfm_cli.core.signal.codebook import beam_labels
from wfm_cli.core.signal.power import log_power_db
from wfm_cli.core.store import parts
from wfm_cli.core.store.build import check_rows, load_builder
from wfm_cli.core.store.reader import open_store
from wfm_cli.core.store.verify import verify
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo import DeepMIMOBuilder
from wfm_datasets.deepmimo.scenario import EMBEDDED_FOLDER

SMALL = {"antennas": 8, "subcarriers": 4, "beams": (16, 32), "block_m": 6.0}


@pytest.fixture
def folders(tmp_path):
    """Two cities of unlike size and path count, one in each layout."""
    one = write_mat(tmp_path / "city_1", {1: fake_rays(90, paths=4)}, pieces=2)
    two = write_v4(tmp_path / "city_2", [fake_rays(60, paths=7, seed=1)], frequency=28e9)
    return str(one), str(two)


def planned(*scenarios, **kwargs):
    builder = DeepMIMOBuilder(DeepMIMOSource(scenarios=scenarios, **(SMALL | kwargs)), seed=0)
    plan = builder.plan()
    return plan, builder.rows(0, plan.samples, plan.state)


def columns(plan):
    return {spec.name: values for spec, values in plan.columns}


def test_is_found_by_name():
    assert load_builder("deepmimo") is DeepMIMOBuilder


def test_plan_and_rows_are_what_they_promise(folders):
    plan, rows = planned(*folders)
    assert {spec.name for spec in plan.arrays} == set(rows)
    for spec in plan.arrays:
        check_rows(spec, rows[spec.name], plan.samples)
    assert set(rows) == {
        "channel", "meta/log_power_db",
        *(f"labels/beam_{n}{half}" for n in (16, 32) for half in ("", "_half")),
    }  # fmt: skip
    assert set(columns(plan)) == {
        "labels/los", "meta/position", "meta/scenario", "meta/path_count",
        "split/city", "split/spatial", "split/random",
    }  # fmt: skip
    assert plan.kind == "channel"
    json.dumps([plan.attrs, plan.sources, [spec.to_json() for spec in plan.arrays]], allow_nan=False)


def test_served_users_of_all_scenarios_become_samples(folders):
    plan, _ = planned(*folders)
    truth = [fake_rays(90, paths=4), fake_rays(60, paths=7, seed=1)]
    served = [rays.present.any(axis=1) for rays in truth]
    made = columns(plan)
    assert plan.samples == sum(int(s.sum()) for s in served)
    for name, wanted in (
        ("labels/los", [rays.los for rays in truth]),
        ("meta/position", [rays.rx_pos for rays in truth]),
        ("meta/path_count", [rays.present.sum(axis=1) for rays in truth]),
        ("meta/scenario", [np.full(90, 0), np.full(60, 1)]),
    ):
        np.testing.assert_array_equal(made[name], np.concatenate([w[s] for w, s in zip(wanted, served, strict=True)]))
    for number, (name, frequency) in enumerate((("city_1", 3.5e9), ("city_2", 28e9))):
        told = plan.attrs["scenarios"][name]
        assert told["users"] == len(served[number])
        assert told["no_path"] == int((~served[number]).sum())
        assert told["los"] + told["nlos"] == told["samples"] == int(served[number].sum())
        assert told["los"] == int(truth[number].los.sum())
        assert (told["frequency_hz"], told["bs"], told["place"]) == (frequency, 1, number)
        assert told["max_delay_s"] == pytest.approx(np.nanmax(truth[number].delay))
    assert len(plan.sources) == 3 + 9


@pytest.mark.parametrize("rotation", [(0.0, 0.0, -135.0), (10.0, 20.0, 30.0)])
def test_channels_are_the_double_sum_and_labels_follow_from_the_raw_channel(folders, rotation):
    plan, raw = planned(*folders, normalise="raw", rotation_deg=rotation)
    rays = Rays(*(plan.state[k] for k in ("power_db", "phase_deg", "delay_s", "aod_az_deg", "aod_el_deg")))
    truth = slow_channels(rays, 8, 4, 30e3, rotation)
    assert relative_error(raw["channel"], truth) < 1e-6
    for n in (16, 32):
        np.testing.assert_array_equal(raw[f"labels/beam_{n}"], beam_labels(raw["channel"], n))
        np.testing.assert_array_equal(raw[f"labels/beam_{n}_half"], beam_labels(raw["channel"], n, "half_open"))
    np.testing.assert_array_equal(raw["meta/log_power_db"], log_power_db(raw["channel"]))


def test_normalisation_changes_the_channel_alone(folders):
    (_, raw), (_, published), (plan, unit) = (planned(*folders, normalise=n) for n in ("raw", "published", "power"))
    np.testing.assert_allclose(published["channel"], raw["channel"] * 1e6, rtol=1e-6)
    np.testing.assert_allclose((np.abs(unit["channel"]) ** 2).mean(axis=(1, 2)), 1, rtol=1e-5)
    scale = 10 ** (raw["meta/log_power_db"] / 20)
    np.testing.assert_allclose(unit["channel"] * scale[:, None, None], raw["channel"], rtol=1e-4, atol=1e-12)
    for name in set(raw) - {"channel"}:
        np.testing.assert_array_equal(raw[name], published[name])
        np.testing.assert_array_equal(raw[name], unit[name])
    assert plan.arrays[0].attrs["normalise"] == plan.attrs["conventions"]["normalise"] == "power"


def test_parts_are_rows_of_the_whole(folders):
    plan, whole = planned(*folders)
    builder = DeepMIMOBuilder(DeepMIMOSource(scenarios=folders, **SMALL), seed=0)
    for start, stop in ((0, 1), (7, 50), (plan.samples - 3, plan.samples)):
        part = builder.rows(start, stop, plan.state)
        np.testing.assert_allclose(part["channel"], whole["channel"][start:stop], rtol=1e-4, atol=1e-9)
        np.testing.assert_array_equal(part["labels/beam_16"], whole["labels/beam_16"][start:stop])


def test_first_paths_are_kept_and_the_cut_is_told(folders):
    plan, _ = planned(folders[0], paths=2)
    rays = fake_rays(90, paths=4)
    assert plan.state["power_db"].shape[1] == 2
    assert columns(plan)["meta/path_count"].max() == 2
    told = plan.attrs["scenarios"]["city_1"]
    assert told["users_cut_to_max_paths"] == int((rays.present.sum(axis=1) > 2).sum())
    power = np.where(rays.present, 10 ** (np.nan_to_num(rays.power) / 10), 0)
    power = power[rays.present.any(axis=1)]
    share = power[:, 2:].sum(axis=1) / power.sum(axis=1)
    assert told["largest_power_share_cut"] == pytest.approx(share.max(), rel=1e-4)


def test_late_paths_are_refused_or_dropped_and_counted(tmp_path):
    rays = fake_rays(30, paths=4, no_path=0.0)
    rays = rays.with_value("delay", 3, 40e-6).with_value("delay", 5, 50e-6, path=0)
    folder = str(write_v4(tmp_path / "s", [rays]))
    with pytest.raises(InputError, match=r"2 paths have a delay of 33.33 us .* the largest 50 us") as caught:
        planned(folder)
    assert caught.value.hint is not None
    assert "spacing_khz below 20" in caught.value.hint
    plan, rows = planned(folder, late_paths="drop")
    told = plan.attrs["scenarios"]["s"]
    alone = int((rays.present[[3, 5]].sum(axis=1) == 1).sum())
    assert (told["late_paths_dropped"], told["only_late_paths"], told["no_path"]) == (2, alone, 0)
    assert plan.samples == 30 - alone
    assert np.isfinite(rows["meta/log_power_db"]).all()
    assert planned(folder, spacing_khz=15.0)[0].attrs["scenarios"]["s"]["late_paths_dropped"] == 0
    with pytest.raises(InputError, match="every path of base station 1 arrives after"):
        planned(str(write_v4(tmp_path / "t", [_all_late(rays)])), late_paths="drop")


def _all_late(rays):
    for user, path in zip(*np.nonzero(rays.present), strict=True):
        rays = rays.with_value("delay", user, 1e-3, path)
    return rays


def test_base_stations_by_name(tmp_path):
    stations = {1: fake_rays(40), 2: fake_rays(40, no_path=0.4)}
    one, two = (str(write_mat(tmp_path / name, stations)) for name in ("city_1", "city_2"))
    plan, _ = planned(one, two, bs={"city_1": 2, "city_2": 1})
    assert [plan.attrs["scenarios"][name]["bs"] for name in ("city_1", "city_2")] == [2, 1]
    with pytest.raises(InputError, match="bs: no scenario is called 'city_3'") as caught:
        planned(one, two, bs={"city_1": 2, "city_2": 1, "city_3": 1})
    assert "did you mean" in str(caught.value.hint)
    with pytest.raises(InputError, match="bs: no base station is given for scenario 'city_2'"):
        planned(one, two, bs={"city_1": 2})
    with pytest.raises(InputError, match="two scenarios are called 'city_1'"):
        planned(one, one + "/")
    # A link gives a folder a second name: two base stations of one place in one store, never split by city.
    (tmp_path / "city_1_again").symlink_to(one)
    plan, _ = planned(one, str(tmp_path / "city_1_again"), bs={"city_1": 1, "city_1_again": 2})
    assert [entry["place"] for entry in plan.attrs["scenarios"].values()] == [0, 0]
    assert "city" not in plan.attrs["splits"]["available"]


def test_splits_are_stored_with_sizes_and_leaks(folders):
    plan, _ = planned(*folders)
    told = plan.attrs["splits"]
    assert told["default"] == "city"
    assert list(told["available"]) == ["city", "spatial", "random"]
    number = columns(plan)["meta/scenario"]
    for name, entry in told["available"].items():
        values = columns(plan)[f"split/{name}"]
        assert [entry[part] for part in ("train", "val", "test")] == np.bincount(values, minlength=3).tolist()
        assert 0 <= entry["leak"]["share"] <= 1
    city = columns(plan)["split/city"]
    np.testing.assert_array_equal(city == 2, number == 1)  # the last scenario is held out
    held = columns(planned(*folders, test_city="city_1")[0])["split/city"]
    np.testing.assert_array_equal(held == 2, number == 0)
    assert planned(*folders, split="random")[0].attrs["splits"]["default"] == "random"
    assert planned(folders[0])[0].attrs["splits"]["default"] == "spatial"


def test_seeds_of_recipe_and_split(folders):
    source = DeepMIMOSource(scenarios=folders, **SMALL)
    first = columns(DeepMIMOBuilder(source, seed=0).plan())["split/random"]
    np.testing.assert_array_equal(first, columns(DeepMIMOBuilder(source, seed=0).plan())["split/random"])
    assert (first != columns(DeepMIMOBuilder(source, seed=1).plan())["split/random"]).any()
    other = DeepMIMOSource(scenarios=folders, **SMALL, split_seed=1)
    assert (first != columns(DeepMIMOBuilder(other, seed=0).plan())["split/random"]).any()


def test_two_bands_of_one_place_are_not_a_city_split():
    plan, _ = planned("embedded:canyon_3p5", "embedded:canyon_28", block_m=20.0)
    assert plan.attrs["splits"]["default"] == "spatial"
    assert "city" not in plan.attrs["splits"]["available"]
    spatial = columns(plan)["split/spatial"]
    np.testing.assert_array_equal(spatial[:2162], spatial[2162:])
    with pytest.raises(InputError, match="split: 'city' needs scenarios of two places") as caught:
        planned("embedded:canyon_3p5", "embedded:canyon_28", split="city")
    assert caught.value.hint == "possible: spatial, random"


def test_impossible_choices(folders, tmp_path):
    with pytest.raises(InputError, match="'spatial' leaves a part without users at blocks of 1000 m"):
        planned(*folders, split="spatial", block_m=1000.0)
    with pytest.raises(InputError, match="test_city: no scenario is called 'citi_1'") as caught:
        planned(*folders, test_city="citi_1")
    assert caught.value.hint == "did you mean 'city_1'?"
    with pytest.raises(InputError, match="test_city: without 'city_1' nothing is left to train on"):
        planned(folders[0], test_city="city_1")
    with pytest.raises(InputError, match="2 users are too few"):
        planned(str(write_mat(tmp_path / "few", {1: fake_rays(2, no_path=0.0)})))


@pytest.mark.parametrize(
    "wrong", [{"beams": (16, 16)}, {"beams": (1,)}, {"fractions": (0.5, 0.5, 0.0)}, {"fractions": (0.5, 0.3, 0.3)}]
)
def test_recipe_refuses(wrong):
    with pytest.raises(ValidationError):
        DeepMIMOSource(scenarios=("x",), **wrong)


def test_embedded_scenarios():
    size = sum(file.stat().st_size for file in EMBEDDED_FOLDER.rglob("*") if file.is_file())
    assert size < 6e6
    for name, frequency in (("canyon_3p5", 3.5e9), ("canyon_28", 28e9)):
        plan, rows = planned(f"embedded:{name}", antennas=32, subcarriers=8)
        told = plan.attrs["scenarios"][name]
        assert (told["samples"], told["frequency_hz"]) == (2162, frequency)
        assert told["nlos"] / told["samples"] == pytest.approx(0.55, abs=0.01)
        assert told["los_not_first_path"] == 0
        assert all(record["path"].startswith(f"embedded:{name}/") for record in plan.sources)
        assert len(np.unique(rows["labels/beam_16"])) >= 8


def test_through_the_store_engine(folders, tmp_path):
    recipe = PrepareRecipe(source=DeepMIMOSource(scenarios=folders, **SMALL))
    parts.run(recipe, tmp_path / "s.zarr", progress=False)
    assert not verify(tmp_path / "s.zarr").problems
    store = open_store(tmp_path / "s.zarr")
    plan, rows = planned(*folders)
    assert (store.kind, store.samples, store.default_split) == ("channel", plan.samples, "city")
    for name, values in (rows | columns(plan)).items():
        np.testing.assert_array_equal(store.read(name), values)
    assert store.label_classes("los") == ["NLoS", "LoS"]
    assert len(store.label_classes("beam_16_half") or []) == 16
    assert store.attrs["scenarios"] == plan.attrs["scenarios"]
