"""Every shipped recipe runs, made small by overrides alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import wfm_cli as wfm
from tests.fakes import wavesfm as raw
from tests.fakes.deepmimo import fake_rays, write_mat
from tests.fakes.deepsense import make_sequences, make_street
from tests.fakes.evaluation import spectrogram_run
from tests.fakes.stores import make_spectrogram_store
from tests.wfm_datasets.spectrogram import sigmf
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe
from wfm_cli.core.recipe.loading import load_recipe
from wfm_cli.core.recipe.locate import shipped
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.core.store import parts
from wfm_cli.core.store.run import Run
from wfm_cli.core.store.verify import verify

CITIES = {
    "city_18_denver": 3,
    "city_15_indianapolis": 3,
    "city_19_oklahoma": 1,
    "city_12_fortworth": 1,
    "city_11_santaclara": 1,
    "city_7_sandiego": 1,
}
WAVESFM = {
    "prepare/wavesfm-sensing": lambda: raw.ntu_fi(Path("NTU-Fi_HAR"), 1),
    "prepare/wavesfm-rf-signal": lambda: raw.commrad(Path("commrad_rf"), slices=1),
    "prepare/wavesfm-nr-position": lambda: raw.positioning(Path("jsat-pb50"), 12),
    "prepare/wavesfm-radcom": lambda: raw.radcom(Path("RadComOta2.45GHz.hdf5")),
    "prepare/wavesfm-rml22": lambda: Path("RML22.01A").write_bytes(raw.python2_pickle(raw.rml_arrays())),
    "prepare/wavesfm-powder": lambda: raw.powder(Path("powder")),
    "prepare/wavesfm-icarus": lambda: raw.icarus(Path("icarus")),
    "prepare/wavesfm-uwb-indoor": lambda: raw.uwb_indoor(Path("uwb_indoor")),
    "prepare/wavesfm-uwb-industrial": lambda: raw.uwb_industrial(Path("uwb_industrial")),
}
"""What lies beside the recipes of the raw data sets."""


def recordings(folder: Path, samples: int) -> None:
    """Three recordings of each of three standards, with the annotations of made waveforms."""
    for standard, frequency in (("lte", -0.2), ("nr", 0.0), ("wifi", 0.2)):
        for number, scenario in enumerate(("canyon_3p5", "canyon_28", "canyon_3p5")):
            mobility = ("static", "pedestrian", "vehicular")[number]
            about = {"snr_db": 5.0 * number, "mobility": mobility, "scenario": scenario, "standard": standard}
            signal = sigmf.tone(samples, frequency, seed=number)
            notes = [sigmf.note(0, samples, standard, **about)]
            sigmf.write(folder / standard / f"r{number}", signal, "ci16_le", notes)


RECORDINGS = {
    "prepare/spectrogram-lwm": lambda: recordings(Path("waveforms"), 51_200),
    "prepare/spectrogram-wavesfm": lambda: recordings(Path("waveforms"), 51_200),
    "prepare/iq-recordings": lambda: recordings(Path("iq"), 12_480),
}
"""Recordings that lie beside the recipes of spectrograms."""
SCENARIOS = {
    "prepare/deepsense": lambda: make_street(Path(), ("31", "32", "33", "34"), 2),
    "prepare/street": lambda: make_street(Path("street"), ("31", "33"), 3),
}
"""Scenario folders that lie beside the recipes of sequences."""
TRAIN = ["train.epochs=null", "train.steps=2", "train.batch_size=8", "train.eval_samples=16", "train.threads=1"]


WINDOWS = ["model.history=4", "model.horizon=2", "model.width=16", "model.heads=2", "model.predictor_layers=1"]
"""JEPA-MSAC made small, for windows of the small street."""


def recipes(step: str) -> list[str]:
    return [name for name in shipped() if name.startswith(f"{step}/")]


@pytest.fixture(scope="module")
def canyon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("canyon") / "canyon.zarr"
    parts.run(load_recipe("prepare/canyon", PrepareRecipe), path, progress=False)
    return path


@pytest.fixture(scope="module")
def trained(canyon: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "lwm.zarr"
    overrides = [f"data.store={canyon}", "model.layers=1", *TRAIN]
    wfm.pretrain("pretrain/lwm-quickstart", path, overrides=overrides)
    return path


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of spectrograms and an encoder for them."""
    folder = tmp_path_factory.mktemp("spectrograms")
    store = make_spectrogram_store(folder / "spectro.zarr", 336, 16)
    return store.path, spectrogram_run(folder / "encoder.zarr", 16).path


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of sequences."""
    return make_sequences(tmp_path_factory.mktemp("street")).path


@pytest.mark.parametrize("name", recipes("prepare"))
def test_prepare(name: str, canyon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "prepare/canyon":
        store = wfm.open_store(canyon)
        assert store.samples == 2162
    else:
        monkeypatch.chdir(tmp_path)
        if name in WAVESFM:
            WAVESFM[name]()
        if name in RECORDINGS:
            RECORDINGS[name]()
        if name in SCENARIOS:
            SCENARIOS[name]()
        if name == "prepare/lwm-cities":
            for seed, (city, station) in enumerate(CITIES.items()):
                rays = fake_rays(24, seed=seed)
                write_mat(tmp_path / city, dict.fromkeys(range(1, station + 1), rays))
        out = tmp_path / "out.zarr"
        parts.run(load_recipe(name, PrepareRecipe), out, progress=False)
        store = wfm.open_store(out)
    assert verify(store.path).problems == ()
    assert len(store.indices("train")) > 0
    assert len(store.indices("test")) > 0
    assert store.input in store.names


@pytest.mark.parametrize("name", recipes("pretrain"))
def test_pretrain(
    name: str, canyon: Path, spectrograms: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "run.zarr"
    recipe = load_recipe(name, PretrainRecipe)
    if recipe.model.kind == "jepa_msac":
        store = request.getfixturevalue("street")
        small = [*WINDOWS, "model.layers=1", "model.vision={network: cnn}"]
        wfm.pretrain(name, out, overrides=[f"data.store={store}", *small, *TRAIN])
        run = Run.open(out)
        assert run.complete
        judged = "nmse_latent_future" if recipe.objective.kind == "jepa_msac" else "nmse_future"
        assert len(run.unit("validation").array(judged)) > 0
        return
    pictures = recipe.data.array == "spectrogram"
    store = spectrograms[0] if pictures else canyon
    sizes = "model.expert" if recipe.model.kind == "lwm_spectro_moe" else "model"
    overrides = [f"data.store={store}", f"{sizes}.layers=1", *TRAIN, *([f"{sizes}.patch=4"] if pictures else [])]
    summary = wfm.pretrain(name, out, overrides=overrides)
    assert summary is not None
    run = Run.open(out)
    assert run.complete
    judged = "nmse_latent" if run.attrs["recipe"]["objective"]["kind"].startswith("jepa") else "nmse"
    assert run.unit("validation").array(judged).shape == (16,)
    assert wfm.embed(str(out), store, indices=range(4)).shape == (4, wfm.load_encoder(out).embedding_dim())


@pytest.mark.parametrize("name", recipes("probe"))
def test_probe(name: str, canyon: Path, trained: Path, tmp_path: Path) -> None:
    from wfm_cli.core.evaluation.probing import run_probe
    from wfm_cli.core.recipe.evaluate import ProbeRecipe

    overrides = [f"data={canyon}", f"encoder={trained}", "probe.labels=[10]", "probe.seeds=3"]
    run = run_probe(load_recipe(name, ProbeRecipe, overrides), tmp_path / "probe.zarr", progress=False)
    assert all(unit.attrs["status"] == "ok" for unit in run.units())


@pytest.mark.parametrize("name", recipes("benchmark"))
def test_benchmark(
    name: str,
    canyon: Path,
    trained: Path,
    spectrograms: tuple[Path, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    recipe = load_recipe(name, BenchmarkRecipe)
    if "localisation" in recipe.tasks:
        forecasts(name, recipe, request.getfixturevalue("street"), tmp_path, request.getfixturevalue("monkeypatch"))
        return
    channels = recipe.data == "canyon.zarr"
    store, encoder = (canyon, trained) if channels else spectrograms
    few = "2 per class" if "per class" in str(recipe.probe.labels) else "10"
    overrides = [f"data={store}", f"probe.labels=[{few}]", "probe.seeds=3", "probe.bootstrap=50"]
    overrides += ["tasks=[los, beam_16]"] if channels else []
    overrides += ["probe.adapt.epochs=0.1", "probe.adapt.min_steps=2", "probe.adapt.looks=1", "probe.adapt.seeds=1"]
    overrides += [f"probe.adapt.labels=[{few}]"]
    run = wfm.benchmark(name, tmp_path / "table.zarr", overrides=overrides, encoders=[f"{encoder}@cls"])
    roles = {unit.attrs["role"] for unit in run.units()}
    assert {"encoder", "control", "baseline"} <= roles
    assert ("supervised" in roles) == (not channels)
    assert all(unit.attrs["status"] == "ok" for unit in run.units())


def forecasts(name: str, recipe: BenchmarkRecipe, store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of a suite of predictions on one task; its runs are one and the same."""
    monkeypatch.chdir(folder)
    small = [*WINDOWS, "model.layers=1", "model.vision={network: cnn}"]
    wfm.pretrain("pretrain/jepa-msac-small", folder / "run.zarr", overrides=[f"data.store={store}", *small, *TRAIN])
    for encoder in {row.encoder.removeprefix("random:") for row in recipe.encoders}:
        (folder / encoder).symlink_to(folder / "run.zarr")
    few = {"epochs": 0.1, "min_steps": 1, "looks": 1, "seeds": 1, "joint_steps": 1, "joint_batch": 2, "rank_windows": 2}
    overrides = [f"data={store}", "tasks=[localisation]", "probe.bootstrap=20"]
    overrides += [f"probe.forecast.{key}={value}" for key, value in few.items()]
    run = wfm.benchmark(name, folder / "table.zarr", overrides=overrides)
    units = list(run.units())
    assert {unit.attrs["role"] for unit in units} == {"encoder", "control", "supervised", "baseline", "reference"}
    assert len([unit for unit in units if unit.attrs["dim"]]) == len(recipe.encoders)
    assert all(unit.attrs["status"] == "ok" for unit in units)


