from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes.deepsense import (
    challenge_2022,
    challenge_2023,
    index_of,
    make_sequences,
    make_street,
    read_rows,
    source,
    write_rows,
)
from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.signal.lidar import DepthSpec, depth_image
from wfm_cli.core.signal.radar import PROFILES, range_angle
from wfm_cli.core.store import open_store, verify
from wfm_cli.core.store.parts import run
from wfm_cli.errors import InputError
from wfm_datasets.deepsense import sensors, stamps, windows
from wfm_datasets.deepsense.audit import audit_labels
from wfm_datasets.deepsense.builder import DeepSenseBuilder
from wfm_datasets.deepsense.check import check
from wfm_datasets.deepsense.frames import read_frames
from wfm_datasets.deepsense.index import read_index, relative


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return make_street(tmp_path_factory.mktemp("pristine") / "street", ["31", "9"], sequences=3)


@pytest.fixture
def street(pristine, tmp_path):
    """A copy that may be damaged."""
    shutil.copytree(pristine, tmp_path / "street")
    return tmp_path / "street"


def first(street, key, scenario="31"):
    return street / f"scenario{scenario}" / read_rows(index_of(street, scenario))[0][key]


def test_the_store_holds_what_the_sensors_saw(tmp_path):
    store = make_sequences(tmp_path, ["31", "33"])
    assert verify(store.path).ok
    rows = read_rows(index_of(tmp_path / "street", "31"))
    folder = tmp_path / "street" / "scenario31"
    assert store.kind == "sequence"
    assert store.input == "windows/index"
    for number in (0, len(rows) - 1):
        row = rows[number]
        cube = np.load(folder / row["unit1_radar"])
        assert np.array_equal(store.read("frames/radar")[number], range_angle(cube, PROFILES["deepsense"]))
        image = depth_image(sensors.read_cloud(folder / row["unit1_lidar"]), DepthSpec())
        assert np.array_equal(store.read("frames/lidar")[number], image.depth)
        assert np.array_equal(store.read("frames/lidar_hit")[number], image.hit)
        with Image.open(folder / row["unit1_rgb"]) as picture:
            small = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR))
        assert np.array_equal(store.read("frames/image")[number].transpose(1, 2, 0), small)
    power = store.read("frames/power")
    nan = store.read("meta/nan_powers")
    clean = nan == 0
    assert np.array_equal(power[clean].argmax(1), store.read("labels/beam")[clean])
    assert np.allclose(store.read("frames/power_db"), 10 * np.log10(np.maximum(power, 1e-6)), atol=1e-4)
    assert (store.read("labels/beam_released")[clean] == store.read("labels/beam")[clean] + 1).all()


def test_windows_stay_within_sequences_and_splits_are_honest(tmp_path):
    store = make_sequences(tmp_path, ["31", "33"], sequences=5)
    index, sequence = store.read("windows/index"), store.read("meta/sequence")
    assert (sequence[index] == sequence[index[:, :1]]).all()
    assert (np.diff(index, axis=1) == 1).all()
    assert len(index) == sum(max(0, n - 5) for n in np.bincount(sequence))
    about = store.attrs["windows"]["splits"]
    assert set(about) == {"sequence", "scenario", "paper"}
    for name in ("sequence", "scenario"):
        split = store.read(f"windows/split_{name}")
        frames = store.read(f"split/{name}")
        assert (frames[index] == split[:, None]).all()
        assert about[name]["test_frames_in_training"] == 0
    paper = store.read("windows/split_paper")
    test, train = set(index[paper == 2].ravel()), set(index[paper == 0].ravel())
    assert about["paper"]["test_frames_in_training"] == pytest.approx(len(test & train) / len(test), abs=1e-4)
    assert about["paper"]["test_frames_in_training"] > 0.5
    assert set(store.read("meta/scenario")[store.read("split/scenario") == 2]) == {1}
    assert store.spec("meta/sequence").attrs["classes"][0] == "31:1"


def test_builds_resume_byte_by_byte(tmp_path, pristine):
    recipe = PrepareRecipe.model_validate(
        {"name": "x", "source": source(pristine).model_dump(), "layout": {"shard_mib": 1, "chunk_mib": 0.5}}
    )
    run(recipe, tmp_path / "one.zarr", progress=False)
    run(recipe, tmp_path / "two.zarr", workers=2, progress=False)
    assert open_store(tmp_path / "one.zarr").digest == open_store(tmp_path / "two.zarr").digest
    assert open_store(tmp_path / "one.zarr").attrs["parts"] >= 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("01:22:30-405771", 4950.405771),
        ("['16-45-05-799']", 60305.799),
        ("16-45-05.5", 60305.5),
        ("16-45-05", 60305.0),
        ("25:00:00-0", None),
        ("noon", None),
    ],
)
def test_three_grammars_of_time(text, value):
    found = stamps.seconds(text)
    assert found is None if value is None else found == pytest.approx(value)


