"""Folders of recordings: the plan, the bytes, interruptions, and what a reader finds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from wfm_cli.core.recipe.loading import load_recipe
from wfm_cli.core.recipe.waveforms import WaveformsRecipe
from wfm_cli.errors import InputError, RecipeError
from wfm_cli.main import app
from wfm_datasets.iq.recording import open_windows
from wfm_datasets.iq.scan import ReadOptions, scan
from wfm_datasets.waveforms import folder
from wfm_datasets.waveforms.folder import MANIFEST, build
from wfm_datasets.waveforms.plan import plan, spread


def small(*overrides: str) -> WaveformsRecipe:
    changes = ["snr_db=[0,20]", "per_class=5", "duration_ms=3", *overrides]
    return load_recipe("waveforms/small", WaveformsRecipe, changes)


def digests(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*.sigmf-*"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("waveforms") / "w"
    build(small(), path, progress=False)
    return path


def test_the_default_set_is_balanced_and_of_the_stated_size() -> None:
    planned = plan(load_recipe("waveforms/lwm-spectro", WaveformsRecipe))
    assert len(planned.items) == 2520
    assert planned.samples == 51_200
    assert planned.samples >= 128 + 127 * 400  # the spectrogram that the recipe is made for
    assert planned.bytes < 600e6
    for field, counts in planned.counts().items():
        assert len(set(counts.values())) == 1, field
    joint = Counter((i.snr_db, i.mobility, i.modulation) for i in planned.items)
    assert set(joint.values()) == {24}
    assert len({item.name for item in planned.items}) == len(planned.items)


@pytest.mark.parametrize("per_class", [1, 7, 30, 61])
def test_every_number_per_class_is_spread_evenly(per_class: int) -> None:
    planned = plan(load_recipe("waveforms/lwm-spectro", WaveformsRecipe, [f"per_class={per_class}"]))
    assert set(planned.counts()["snr_db/mobility"].values()) == {per_class}
    for field in ("standard", "waveform", "modulation", "scenario"):
        counts = planned.counts()[field].values()
        assert max(counts) - min(counts) <= 21, field


def test_beginnings_of_the_order_are_even() -> None:
    order = spread([("a", "b", "c"), ("x", "y"), tuple("12345"), ("u", "v")])
    assert len(set(order)) == len(order) == 60
    for length in (6, 15, 30):
        for position in range(4):
            counts = Counter(choice[position] for choice in order[:length]).values()
            assert max(counts) - min(counts) <= 1


def test_the_bytes_depend_on_recipe_and_seed_alone(made: Path, tmp_path: Path) -> None:
    with_workers = tmp_path / "two"
    assert build(small(), with_workers, workers=2, progress=False).made == 20
    assert digests(with_workers) == digests(made)
    other = tmp_path / "other"
    build(small("seed=1"), other, progress=False)
    assert not set(digests(other).values()) & set(digests(made).values())
    more = build(small("per_class=6"), tmp_path / "more", progress=False)
    shared = digests(tmp_path / "more").items() & digests(made).items()
    assert more.recordings == 24
    assert len(shared) >= 24  # a recording is a function of its own name


def test_an_interrupted_call_goes_on(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, calls = tmp_path / "w", []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    real = folder.make
    monkeypatch.setattr(folder, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(small(), out, progress=False)
    assert not json.loads((out / MANIFEST).read_text())["complete"]
    first = sorted(out.rglob("*.sigmf-data"))
    assert len(first) == 7
    times = {file: file.stat().st_mtime_ns for file in first[1:]}
    first[0].write_bytes(b"torn")  # data of the wrong size are made again
    summary = build(small(), out, progress=False)
    assert (summary.recordings, summary.made) == (20, 14)
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    assert digests(out) == digests(made)
    assert json.loads((out / MANIFEST).read_text())["complete"]
    assert build(small(), out, progress=False).made == 0


def test_folders_of_something_else_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds the waveforms of another recipe"):
        build(small("seed=5"), made, progress=False)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="not a folder of waveforms"):
        build(small(), tmp_path, progress=False)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"waveforms\.json: damaged"):
        build(small(), tmp_path / "bad", progress=False)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    summary = build(small(), tmp_path / "none", dry_run=True, progress=False)
    assert (summary.recordings, summary.made, summary.bytes) == (20, 0, 20 * 3 * 2560 * 4)
    assert not (tmp_path / "none").exists()


def test_a_reader_finds_labels_and_samples(made: Path) -> None:
    found = scan([str(made)], ReadOptions())
    assert not found.failed
    assert len(found.recordings) == 20
    recording = next(r for r in found.recordings if "nr/ofdm" in str(r.path))
    (note,) = recording.annotations
    assert (note.start, note.count, recording.samples) == (0, 7680, 7680)
    assert note.label == note.fields["standard"] == "nr"
    assert recording.sample_rate == 2.56e6
    assert recording.center_frequency in (3.5e9, 28e9)
    assert note.low_hz is not None
    assert note.high_hz is not None
    assert note.high_hz - note.low_hz == pytest.approx(72 * 30e3)
    assert set(note.fields) >= {"waveform", "modulation", "snr_db", "mobility", "scenario", "user", "speed_mps"}
    speed = note.fields["speed_mps"]
    assert note.fields["doppler_hz"] == pytest.approx(speed * recording.center_frequency / 299_792_458, rel=1e-4)
    window = open_windows(recording)(np.zeros(1, np.int64), np.zeros(1, np.int64), 7680)[0, 0]
    level = 10 * np.log10(np.mean(np.abs(window) ** 2))
    assert -42.5 < level < -23.5
    assert level > note.fields["gain_db"]  # noise comes on top of the signal


def test_a_recording_outlives_the_coherence_time() -> None:
    changes = ["mobility.vehicular=[0.8,2]"]
    with pytest.raises(InputError, match=r"duration_ms: 5 ms are shorter .* canyon_3p5 \(19\.2 ms\)") as caught:
        plan(load_recipe("waveforms/small", WaveformsRecipe, changes))
    assert "set duration_ms to 20 or more" in str(caught.value.hint)
    plan(load_recipe("waveforms/small", WaveformsRecipe, [*changes, "duration_ms=20"]))


def test_mistakes_in_the_recipe_name_the_key(tmp_path: Path) -> None:
    for change, message in {
        "mobility.vehicular=[25,8]": "'vehicular': two speeds",
        "snr_db=[0,0]": "every entry may be given once",
        "receiver.level_dbfs=[-20,-30]": "the two levels must ascend",
        "wifi.clock=3": r"wifi\.clock",
        "modulations=[8psk]": "modulations",
    }.items():
        with pytest.raises(RecipeError, match=message):
            small(change)
    path = tmp_path / "r.yaml"
    path.write_text("step: waveforms\nreceiver: {noice: white}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2:12: receiver\.noice: unknown key; did you mean 'noise'"):
        load_recipe(path, WaveformsRecipe)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "w"
    arguments = ["prepare", "waveforms", "waveforms/small", "--out", str(out), "--per-class", "1"]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run", "--json"], catch_exceptions=False)
    assert json.loads(dry.stdout)["recordings"] == 6
    assert not out.exists()
    result = CliRunner().invoke(app, [*arguments, "--set", "duration_ms=3"], catch_exceptions=False)
    assert "holds 6 recordings of 3 ms at 2.56 MS/s" in result.stdout
    assert "6 pairs of SNR and mobility, 1 to 1 recordings each" in result.stdout
    assert len(list(out.rglob("*.sigmf-meta"))) == 6