def test_jepa_msac_with_its_own_picture_network(tmp_path: Path) -> None:
    """The published model in full width, without the weights of ImageNet, for one step."""
    pytest.importorskip("transformers")
    store = make_sequences(tmp_path, sequences=3, image_size=32, history=8, horizon=5)
    small = ["train.epochs=null", "train.steps=1", "train.batch_size=2", "train.eval_samples=2", "train.threads=1"]
    overrides = [f"data.store={store.path}", "model.vision.weights=random", *small]
    wfm.pretrain("pretrain/jepa-msac", tmp_path / "run.zarr", overrides=overrides)
    run = Run.open(tmp_path / "run.zarr")
    assert run.attrs["model"]["vision"]["network"] == "efficientnet_b0"
    assert run.attrs["model"]["width"] == 128
    assert len(run.unit("validation").array("nmse_latent")) == 2


@pytest.mark.parametrize("name", recipes("street"))
def test_street(name: str, tmp_path: Path) -> None:
    from wfm_cli.core.recipe.street import StreetRecipe
    from wfm_datasets.street.folder import build

    few = ["sequences=1", "frames=[2, 3]", "image=[96, 54]", "lidar_columns=64"]
    summary = build(load_recipe(name, StreetRecipe, few), tmp_path / "street", progress=False)
    for facts in summary["scenarios"].values():
        assert len(Path(facts["index"]).read_text().splitlines()) == 1 + facts["frames"]


@pytest.mark.parametrize("name", recipes("waveforms"))
def test_waveforms(name: str, tmp_path: Path) -> None:
    from wfm_cli.core.recipe.waveforms import WaveformsRecipe
    from wfm_datasets.iq.scan import ReadOptions, scan
    from wfm_datasets.waveforms.folder import build

    summary = build(load_recipe(name, WaveformsRecipe, ["per_class=1", "snr_db=[10]"]), tmp_path / "w", progress=False)
    found = scan([str(tmp_path / "w")], ReadOptions())
    assert not found.failed
    assert len(found.recordings) == summary.recordings == len(summary.counts["snr_db/mobility"])
    assert all(recording.samples == summary.samples for recording in found.recordings)
