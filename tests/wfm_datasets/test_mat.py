"""DeepMIMO v2/v3 folders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tests.fakes.deepmimo import fake_rays, lfs_pointer, matlab_73, truncate, write_mat
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.scenario import read_scenario


def assert_same_rays(scenario, rays):
    for mine, theirs in (
        ("power_db", "power"),
        ("phase_deg", "phase"),
        ("delay_s", "delay"),
        ("aod_az_deg", "aod_az"),
        ("aod_el_deg", "aod_el"),
    ):
        read, written = getattr(scenario.rays, mine), getattr(rays, theirs)
        np.testing.assert_array_equal(read, written[:, : read.shape[1]])
        assert np.isnan(written[:, read.shape[1] :]).all()
    np.testing.assert_array_equal(scenario.los, rays.los)
    np.testing.assert_array_equal(scenario.position_m, rays.rx_pos)
    np.testing.assert_array_equal(scenario.bs_position_m, rays.tx_pos[0])


@pytest.mark.parametrize("pieces", [1, 3, 12])
@pytest.mark.parametrize("inclusive", [False, True])
def test_reads_back_what_was_written(tmp_path, pieces, inclusive):
    # Twelve pieces: sorted by name, users 110- would come before users 20-.
    rays = fake_rays(130)
    folder = write_mat(
        tmp_path / "city_1", {1: fake_rays(130, seed=9), 2: rays}, pieces=pieces, inclusive_names=inclusive
    )
    scenario = read_scenario(str(folder), 2)
    assert (scenario.name, scenario.bs, scenario.frequency_hz) == ("city_1", 2, 3.5e9)
    assert_same_rays(scenario, rays)
    assert scenario.los_not_first == 0
    files = [record["path"].rsplit("/", 1)[1] for record in scenario.sources]
    assert files[0] == "params.mat"
    assert len(files) == 1 + pieces
    assert all(name.startswith("BS2_UE_") for name in files[1:])


def test_records_size_and_digest(tmp_path):
    folder = write_mat(tmp_path / "city", {1: fake_rays(5)})
    record = read_scenario(str(folder), 1).sources[0]
    assert record["bytes"] == (folder / "params.mat").stat().st_size
    assert len(record["sha256"]) == 64
    assert record["path"] == f"{folder}/params.mat"


def test_transmit_power_is_taken_off_and_a_repeated_flag_means_the_same(tmp_path):
    rays = fake_rays(30)
    folder = write_mat(tmp_path / "city", {1: rays}, transmit_power=20.0, flag_everywhere=True)
    scenario = read_scenario(str(folder), 1)
    width = scenario.rays.power_db.shape[1]
    np.testing.assert_allclose(scenario.rays.power_db, rays.power[:, :width], atol=1e-5)
    np.testing.assert_array_equal(scenario.los, rays.los)


def test_cells_without_struct_or_without_rows_are_users_without_path(tmp_path):
    rays = fake_rays(3, no_path=0.0)
    folder = write_mat(tmp_path / "city", {1: rays})
    file = folder / "BS1_UE_0-3.mat"
    data = {key: value for key, value in loadmat(file).items() if not key.startswith("__")}
    data["channels"][0, 0] = np.zeros((0, 0))
    data["channels"][0, 2] = np.ones((8, 2), np.float32)
    savemat(file, data)
    assert read_scenario(str(folder), 1).served.tolist() == [False, True, True]


def damaged(tmp_path, **kwargs):
    return write_mat(
        tmp_path / "city", {1: fake_rays(20, no_path=0.0), 3: fake_rays(20, seed=1, no_path=0.0)}, **kwargs
    )


def refused(folder, pattern, hint, bs=1):
    with pytest.raises(InputError, match=pattern) as caught:
        read_scenario(str(folder), bs)
    assert "\n" not in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    return caught.value


def test_missing_base_station_lists_those_present(tmp_path):
    refused(damaged(tmp_path), "no base station 2", "1, 3", bs=2)


@pytest.mark.parametrize("name", ["params.mat", "BS1_UE_0-20.mat"])
def test_lfs_pointer(tmp_path, name):
    folder = damaged(tmp_path)
    lfs_pointer(folder / name)
    refused(folder, rf"{name}: a Git LFS pointer", "git lfs pull")


@pytest.mark.parametrize("name", ["params.mat", "BS1_UE_0-20.mat"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.1, 0.5, 0.9, 0.99])
def test_truncated_file(tmp_path, name, keep):
    folder = damaged(tmp_path)
    truncate(folder / name, keep)
    refused(folder, rf"{name}: damaged or truncated", "again")


def test_matlab_73(tmp_path):
    folder = damaged(tmp_path)
    matlab_73(folder / "BS1_UE_0-20.mat")
    refused(folder, r"BS1_UE_0-20.mat: a MATLAB v7.3", "-v7")


@pytest.mark.parametrize("field", ["phase", "delay", "power", "aoa_az", "aod_az", "aod_el"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_value_that_is_not_finite_names_file_field_and_user(tmp_path, field, value):
    rays = fake_rays(20, no_path=0.0)
    poisoned = rays.with_value(field, user=13, value=value) if field != "power" else rays
    folder = write_mat(tmp_path / "city", {1: poisoned}, pieces=2)
    if field == "power":  # a NaN power means no path to the fake, so it is put into the file itself
        file = folder / "BS1_UE_10-20.mat"
        data = {key: item for key, item in loadmat(file).items() if not key.startswith("__")}
        data["channels"][0, 3]["p"][0, 0][2, 0] = value
        savemat(file, data)
    refused(folder, rf"BS1_UE_10-20.mat: field '{field}' of user 13 is", "finite")


def test_implausible_values(tmp_path):
    rays = fake_rays(20, no_path=0.0)
    refused(write_mat(tmp_path / "a", {1: rays.with_value("delay", 4, 300.0)}), "'delay' of user 4 is 300", "seconds")
    refused(write_mat(tmp_path / "b", {1: rays.with_value("delay", 4, -1e-9)}), "'delay' of user 4", "seconds")
    refused(write_mat(tmp_path / "c", {1: rays.with_value("aod_el", 5, -20.0)}), "'aod_el' of user 5", "zenith")


def test_missing_piece(tmp_path):
    folder = damaged(tmp_path, pieces=4)
    (folder / "BS1_UE_5-10.mat").unlink()
    refused(folder, r"BS1_UE_10-15.mat: begins with user 10, but the files before it end with user 4", "missing")


def test_fewer_users_than_the_name_says(tmp_path):
    folder = damaged(tmp_path)
    (folder / "BS1_UE_0-20.mat").rename(folder / "BS1_UE_0-90.mat")
    refused(folder, "has 20 users, the file's name says 90", "again")


@pytest.mark.parametrize(("name", "field"), [("params.mat", "carrier_freq"), ("BS1_UE_0-20.mat", "rx_locs")])
def test_missing_field(tmp_path, name, field):
    folder = damaged(tmp_path)
    data = {key: value for key, value in loadmat(folder / name).items() if not key.startswith("__") and key != field}
    savemat(folder / name, data)
    refused(folder, rf"{name}: damaged or truncated \(field '{field}' is missing\)", "again")


def test_other_layout_of_p(tmp_path):
    folder = damaged(tmp_path)
    file = folder / "BS1_UE_0-20.mat"
    data = {key: value for key, value in loadmat(file).items() if not key.startswith("__")}
    for cell in data["channels"].ravel():
        cell["p"][0, 0] = np.vstack([cell["p"][0, 0], cell["p"][0, 0][:1]])
    savemat(file, data)
    refused(folder, "field 'channels.p' has 9 rows, expected 8", "layout")


def test_scenario_without_any_path(tmp_path):
    folder = write_mat(tmp_path / "city", {1: fake_rays(10, no_path=1.0)})
    refused(folder, "base station 1 reaches none of the 10 users", "another base station")


def test_folders_that_are_no_scenario(tmp_path):
    refused(tmp_path / "nowhere", "no such scenario folder", "embedded:")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "the folder is empty", "unpack")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    refused(tmp_path / "notes", "not a DeepMIMO", "params.mat")
    write_mat(tmp_path / "outer" / "inner", {1: fake_rays(3)})
    refused(tmp_path / "outer", "not a DeepMIMO", "inner")
    (tmp_path / "scenario.zip").write_bytes(b"PK")
    refused(tmp_path / "scenario.zip", "not a folder", "unpacked")
    folder = write_mat(tmp_path / "bare", {1: fake_rays(3)})
    for file in folder.glob("BS*"):
        file.unlink()
    refused(folder, "no file BS", "unpack the whole")
    refused("embedded:canyon", "no such embedded scenario", "canyon_28, canyon_3p5")