def test_time_goes_on_over_midnight():
    time = np.array([86_399.9, 0.0, 0.1, 5.0, 5.1])
    made = stamps.unwrap(time, np.array([1, 1, 1, 2, 2]))
    assert made == pytest.approx([86_399.9, 86_400.0, 86_400.1, 5.0, 5.1])


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("order", ["same", "reversed"])
def test_the_audit_finds_offset_and_order(offset, order):
    rng = np.random.default_rng(1)
    power = rng.random((50, 64))
    beam = power.argmax(1)
    released = (beam if order == "same" else 63 - beam) + offset
    power[3, 5] = np.nan
    released[3] = 60
    found = audit_labels(Path("x.csv"), beam, released, power, "error")
    assert (found.offset, found.order, found.agreement, found.nan_frames, found.nan_agreement) == (
        offset,
        order,
        1.0,
        1,
        0,
    )
    with pytest.raises(InputError, match=r"x.csv: the released beams agree"):
        audit_labels(Path("x.csv"), beam, rng.integers(0, 64, 50), power, "error")
    assert audit_labels(Path("x.csv"), beam, rng.integers(0, 64, 50), power, "ignore").agreement < 0.5


def test_labels_skip_the_beam_that_was_not_measured(street):
    path = first(street, "unit1_pwr_60ghz")
    values = np.loadtxt(path)
    values[10] = np.nan
    np.savetxt(path, values)
    rows = read_rows(index_of(street, "31"))
    rows[0]["unit1_beam"] = "11"
    write_rows(index_of(street, "31"), rows)
    frames = read_frames(source(street), show=False)
    assert frames.beam[0] == np.nanargmax(values)
    made = DeepSenseBuilder(source(street), 0)
    assert made._powers(frames)[0, 10] == pytest.approx((values[9] + values[11]) / 2, abs=1e-6)
    floored = DeepSenseBuilder(source(street, nan="floor"), 0)
    assert floored._powers(frames)[0, 10] == 0
    dropped = DeepSenseBuilder(source(street, nan="drop"), 0).plan()
    assert dropped.samples == len(frames) - int(np.isnan(frames.power).any(1).sum())


def _power(change):
    return lambda street: _edit(first(street, "unit1_pwr_60ghz"), change)


def _place(text):
    return lambda street: first(street, "unit2_loc").write_text(text)


POINTER = "version https://git-lfs.github.com/spec/v1\n"
BAD = {
    "missing unit2": (lambda s: shutil.rmtree(s / "scenario31/unit2"), "frames are missing, the first is unit2"),
    "63 powers": (_power(lambda t: t.split("\n", 1)[1]), "63 numbers, a power file has 64"),
    "words for powers": (_power(lambda t: t.replace("0.", "x.", 1)), "is no number"),
    "only NaN": (_power(lambda t: "nan\n" * 64), "line 2: all powers are NaN"),
    "one coordinate": (_place("33.4\n"), "1 numbers, a position"),
    "degrees off": (_place("133.4\n-111\n"), "is no latitude and longitude"),
    "LFS pointer": (_place(POINTER), "Git LFS"),
    "backwards": (lambda s: _swap(s), "time runs backwards from line 4 to line 5"),
    "no stamp": (lambda s: _cell(s, 1, "time_stamp", "noon"), "line 3: 'noon' is no time stamp"),
    "climbing out": (lambda s: _cell(s, 2, "unit1_pwr_60ghz", "./unit1/../../x.txt"), "line 4: path .* leads out"),
    "no label number": (lambda s: _cell(s, 0, "unit1_beam", "best"), "line 2: 'best' is no whole number"),
    "other labels": (lambda s: _shuffle(s), "the released beams agree"),
    "no powers": (lambda s: _rename(s, "unit1_pwr_60ghz", "power"), "no column of power"),
    "short row": (lambda s: _edit(index_of(s, "31"), lambda t: t + "1,2,3\n"), "cells, the header 20"),
    "empty": (lambda s: index_of(s, "31").write_text("index\n"), "holds no rows"),
}


def _edit(path, change):
    path.write_text(change(path.read_text()))


def _cell(street, row, key, value):
    rows = read_rows(index_of(street, "31"))
    rows[row][key] = value
    write_rows(index_of(street, "31"), rows)


def _swap(street):
    rows = read_rows(index_of(street, "31"))
    rows[2]["time_stamp"], rows[3]["time_stamp"] = rows[3]["time_stamp"], rows[2]["time_stamp"]
    write_rows(index_of(street, "31"), rows)


