"""WiFi CSI, spectrogram images and 5G features against the numbers that were put into the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from tests.fakes import wavesfm as fakes
from tests.wfm_datasets.wavesfm.conftest import Make
from wfm_cli.errors import InputError


def pillow(values: np.ndarray, size: int) -> np.ndarray:
    """Bicubic resizing of (C, H, W) by another implementation."""
    made = [Image.fromarray(c.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC) for c in values]
    return np.stack([np.asarray(c) for c in made])


def columns(plan) -> dict[str, np.ndarray]:
    return {spec.name: values for spec, values in plan.columns}


def test_csi_keeps_its_numbers_and_its_own_grid(builder: Make) -> None:
    made = builder("sensing", size=0)
    plan = made.plan()
    assert plan.arrays[0].shape == (3, 114, 2000)
    assert plan.arrays[0].dims == ("sample", "channel", "frequency", "time")
    labels = columns(plan)["labels/activity"]
    assert plan.arrays[0].attrs["normalise"] == "file"
    # natural order: test_amp/box0 ... test_amp/walk0, train_amp/box0, train_amp/box1 ... train_amp/walk0
    assert labels.tolist() == [*range(6), *np.repeat(range(6), 2)]
    assert columns(plan)["meta/official_test"].tolist() == [1] * 6 + [0] * 12
    got = made.rows(0, 8, plan.state)["csi"]
    for row, seed in ((0, 1), (1, 1001), (5, 5001), (6, 0), (7, 2)):
        np.testing.assert_array_equal(got[row], fakes.csi(seed).reshape(3, 114, 2000))


def test_csi_is_resized_and_normalised_as_published(builder: Make) -> None:
    file = builder("sensing")
    plan = file.plan()
    want = pillow(fakes.csi(1).reshape(3, 114, 2000), 16)
    np.testing.assert_allclose(file.rows(0, 1, plan.state)["csi"][0], want, rtol=1e-4, atol=1e-3)
    constants = plan.arrays[0].attrs["wavesfm_normalisation"]
    assert "bicubic" in plan.arrays[0].attrs["resize"]
    scaled = (want - 2.44) / (54.72 - 2.44)
    scaled = (scaled - np.reshape(constants["mean"], (3, 1, 1))) / np.reshape(constants["std"], (3, 1, 1))
    made = builder("sensing", normalise="wavesfm")
    np.testing.assert_allclose(made.rows(0, 1, plan.state)["csi"][0], scaled, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged or truncated"),
        (lambda p: p.write_bytes(b"nothing at all"), "damaged or truncated"),
        (
            lambda p: scipy.io.savemat(p, {"CSIphase": np.ones((342, 2000))}),
            r"holds CSIphase \(342, 2000\), not CSI",
        ),
        (lambda p: scipy.io.savemat(p, {"CSIamp": np.ones((90, 500))}), r"holds CSIamp \(90, 500\)"),
        (lambda p: fakes.matlab_v73(p, {"CSIamp": np.ones((342, 2000))}), r"is MATLAB v7\.3, expected v5"),
    ],
)
def test_bad_csi(damage, words: str, builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(raw["sensing"] / "test_amp", tmp_path / "test_amp")
    damage(tmp_path / "test_amp" / "walk" / "walk0.mat")
    with pytest.raises(InputError, match=rf"walk0\.mat: .*{words}") as caught:
        fakes.read_all(builder("sensing", tmp_path))
    assert "\n" not in caught.value.message


def test_csi_with_nan_or_of_an_unknown_class(builder: Make, tmp_path: Path) -> None:
    values = fakes.csi(0)
    values[3, 4] = np.nan
    path = tmp_path / "train_amp" / "run" / "run0.mat"
    path.parent.mkdir(parents=True)
    scipy.io.savemat(path, {"CSIamp": values})
    with pytest.raises(InputError, match=r"run0\.mat: CSIamp holds NaN or infinity \(1 such"):
        fakes.read_all(builder("sensing", tmp_path))
    path.parent.rename(tmp_path / "train_amp" / "dance")
    with pytest.raises(InputError, match="'dance' is no class of NTU-Fi"):
        builder("sensing", tmp_path).plan()


def test_folders_of_numbers_are_the_persons_of_humanid(builder: Make, tmp_path: Path) -> None:
    fakes.ntu_fi(tmp_path / "NTU-Fi-HumanID", 1, ("001", "002", "014"))
    plan = builder("sensing", tmp_path).plan()
    spec, labels = next((spec, values) for spec, values in plan.columns if spec.name == "labels/person")
    assert spec.attrs["classes"] == ["001", "002", "014"]
    assert np.bincount(labels).tolist() == [3, 3, 3]


def test_images_are_grey_turned_and_resized(builder: Make, raw: dict[str, Path]) -> None:
    made = builder("rfs")
    plan = made.plan()
    labels = columns(plan)["labels/signal"]
    classes = next(spec for spec, _ in plan.columns if spec.name == "labels/signal").attrs["classes"]
    assert len(classes) == 20
    assert [classes[n] for n in sorted(set(labels))] == ["bluetooth", "lora", "RS41-Radiosonde", "wifi"]
    row = int(np.flatnonzero(labels == classes.index("lora"))[0])
    picture = Image.open(raw["rfs"] / "lora_rec0_0.png").convert("L").rotate(90, expand=True)
    want = pillow(np.asarray(picture, np.float32)[None] / 255, 16)
    np.testing.assert_allclose(made.rows(row, row + 1, plan.state)["spectrogram"][0], want, atol=1e-5)
    scaled = builder("rfs", normalise="wavesfm").rows(row, row + 1, plan.state)["spectrogram"][0]
    np.testing.assert_allclose(scaled, (want - 0.5) / 0.5, atol=1e-5)


def test_equal_images_are_one_recording(builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(raw["rfs"], tmp_path / "c")
    shutil.copy(tmp_path / "c" / "wifi_rec7_0.png", tmp_path / "c" / "wifi_copy9_5.png")
    plan = builder("rfs", tmp_path / "c").plan()
    names = [record["path"].rpartition("/")[2] for record in plan.sources]
    group = columns(plan)["meta/recording"]
    assert group[names.index("wifi_copy9_5.png")] == group[names.index("wifi_rec7_0.png")]
    assert len(np.unique(group)) >= 4 * 8


@pytest.mark.parametrize(
    ("name", "content", "words", "hint"),
    [
        ("wify_1.png", None, "does not begin with <label>_", "did you mean wifi_?"),
        ("spectrum.png", None, "does not begin with <label>_", "labels: ads-b"),
        ("wifi_1.png", b"\x89PNG\r\n\x1a\n", "damaged or truncated", "again"),
        ("wifi_1.png", b"<html>", "damaged or truncated", "again"),
    ],
)
def test_bad_images(
    name: str, content: bytes | None, words: str, hint: str, builder: Make, raw: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes((raw["rfs"] / "wifi_rec0_0.png").read_bytes() if content is None else content)
    with pytest.raises(InputError, match=rf"{name}: .*{words}") as caught:
        builder("rfs", tmp_path).plan()
    assert hint in (caught.value.hint or "")
    assert "\n" not in caught.value.message


def test_a_cut_image_and_a_missing_size(builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    whole = (raw["rfs"] / "wifi_rec0_0.png").read_bytes()
    (tmp_path / "wifi_rec0_0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged or truncated"):
        builder("rfs", tmp_path).plan()
    with pytest.raises(InputError, match="need one common size"):
        builder("rfs", size=0).plan()


def test_features_come_back_in_matlabs_order(builder: Make, raw: dict[str, Path]) -> None:
    made = builder("pos", size=0)
    plan = made.plan()
    assert plan.samples == 90
    assert plan.arrays[0].shape == (4, 16, 193)
    with h5py.File(raw["pos"] / "dataset_SNR20_outdoor.mat") as file:
        assert file["features"].shape == (193, 16, 4, 30)  # what MATLAB leaves on disk
    got = made.rows(25, 65, plan.state)["csi"]
    np.testing.assert_array_equal(got[:5], fakes.features(10)[25:].astype(np.float32))
    np.testing.assert_array_equal(got[5:35], fakes.features(20).astype(np.float32))
    place = np.random.default_rng(5).uniform(0, 60, (30, 3))
    np.testing.assert_array_equal(columns(plan)["meta/position"], np.tile(place, (3, 1)).astype(np.float32))
    small = builder("pos").rows(30, 31, plan.state)["csi"][0]
    np.testing.assert_allclose(small, pillow(fakes.features(20)[0], 16), atol=1e-4)


def test_features_without_matlabs_mark_are_taken_as_they_stand(builder: Make, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "dataset_SNR10_outdoor.mat", "w") as file:
        file["features"], file["labels/position"] = fakes.features(10, 12), np.arange(36.0).reshape(12, 3)
    made = builder("pos", tmp_path, size=0)
    plan = made.plan()
    np.testing.assert_array_equal(made.rows(3, 5, plan.state)["csi"], fakes.features(10, 12)[3:5].astype(np.float32))
    assert columns(plan)["meta/position"][1].tolist() == [3, 4, 5]


def nan_features() -> np.ndarray:
    values = fakes.features(10, 12)
    values[7, 0, 0, 0] = np.nan
    return values


PLACE = np.arange(1.0, 37.0).reshape(12, 3)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"feature": fakes.features(10, 12), "labels/position": PLACE}, "has no variable features .it holds feature"),
        ({"features": fakes.features(10, 12)}, "has no variable labels/position"),
        ({"features": fakes.features(10, 12), "labels/position": PLACE[:9]}, ".* do not fit each other"),
        ({"features": PLACE, "labels/position": PLACE}, ".* do not fit each other"),
        ({"features": fakes.features(10, 12), "labels/position": PLACE * np.inf}, "labels/position holds NaN"),
        ({"features": nan_features(), "labels/position": PLACE}, "features of samples 0 to 11 holds NaN"),
    ],
)
def test_bad_features(variables: dict[str, np.ndarray], words: str, builder: Make, tmp_path: Path) -> None:
    fakes.matlab_v73(tmp_path / "dataset_SNR10_outdoor.mat", variables)
    with pytest.raises(InputError, match=rf"dataset_SNR10_outdoor\.mat: {words}") as caught:
        fakes.read_all(builder("pos", tmp_path))
    assert "\n" not in caught.value.message


def test_other_damage_of_features(builder: Make, raw: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "dataset_SNR10_outdoor.mat"
    path.write_bytes((raw["pos"] / path.name).read_bytes()[:100_000])
    with pytest.raises(InputError, match="damaged or truncated"):
        builder("pos", tmp_path).plan()
    scipy.io.savemat(path, {"features": PLACE})
    with pytest.raises(InputError, match=r"is MATLAB v5, expected v7\.3"):
        builder("pos", tmp_path).plan()
    fakes.positioning(tmp_path, 12)
    fakes.positioning(tmp_path, 12, scene="indoor")
    with pytest.raises(InputError, match="but dataset_SNR10_indoor"):
        builder("pos", tmp_path).plan()
    with pytest.raises(InputError, match="no published mean"):
        builder("pos", tmp_path / "dataset_SNR10_indoor.mat", normalise="wavesfm").plan()
