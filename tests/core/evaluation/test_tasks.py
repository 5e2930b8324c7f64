"""Task files: the shipped ones are whole, a user's own can be given, mistakes get one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfm_cli.core.evaluation.tasks import load_task, shipped_tasks
from wfm_cli.errors import InputError

GOOD = "{name: x, version: 1, title: X, label: labels/x, kind: classes, primary: macro_f1, baselines: [raw]}"


def test_the_shipped_tasks() -> None:
    beams = {f"beam_{n}{suffix}" for n in (16, 32, 64, 128, 256) for suffix in ("", "_half")}
    of_channels = {"los", "position"} | beams
    images, frames = {"rf_signal", "nr_position", "sensing"}, {"rml", "radcom", "rfp", "interference"}
    pulses = {"uwb_indoor", "uwb_industrial"}
    spectrograms = {f"spectro_{name}" for name in ("modulation", "snr", "mobility", "snr_mobility", "standard")}
    spectrograms.add("iq_class")
    forecasts = {"localisation", "beam_prediction", "rssi_prediction"}
    assert set(shipped_tasks()) == of_channels | images | frames | pulses | spectrograms | forecasts
    beside = {"raw", "random", "log_power", "dft_32", "dft_64", "angular_32", "angle_delay", "majority"}
    for names, wanted in (
        (of_channels, beside),
        (images, {"raw", "random", "profiles", "majority"}),
        (frames, {"raw", "random", "iq_spectrum", "majority"}),
        (pulses, {"raw", "random", "pulse", "majority"}),
        (spectrograms, {"raw", "random", "psd", "energy", "majority"}),
    ):
        for name in names:
            task = load_task(name)
            assert task.name == name
            assert wanted <= set(task.baselines)


def test_a_family_fills_in_its_members() -> None:
    task = load_task("beam_64_half")
    assert (task.label, task.classes, task.version) == ("labels/beam_64_half", 64, 1)
    assert "64 beams" in task.title
    assert not task.published  # the papers used the closed grid
    assert load_task("beam_16").label == "labels/beam_16"


@pytest.mark.parametrize(
    ("task", "system", "budget", "value"),
    [
        ("beam_16", "LWM v1.0 embeddings", "10 %", 75),
        ("beam_64", "LWM v1.0 embeddings", "all", 86),
        ("beam_64", "raw channels (LWM paper)", "30 %", 54),
        ("beam_256", "raw channels (LWM paper)", "all", 27),
        ("los", "LWM v1.0 CLS", 13, 87.0),
        ("los", "WavesFM v1.0 linear probing", "all", 95.02),
        ("beam_16", "LatentWave, frequency masks", "all", 63.1),
        ("rf_signal", "LatentWave, region masks", "all", 80.9),
        ("sensing", "WavesFM v1.0 LoRA, reproduced", "all", 99.31),
        ("rml", "WavesFM v1.0 linear probing, reproduced", "1 %", 30.75),
        ("radcom", "WavesFM v1.0 last two blocks", "all", 94.53),
        ("rfp", "WavesFM v1.0 linear probing", "all", 98.97),
        ("interference", "WavesFM v1.0 LoRA, reproduced", "all", 79.67),
        ("spectro_snr_mobility", "LWM-Spectro fine-tuned", "5 per class", 76.5),
        ("spectro_snr_mobility", "ResNet-18 (LWM-Spectro paper)", "400 per class", 50.1),
        ("spectro_snr_mobility", "LWM-Spectro MoE, three standards", "100 per class", 89.8),
        ("spectro_modulation", "untrained MoE", "all", 85.0),
        ("iq_class", "PSD statistics + logistic regression", "all", 78.0),
    ],
)
def test_published_figures_name_their_protocol(task: str, system: str, budget: int | str, value: float) -> None:
    (figure,) = (f for f in load_task(task).published if (f["system"], f["budget"]) == (system, budget))
    assert figure["value"] == value
    assert figure["protocol"]
    assert figure["source"]
    assert figure["unit"] == "%"


def test_published_position_errors_are_in_metres() -> None:
    figures = {(f["system"], f["metric"]): f for f in load_task("nr_position").published}
    assert figures["LatentWave, frequency masks", "mean_distance"]["value"] == 2.32
    assert figures["WavesFM v1.0 LoRA", "median_distance"]["value"] == 0.99
    indoor = {f["system"]: f["value"] for f in load_task("uwb_indoor").published}
    assert indoor["WavesFM v1.0 last two blocks, reproduced"] == 0.82
    assert all(f["unit"] == "m" for name in ("nr_position", "uwb_industrial") for f in load_task(name).published)


def test_a_task_of_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    assert load_task(str(file)).name == "x"
    file.write_text("variants: {n: [2, 3]}\n" + GOOD[1:-1].replace("name: x", 'name: "x_{n}"').replace(", ", "\n"))
    assert load_task(f"{file}:x_3").name == "x_3"
    with pytest.raises(InputError, match="choose one of its tasks"):
        load_task(str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("macro_f1", "accuracy"), "unknown metric 'accuracy'"),
        (GOOD.replace("[raw]", "[rwa]"), "unknown rwa"),
        (GOOD.replace("title", "titel"), "titel: unknown key"),
        ("- a list", "mapping"),
        ("{", "not a readable task file"),
        (GOOD[:-1] + ", published: [{system: A}]}", "published"),
        (GOOD[:-1] + ", classes: 2, only: {labels/y: [a]}}", "classes: with `only`"),
        (GOOD[:-1] + ", only: [labels/y]}", "only"),
        (
            GOOD[:-1].replace("kind: classes, primary: macro_f1", "kind: values, primary: rmse") + ", in_both: true}",
            "in_both",
        ),
    ],
)
def test_mistakes_in_a_task_file(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        load_task(str(file))
    assert words in error.value.message
    assert "bad.yaml" in error.value.message
    assert "\n" not in error.value.message


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        load_task("beam_46")
    assert "beam_64" in (error.value.hint or "")
    with pytest.raises(InputError, match="not a readable task file"):
        load_task("nowhere.yaml")