def _shuffle(street):
    rows = read_rows(index_of(street, "31"))
    for n, row in enumerate(rows):
        row["unit1_beam"] = str(1 + (7 * n) % 64)
    write_rows(index_of(street, "31"), rows)


def _rename(street, old, new):
    path = index_of(street, "31")
    head, rest = path.read_text().split("\n", 1)
    path.write_text(head.replace(old, new) + "\n" + rest)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(street, name):
    damage, words = BAD[name]
    damage(street)
    with pytest.raises(InputError, match=words) as caught:
        DeepSenseBuilder(source(street), 0).plan()
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("key", "damage", "words"),
    [
        ("unit1_radar", lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged or truncated"),
        ("unit1_radar", lambda p: np.save(p, np.zeros((4, 256), np.complex64)), "is no radar cube"),
        ("unit1_radar", lambda p: np.save(p, np.zeros((4, 256, 8), np.float32)), "is no radar cube"),
        ("unit1_radar", lambda p: np.save(p, np.zeros((4, 128, 8), np.complex64)), "256 samples per chirp"),
        ("unit1_radar", lambda p: np.save(p, np.full((4, 256, 8), np.nan, np.complex64)), "NaN or infinity"),
        ("unit1_lidar", lambda p: _edit(p, lambda t: t.replace("property double z\n", "")), "no property z"),
        ("unit1_lidar", lambda p: _edit(p, lambda t: t[:-3000]), "points"),
        ("unit1_lidar", lambda p: p.write_text("hello"), "is no PLY file"),
        ("unit1_rgb", lambda p: p.write_bytes(p.read_bytes()[:400]), "is no whole image"),
    ],
)
def test_bad_frames_are_named(street, key, damage, words):
    damage(street / "scenario31" / read_rows(index_of(street, "31"))[1][key])
    builder = DeepSenseBuilder(source(street), 0)
    plan = builder.plan()
    with pytest.raises(InputError, match=words) as caught:
        builder.rows(0, 3, plan.state)
    assert "scenario31" in caught.value.message


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_clouds(tmp_path, order):
    rng = np.random.default_rng(0)
    table = np.zeros(50, [("x", order + "f8"), ("y", order + "f8"), ("z", order + "f4"), ("intensity", order + "u2")])
    for name in "xyz":
        table[name] = rng.normal(size=50)
    kind = "little" if order == "<" else "big"
    head = (
        f"ply\nformat binary_{kind}_endian 1.0\ncomment made here\nelement vertex 50\n"
        "property double x\nproperty double y\nproperty float z\nproperty ushort intensity\n"
        "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path = tmp_path / "x.ply"
    path.write_bytes(head.encode() + table.tobytes())
    cloud = sensors.read_cloud(path)
    assert np.allclose(cloud, np.stack([table[name] for name in "xyz"], 1))
    path.write_bytes(head.encode() + table.tobytes()[:-5])
    with pytest.raises(InputError, match="bytes of points"):
        sensors.read_cloud(path)
    path.write_bytes(head.replace("property float z\n", "").encode() + table.tobytes())
    with pytest.raises(InputError, match="no property z"):
        sensors.read_cloud(path)


def test_frames_with_missing_files_can_be_left_out(street):
    first(street, "unit1_radar").unlink()
    whole = len(read_rows(index_of(street, "31")))
    frames = read_frames(source(street, missing="drop"), show=False)
    assert len(frames) == whole - 1
    assert "1 frames left out" in frames.notes[0]


def test_a_sensor_that_a_scenario_lacks_is_said(street):
    shutil.rmtree(street / "scenario31/unit1/radar_data")
    plan = DeepSenseBuilder(source(street), 0).plan()
    assert plan.attrs["left_out"] == ["radar"]
    assert "frames/radar" not in [spec.name for spec in plan.arrays]


def test_cuts_at_gaps_and_where_time_runs_backwards(street):
    plain = read_frames(source(street), show=False)
    gaps = read_frames(source(street, gap_s=0.15), show=False)
    step = np.diff(plain.time_s)[np.diff(plain.sequence) == 0]
    assert len(gaps.names) == 1 + gaps.sequence.max()
    assert len(np.unique(gaps.sequence)) == 3 + int((step > 0.15).sum())
    _swap(street)
    cut = read_frames(source(street, backwards="cut"), show=False)
    assert len(np.unique(cut.sequence)) == 4
    assert (np.diff(cut.time_s)[np.diff(cut.sequence) == 0] >= 0).all()


def test_scenario_9_has_a_column_without_a_name_and_reversed_labels(pristine):
    index = read_index(str(pristine / "scenario9"))
    assert "" in index.ignored
    assert index.columns["position"] == ("unit2_loc_cal",)
    frames = read_frames(source(pristine, ["9"]), show=False)
    assert "counted in reverse" in frames.audits["9"].words("9")


def test_challenges(tmp_path):
    out = make_street(tmp_path / "street", ["32", "36"], sequences=2)
    path = challenge_2022(out)
    settings = {"history": 4, "horizon": 1, "image_size": 16, "split": "sequence"}
    frames = read_frames(DeepSenseSource(scenarios=(str(path),), **settings), show=False)
    rows = read_rows(path)
    assert len(frames) == 5 * len(rows)
    assert frames.known.reshape(-1, 5).tolist() == [[True, True, False, False, False]] * len(rows)
    assert ((frames.beam >= 0).reshape(-1, 5) == [False] * 4 + [True]).all()
    assert set(frames.files) == {"image", "radar", "lidar"}
    plan = DeepSenseBuilder(DeepSenseSource(scenarios=(str(path),), **settings), 0).plan()
    assert plan.samples == 5 * len(rows)
    newer = read_frames(DeepSenseSource(scenarios=(str(challenge_2023(out)),), **settings), show=False)
    assert newer.power.shape[1] == 256
    assert newer.audits["challenge"].agreement == 1.0
    behind = np.flatnonzero(newer.beam >= 0)
    assert (newer.files["image"][behind] == "").all()
    builder = DeepSenseBuilder(DeepSenseSource(scenarios=(str(challenge_2023(out)),), **settings), 0)
    plan = builder.plan()
    image = builder.rows(0, plan.samples, plan.state)["frames/image"]
    known = next(values for spec, values in plan.columns if spec.name == "meta/image_known")
    assert ((image.reshape(len(image), -1).max(1) > 0) == known).all()
    assert not known[behind].any()
    challenge_2022(out, labels=False)
    with pytest.raises(InputError, match="a test set"):
        read_index(str(path))


def test_the_index_is_found(tmp_path):
    folder = tmp_path / "scenario34_new" / "scenario34"
    (folder / "resources").mkdir(parents=True)
    (folder / "resources" / "scenario34_map.csv").write_text("a\n1\n")
    for name in ("scenario34.csv", "scenario34_dev.csv", "notes.csv"):
        (folder / name).write_text("index\n1\n")
    from wfm_datasets.deepsense.index import find_index

    assert find_index(str(tmp_path)).name == "scenario34_dev.csv"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no scenario<N>.csv"):
        find_index(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="does not exist"):
        find_index(str(tmp_path / "nowhere"))


def test_paths_stay_below_the_folder():
    where = Path("x.csv")
    assert relative(where, 1, "./unit1/a.txt") == relative(where, 1, "/unit1/a.txt") == "unit1/a.txt"
    for text in ("../a", "unit1/../../a", "C:/a", "./"):
        with pytest.raises(InputError, match="leads out"):
            relative(where, 1, text)


def test_the_look_before_building(street):
    first(street, "unit1_radar").unlink()
    (facts,) = check(source(street))
    files = facts["files"]["radar"]
    assert files["named"] == files["found"] + 1
    assert files["missing"] == [read_rows(index_of(street, "31"))[0]["unit1_radar"][2:]]
    assert facts["labels"]["order"] == "same"
    assert facts["time"]["median_ms"] == pytest.approx(92, abs=6)
    assert 0 < facts["lidar"]["kept"] < 1
    shutil.rmtree(street / "scenario31/unit2")
    (facts,) = check(source(street))
    assert "no frame has all of its files" in facts["problem"]


def test_no_windows(pristine):
    with pytest.raises(InputError, match="no sequence has 50 frames, the longest has"):
        DeepSenseBuilder(source(pristine, history=45, horizon=5), 0).plan()


def test_windows_of_a_sequence():
    made = windows.window_index(np.array([0, 0, 0, 0, 1, 1]), 3, 1)
    assert made.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert windows.window_index(np.array([0] * 6), 3, 2).tolist() == [[0, 1, 2], [2, 3, 4]]
    assert windows.by_frames(np.array([0, 0, 0, 2], np.uint8), made).tolist() == [0, 3]


@pytest.mark.real
def test_the_real_scenario_9(real_data, tmp_path):
    place = str(real_data / "deepsense" / "scenario9_mini")
    recipe = PrepareRecipe(name="nine", source=DeepSenseSource(scenarios=(place,), split="paper"))
    run(recipe, tmp_path / "nine.zarr", progress=False)
    store = open_store(tmp_path / "nine.zarr")
    assert store.samples == 83
    assert store.attrs["labels"]["9"] == {
        "labels": 83, "nan_frames": 0, "offset": 1, "order": "reversed", "agreement": 1.0, "nan_agreement": None,
    }  # fmt: skip
    powers = np.load(real_data / "deepsense" / "scenario9_unit1_pwr_60ghz_1-5964.npy")
    assert np.allclose(store.read("frames/power"), powers[: len(store.read("frames/power"))], atol=1e-6)
