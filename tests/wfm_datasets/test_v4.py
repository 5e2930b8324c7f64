"""DeepMIMO v4 folders, and the package as an oracle of the channel."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import pickle
import sys
import warnings

import numpy as np
import pytest

from tests.core.signal.slow import relative_error
from tests.fakes.deepmimo import fake_rays, lfs_pointer, truncate, write_mat, write_v4
from tests.wfm_datasets.test_mat import assert_same_rays
from wfm_cli.core.signal.channels import synthesise
from wfm_cli.errors import InputError, MissingExtraError
from wfm_datasets.deepmimo.scenario import EMBEDDED_FOLDER, read_scenario


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mat"])
@pytest.mark.parametrize("name", ["city", "City_7 (Old Town)", "o1_60:v4?"])
def test_reads_back_what_was_written(tmp_path, name, suffix):
    rays = fake_rays(25)
    scenario = read_scenario(str(write_v4(tmp_path / name, [rays], suffix=suffix)), 1)
    assert scenario.name == name
    assert_same_rays(scenario, rays)
    assert scenario.los_not_first == 0


@pytest.mark.parametrize("points_in_one_set", [False, True])
@pytest.mark.parametrize("receiver_sets", [1, 3])
def test_base_stations_and_receiver_sets(tmp_path, points_in_one_set, receiver_sets):
    stations = [fake_rays(20, seed=k) for k in range(11)]  # sorted by name, set 10 would come before set 2
    folder = write_v4(tmp_path / "s", stations, points_in_one_set=points_in_one_set, receiver_sets=receiver_sets)
    for bs in (1, 3, 11):
        assert_same_rays(read_scenario(str(folder), bs), stations[bs - 1])
    with pytest.raises(InputError, match="no base station 12"):
        read_scenario(str(folder), 12)


def test_same_scenario_in_both_layouts(tmp_path):
    rays = fake_rays(30)
    old = read_scenario(str(write_mat(tmp_path / "old", {1: rays})), 1)
    new = read_scenario(str(write_v4(tmp_path / "new", [rays])), 1)
    width = old.rays.power_db.shape[1]
    np.testing.assert_array_equal(old.rays.power_db, new.rays.power_db[:, :width])
    np.testing.assert_array_equal(old.los, new.los)


def test_line_of_sight_need_not_be_the_first_path(tmp_path):
    rays = fake_rays(12, paths=4, no_path=0.0)
    turned = {key: np.ascontiguousarray(getattr(rays, key)[:, ::-1]) for key in ("power", "phase", "delay", "inter")}
    turned |= {
        key: np.ascontiguousarray(getattr(rays, key)[:, ::-1]) for key in ("aoa_az", "aoa_el", "aod_az", "aod_el")
    }
    backwards = type(rays)(**turned, rx_pos=rays.rx_pos, tx_pos=rays.tx_pos)
    scenario = read_scenario(str(write_v4(tmp_path / "s", [backwards])), 1)
    np.testing.assert_array_equal(scenario.los, rays.los)
    assert scenario.los_not_first == rays.los.sum() > 0
    # Absent paths in front are moved behind the present ones, which keep their order.
    counts = rays.present.sum(axis=1)
    np.testing.assert_array_equal(scenario.rays.present, np.arange(4) < counts[:, None])


def test_deepmimo_is_quiet_asks_nothing_and_keeps_its_settings(tmp_path, monkeypatch, capfd):
    folder = write_v4(tmp_path / "Quiet", [fake_rays(5)])
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("deepmimo asked a question"))
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import deepmimo
    deepmimo.config.set("scenarios_folder", "mine")
    capfd.readouterr()
    read_scenario("Quiet", 1)
    assert capfd.readouterr() == ("", "")
    assert deepmimo.config.get("scenarios_folder") == "mine"
    deepmimo.config.reset()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Quiet"]
    assert folder.is_dir()


def test_deepmimo_missing(tmp_path, monkeypatch):
    folder = write_v4(tmp_path / "s", [fake_rays(5)])
    monkeypatch.setitem(sys.modules, "deepmimo", None)
    with pytest.raises(MissingExtraError, match="deepmimo") as caught:
        read_scenario(str(folder), 1)
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


def refused(folder, pattern, hint, bs=1):
    with pytest.raises(InputError, match=pattern) as caught:
        read_scenario(str(folder), bs)
    assert "\n" not in caught.value.message
    assert hint in (caught.value.hint or "")


def edit_params(folder, change):
    params = json.loads((folder / "params.json").read_text())
    change(params)
    (folder / "params.json").write_text(json.dumps(params))


FILE = "delay_t000_tx000_r001.npz"


def test_missing_lfs_and_truncated_files(tmp_path):
    for number, damage in enumerate((lfs_pointer, truncate, lambda file: file.unlink())):
        folder = write_v4(tmp_path / f"s{number}", [fake_rays(20)])
        damage(folder / FILE)
        pattern = ("Git LFS pointer", "damaged or truncated", "missing")[number]
        refused(folder, rf"{FILE}: .*{pattern}", ("git lfs pull", "again", "whole scenario")[number])
    folder = write_v4(tmp_path / "p", [fake_rays(20)])
    truncate(folder / "params.json")
    refused(folder, "params.json: damaged or truncated", "again")
    lfs_pointer(folder / "params.json")
    refused(folder, "params.json: a Git LFS pointer", "git lfs pull")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle of the scenario was opened",)


def test_never_unpickles(tmp_path):
    folder = write_v4(tmp_path / "s", [fake_rays(4)])
    np.savez(folder / FILE, delay=np.array([[Bomb()]], object))
    refused(folder, f"{FILE}: damaged or truncated", "again")
    np.save(folder / FILE.replace(".npz", ".npy"), np.array([[Bomb()]], object), allow_pickle=True)
    (folder / FILE).unlink()
    refused(folder, r"\.npy: damaged or truncated", "again")
    (folder / "objects.json").write_bytes(pickle.dumps(Bomb()))
    (folder / "vertices.npz").write_bytes(b"no archive")
    np.savez(folder / FILE, delay=fake_rays(4).delay)
    (folder / FILE.replace(".npz", ".npy")).unlink()
    assert len(read_scenario(str(folder), 1).los) == 4  # geometry files are not even looked at


@pytest.mark.parametrize("field", ["power", "phase", "delay", "aod_az", "aod_el", "inter"])
def test_nan_names_file_field_and_user(tmp_path, field):
    rays = fake_rays(20, no_path=0.0).with_value(field, 13, np.nan)
    folder = write_v4(tmp_path / "s", [rays], receiver_sets=2)
    refused(folder, rf"{field}_t000_tx000_r002.npz: field '{field}' of user 13 is nan", "finite")


def test_damaged_params(tmp_path):
    rays = fake_rays(10)
    folder = write_v4(tmp_path / "s", [rays])
    edit_params(folder, lambda p: p["rt_params"].pop("frequency"))
    refused(folder, "field 'frequency' is missing", "again")
    folder = write_v4(tmp_path / "s", [rays])
    edit_params(folder, lambda p: p["txrx_sets"]["txrx_set_1"].update(num_points=11))
    refused(folder, r"has shape \(10, 6\), but params.json names 11 users", "again")
    folder = write_v4(tmp_path / "s", [rays])
    edit_params(folder, lambda p: p["txrx_sets"].pop("txrx_set_1"))
    refused(folder, "names no transmitter or no set", "again")
    refused(write_v4(tmp_path / "s", [rays], scenes=6), "a dynamic scenario of 6 snapshots", "single scene")


def test_scenario_without_any_path(tmp_path):
    refused(write_v4(tmp_path / "s", [fake_rays(10, no_path=1.0)]), "reaches none of the 10 users", "another")


@pytest.mark.parametrize("rotation", [(0.0, 0.0, -135.0), (20.0, -35.0, 70.0)])
def test_channel_equals_deepmimo(rotation):
    scenario = read_scenario("embedded:canyon_28", 1)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import deepmimo

        deepmimo.config.set("scenarios_folder", str(EMBEDDED_FOLDER))
        theirs = deepmimo.load("canyon_28", max_paths=25)
        setting = {"subcarriers": 16, "selected_subcarriers": np.arange(16), "bandwidth": 16 * 30e3}
        array = {"shape": [32, 1], "rotation": list(rotation)}
        h = theirs.compute_channels(deepmimo.ChannelParameters(bs_antenna=array, ofdm=setting, num_paths=25))[:, 0]
        los = np.asarray(theirs.los)
        deepmimo.config.reset()
    served = scenario.served
    mine = synthesise(scenario.rays.take(served), antennas=32, subcarriers=16, spacing_hz=30e3, rotation_deg=rotation)
    assert relative_error(mine, np.asarray(h, np.complex128)[served]) < 5e-5
    np.testing.assert_array_equal(scenario.los, los == 1)
    np.testing.assert_array_equal(served, los >= 0)
