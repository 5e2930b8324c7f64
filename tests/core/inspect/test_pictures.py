"""Pictures of stores and runs: which files, and that they show what they should."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tests.fakes import runs
from tests.fakes.stores import make_store
from wfm_cli.core import inspect
from wfm_cli.core.evaluation.features import cache_name
from wfm_cli.core.inspect.channel_picture import channel_figure
from wfm_cli.core.inspect.maps import map_figure, users_of
from wfm_cli.core.inspect.run_pictures import principal_components
from wfm_cli.core.inspect.runs import feature_names
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError


def test_a_store_gets_channel_map_labels_and_splits(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=40)
    paths = inspect.pictures(store.path, tmp_path / "out", sample=3)
    assert [path.name for path in paths] == ["channel.png", "map.png", "labels.png", "splits.png"]
    for path in paths:
        picture = matplotlib.image.imread(path)
        assert picture.std() > 0.02  # something is drawn
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)


def test_the_channel_picture_shows_magnitudes_in_db_and_peaks_at_angle_and_delay(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=12, antennas=8, subcarriers=8)
    figure = channel_figure(store, 5)
    assert figure is not None
    magnitude, angle_delay = figure.axes[:2]
    channel = store.read("channel")[5]
    shown = np.asarray(magnitude.images[0].get_array())
    assert np.allclose(shown, 20 * np.log10(np.abs(channel)), atol=1e-3)
    assert (magnitude.get_xlabel(), magnitude.get_ylabel()) == ("subcarrier", "antenna")
    level = np.asarray(angle_delay.images[0].get_array())
    truth = np.abs(np.fft.fftshift(np.fft.ifft(np.fft.fft(channel, axis=0), axis=1), axes=0))
    assert np.unravel_index(level.argmax(), level.shape) == np.unravel_index(truth.argmax(), truth.shape)
    assert level.max() == 0


def test_the_delay_axis_is_in_microseconds_when_the_spacing_is_known(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=12)
    store.attrs["conventions"] = {"subcarrier_spacing_hz": 30e3}
    figure = channel_figure(store, 0)
    assert figure is not None
    axes = figure.axes[1]
    assert axes.get_xlabel() == "delay (µs)"
    assert axes.get_xlim()[1] == pytest.approx(1e6 / 30e3)  # the unambiguous delay range is one over the spacing


def test_the_map_holds_every_user_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=40)
    users = users_of(store, 0)
    assert users is not None
    figure = map_figure(store, users)
    assert figure is not None
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[0].collections if len(c.get_offsets())])
    expected = store.read("meta/position")[:, :2]
    assert sorted(map(tuple, np.round(drawn, 3))) == sorted(map(tuple, np.round(expected.astype(float), 3)))


def test_a_sample_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    make_store(tmp_path / "s.zarr", samples=12)
    with pytest.raises(InputError, match="no sample 12") as error:
        inspect.pictures(tmp_path / "s.zarr", tmp_path / "out", sample=12)
    assert "0 to 11" in str(error.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_store(tmp_path / "s.zarr", samples=12)
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="is a file"):
        inspect.pictures(tmp_path / "s.zarr", tmp_path / "out")


def test_runs_get_the_pictures_that_they_hold(tmp_path: Path) -> None:
    pretrain = runs.pretrain_run(tmp_path / "p.zarr", summary=True)
    assert [p.name for p in inspect.pictures(pretrain.path, tmp_path / "p")] == ["training.png", "reconstruction.png"]
    bench = runs.benchmark_run(tmp_path / "b.zarr", budgets=(10,), seeds=3)
    bench.cached("f" * 32, lambda: np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32))
    names = [path.name for path in inspect.pictures(bench.path, tmp_path / "b")]
    assert names == ["embeddings.png", "confusion_los.png", "confusion_beam_16.png"]
    Run.create(tmp_path / "e.zarr", "probe", {})
    assert inspect.pictures(tmp_path / "e.zarr", tmp_path / "e") == []


def test_cached_features_carry_the_label_of_their_encoder(tmp_path: Path) -> None:
    run = runs.benchmark_run(tmp_path / "b.zarr", budgets=(10,), seeds=3)
    run.set_attrs(encoders={"lwm_canyon.zarr@cls": "digest"}, data_digest="data")
    known = cache_name("digest", "data", ("channel",), np.arange(20))
    for name in (known, "0" * 32):
        run.cached(name, lambda: np.zeros((20, 4), np.float32))
    assert feature_names(run) == {known: "LWM, ours (CLS)", "0" * 32: "features 00000000"}


def test_principal_components_match_an_svd() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((60, 7)) * np.array([5, 3, 1, 1, 0.5, 0.2, 0.1]) + 4
    scores, shares = principal_components(values)
    u, s, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
    assert np.allclose(np.abs(scores), np.abs(u[:, :2] * s[:2]))
    assert np.allclose(shares, s[:2] ** 2 / (s**2).sum())
    assert principal_components(np.ones((5, 3)))[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("what", ["store", "run"])
def test_the_command_prints_json_and_the_names_of_pictures(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wfm_cli.commands.show import show

    path = tmp_path / "x.zarr"
    if what == "store":
        make_store(path, samples=12)
    else:
        runs.pretrain_run(path)
    show(path, pictures=tmp_path / "out", sample=0, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["what"] == what
    assert ".png" in captured.err
