"""Stores of sequences: what is said of windows and labels, and what the pictures of a frame show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from tests.fakes.deepsense import challenge_2022, make_sequences, make_street
from tests.fakes.stores import make_store
from wfm_cli.core import inspect
from wfm_cli.core.evaluation.report import style
from wfm_cli.core.inspect.frame_picture import RADAR_BIN_M, clock, frame_caption, frame_figure
from wfm_cli.core.inspect.sequence_pictures import sequence_figures
from wfm_cli.core.inspect.sequence_view import leak_words, sequence_view
from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store import Store, open_store
from wfm_cli.core.store.parts import run
from wfm_cli.errors import InputError

FRAME = 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_sequences(tmp_path_factory.mktemp("sequences"), ("31", "33"), sequences=2)


def text(path: Path, width: int = 160) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(inspect.render(path))
    return stream.getvalue()


def panels(store: Store, frame: int) -> dict[str, Any]:
    """Axes by the first words of their titles."""
    return {axes.get_title(loc="left").split(" (")[0].split(":")[0]: axes for axes in frame_figure(store, frame).axes}


def test_tables_are_named_by_their_own_axes(store: Store) -> None:
    lines = text(store.path).splitlines()
    windows = len(store.read("windows/index"))
    (index,) = (line for line in lines if line.split()[:1] == ["index"] and "step" in line)
    assert f"window {windows}, step 6" in index
    assert any(f"window {windows} " in line for line in lines if line.strip().startswith("split_paper"))
    assert any("sample, beam 64" in line for line in lines if line.strip().startswith("power_db"))
    arrays = {array["name"]: array for array in inspect.describe(store.path)["arrays"]}
    assert arrays["windows/index"]["dims"] == ["window", "step"]
    assert arrays["windows/index"]["shape"] == [windows, 6]


def test_windows_and_their_leaks_are_said_plainly(store: Store) -> None:
    said = text(store.path)
    told = store.attrs["windows"]["splits"]
    assert f"{len(store.read('windows/index'))} windows of 4 + 2 frames" in said
    (paper,) = (line for line in said.splitlines() if line.startswith("paper"))
    counts = [str(told["paper"][part]) for part in ("train", "val", "test")]
    assert paper.split()[1:4] == counts
    share = 100 * told["paper"]["test_frames_in_training"]
    assert f"{share:.1f} % of the frames of test windows stand in training windows too" in paper
    assert "none: no frame of a test window stands in a training window" in said
    assert "test_frames_in_training" not in said
    assert "not measured" not in said
    (released,) = (line for line in said.splitlines() if line.startswith("scenario 31") and "same" in line)
    assert released.split()[2:6] == [str(store.attrs["labels"]["31"]["labels"]), "1", "same", "100.00"]


def test_what_is_left_out_is_said() -> None:
    facts = {
        "modalities": ["gps", "power"], "left_out": ["radar"], "labels": {}, "counts": {},
        "dropped_nan_frames": 3, "interpolated_positions": 0.093, "notes": ["scenario 9: 4 frames left out"],
        "windows": {"count": 12, "history": 8, "horizon": 5, "stride": 2, "default": "sequence",
                    "sequences_too_short": 1, "splits": {"sequence": {"train": 5, "val": 2, "test": 3}}},
    }  # fmt: skip
    stream = io.StringIO()
    for part in sequence_view(facts, 1000):
        Console(file=stream, width=120).print(part)
    said = stream.getvalue()
    for words in (
        "radar: not in every scenario", "9.3 % of 1,000 are interpolated", "3 frames with unmeasured powers",
        "every 2 frames; 1 sequences are too short", "- scenario 9: 4 frames left out", "not measured",
    ):  # fmt: skip
        assert words in said, words
    (line,) = (line for line in said.splitlines() if line.startswith("sequence"))
    assert line.split()[2:6] == ["5", "2", "3", "2"]  # two of twelve windows are in no part


def test_a_leak_in_words() -> None:
    assert leak_words({"test_frames_in_training": 0.5}, short=True) == "leak: 50.0 % of the test frames"
    assert leak_words({"test_frames_in_training": 0}, short=True) == "no leak"


def test_the_frame_shows_what_the_store_holds(store: Store) -> None:
    drawn = panels(store, FRAME)
    camera = np.asarray(drawn["Camera"].images[0].get_array())
    assert np.array_equal(np.moveaxis(camera, -1, 0), store.read("frames/image")[FRAME])
    radar = np.asarray(drawn["Range-angle map"].images[0].get_array())
    values = store.read("frames/radar")[FRAME]
    np.testing.assert_allclose(radar, 20 * np.log10(values.T / values.max()), atol=1e-3)
    depth = np.ma.filled(drawn["Depth image"].images[0].get_array(), np.nan)
    hit = store.read("frames/lidar_hit")[FRAME] > 0
    assert np.array_equal(np.isfinite(depth), hit)
    np.testing.assert_allclose(depth[hit], 100 * store.read("frames/lidar")[FRAME][hit], rtol=1e-6)
    best = int(store.read("labels/beam")[FRAME])
    powers = drawn["Beam powers"]
    assert powers.get_title(loc="left") == f"Beam powers: best is {best}"
    assert np.array_equal(powers.patches[0].get_data().values, store.read("frames/power_db")[FRAME])
    marked = powers.patches[1].get_data()
    assert marked.edges.mean() == best == store.read("frames/power")[FRAME].argmax()
    assert f"released as {store.read('labels/beam_released')[FRAME]}" in powers.get_xlabel()


def test_the_track_is_that_of_the_sequence(store: Store) -> None:
    whole, past, here, station = panels(store, FRAME)["Track"].lines
    own = np.flatnonzero(store.read("meta/sequence") == store.read("meta/sequence")[FRAME])
    position = store.read("frames/position")
    assert np.array_equal(np.stack(whole.get_data(), 1), position[own])
    assert np.array_equal(np.stack(past.get_data(), 1), position[own[own <= FRAME]])
    assert np.array_equal(np.ravel(here.get_data()), position[FRAME])
    assert np.ravel(station.get_data()).tolist() == [0, 0]
    number = FRAME - own[0] + 1
    name = store.spec("meta/sequence").attrs["classes"][store.read("meta/sequence")[FRAME]]
    caption = frame_caption(store, FRAME)
    assert f"frame {FRAME}: scenario {name.split(':')[0]}, sequence {name} (frame {number} of {len(own)})" in caption
    assert clock(float(store.read("meta/time_s")[FRAME])) in caption


def test_times_go_on_over_midnight() -> None:
    assert clock(86_399.9996) == "00:00:00.000"
    assert clock(86_400 + 3_723.25) == "01:02:03.250"
    assert clock(59.5) == "00:00:59.500"


def test_metres_of_the_radar_are_those_of_the_released_chirps(store: Store) -> None:
    from wfm_datasets.street.sensors import RANGE_BIN_M

    assert pytest.approx(RANGE_BIN_M) == RADAR_BIN_M
    axes = panels(store, FRAME)["Range-angle map"]
    assert axes.get_ylabel() == "range (m), bins of 0.195 m"
    low, high = axes.images[0].get_extent()[2:]
    assert (high - low) / 256 == pytest.approx(RADAR_BIN_M)  # a bin's middle is at its number times its width
    assert low == pytest.approx(-RADAR_BIN_M / 2)
    left, right = axes.images[0].get_extent()[:2]
    assert left + (right - left) * 32.5 / 64 == pytest.approx(0)  # bin 32 is broadside


def test_other_chirps_have_bins_and_the_profile_of_the_paper_ascends(store: Store, monkeypatch: Any) -> None:
    values = np.zeros((64, 100), np.float32)
    values[1, 7] = 1.0  # sin(angle) = 2 / 64 as the bins come
    spec, one = store.spec("frames/radar"), "wfm_cli.core.inspect.frame_picture._one"
    plain = frame_figure.__globals__["_one"]
    monkeypatch.setattr(one, lambda s, name, frame: values if name == "frames/radar" else plain(s, name, frame))
    changed = type(spec)(**{**vars(spec), "attrs": {"profile": "paper"}})
    real = Store.spec
    monkeypatch.setattr(Store, "spec", lambda self, name: changed if name == "frames/radar" else real(self, name))
    axes = panels(store, FRAME)["Range-angle map"]
    assert axes.get_ylabel() == "range bin"
    shown = np.asarray(axes.images[0].get_array())
    assert np.unravel_index(shown.argmax(), shown.shape) == (7, 33)


def test_sensors_without_data_have_no_panel(tmp_path: Path) -> None:
    few = make_sequences(tmp_path, modalities=("lidar", "gps", "power"))
    drawn = panels(few, 0)
    assert {"Track", "Depth image", "Beam powers"} <= drawn.keys()
    assert not {"Camera", "Range-angle map"} & drawn.keys()


def test_a_challenge_without_powers_and_with_equal_time_steps(tmp_path: Path) -> None:
    path = challenge_2022(make_street(tmp_path / "street", ("32",)))
    challenge = DeepSenseSource(scenarios=(str(path),), image_size=16, history=3, horizon=1)
    run(PrepareRecipe(name="challenge", source=challenge), tmp_path / "c.zarr", progress=False)
    made = open_store(tmp_path / "c.zarr")
    assert "Beam powers" not in panels(made, 0)
    assert panels(made, 4)["Beam powers"].get_title(loc="left") == f"Beam powers: best is {made.read('labels/beam')[4]}"
    assert panels(made, 4)["Track"].lines[2].get_label() == "this frame: no position"
    figures = dict(sequence_figures(made, 0))
    colours = figures["map"].axes[0].collections[0].get_array()
    beam = made.read("labels/beam")[made.read("meta/position_known") > 0].astype(float)
    assert np.array_equal(np.ma.filled(colours, -1.0), np.where(beam >= 0, beam, -1.0))
    (released,) = (
        line for line in text(made.path).splitlines() if line.startswith("scenario challenge") and "%" in line
    )
    assert released.split()[-1] == "0"  # frames without powers are not frames with NaN


def test_pictures_of_the_whole_store(store: Store) -> None:
    figures = dict(sequence_figures(store, FRAME))
    assert list(figures) == [f"frame-{FRAME}", "map", "lengths", "splits"]
    dots = [axes.collections[0] for axes in figures["map"].axes[:2]]
    scenario, beam = store.read("meta/scenario"), store.read("labels/beam")
    for number, drawn in enumerate(dots):
        own = np.flatnonzero(scenario == number)
        assert np.array_equal(np.asarray(drawn.get_offsets()), store.read("frames/position")[own])
        assert np.array_equal(np.asarray(drawn.get_array()), beam[own])
    names = list(store.attrs["windows"]["splits"])
    for axes, name in zip(figures["splits"].axes, names, strict=True):
        shown = np.ma.filled(np.ma.asarray(axes.images[0].get_array(), float), np.nan)
        counts = np.bincount(store.read(f"windows/split_{name}"), minlength=4)
        assert [int((shown == part).sum()) for part in range(4)] == counts.tolist()
    assert "leak: " in figures["splits"].axes[names.index("paper")].get_xlabel()
    bars = figures["lengths"].axes[0].patches
    assert sum(bar.get_height() for bar in bars) == len(store.spec("meta/sequence").attrs["classes"])


def test_files_and_refusals(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(style._RC, "savefig.dpi", 60)
    (path,) = inspect.frame(store.path, tmp_path / "out", FRAME)
    assert path.name == f"frame-{FRAME}.png"
    assert matplotlib.image.imread(path).std() > 0.05
    names = [picture.name for picture in inspect.pictures(store.path, tmp_path / "all", FRAME)]
    assert names == [f"frame-{FRAME}.png", "map.png", "lengths.png", "splits.png", "labels.png"]
    for wrong in (inspect.frame, inspect.pictures):
        with pytest.raises(InputError, match=f"there is no frame {store.samples}") as refused:
            wrong(store.path, tmp_path / "none", store.samples)
        assert refused.value.hint == f"frames run from 0 to {store.samples - 1}"
    assert not (tmp_path / "none").exists()
    channels = make_store(tmp_path / "s.zarr", samples=12)
    with pytest.raises(InputError, match="which has no frames"):
        inspect.frame(open_store(channels.path).path, tmp_path / "none", 0)
