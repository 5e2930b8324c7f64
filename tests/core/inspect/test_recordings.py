"""What is said and drawn of recordings, from facts and arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from wfm_cli.core.evaluation.report import style
from wfm_cli.core.inspect.recording_picture import picture_names, recording_figure, recording_picture
from wfm_cli.core.inspect.recording_view import recording_view
from wfm_cli.core.inspect.text import si
from wfm_cli.core.inspect.text_waterfall import text_waterfall
from wfm_cli.core.signal.levels import measure
from wfm_cli.core.signal.waterfall import Excerpt, column_powers, dbfs

BINS, COLUMNS = 32, 64


def excerpt(**changes: Any) -> Excerpt:
    """A weak noise floor with a tone at +1/4 of the rate in the second half."""
    rng = np.random.default_rng(0)
    shape = (COLUMNS, 1, BINS)
    samples = 1e-3 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    samples[COLUMNS // 2 :] += 0.5 * np.exp(2j * np.pi * np.arange(BINS) / 4)
    powers = column_powers(samples)
    flat = samples.ravel().astype(np.complex64)
    known = {
        "waterfall": dbfs(powers.T), "spectrum": dbfs(powers.mean(0)), "trace": flat[-256:], "trace_start": 1792,
        "cloud": flat, "extent": BINS * COLUMNS, "axis": "time",
    }  # fmt: skip
    return Excerpt(**{**known, **changes})


def facts(**changes: Any) -> dict[str, Any]:
    from dataclasses import asdict

    levels = measure(excerpt().cloud)
    known = {
        "name": "day1/tone", "path": "day1/tone.cs16", "format": "raw", "datatype": "ci16_le",
        "samples": 2048, "channels": 1, "examples": 1, "sample_rate_hz": 1e6, "center_frequency_hz": 433.92e6,
        "duration_s": 2048e-6, "label": "tone", "fields": {"snr_db": 10.0}, "columns": {}, "annotations": [],
        "origin": {"datatype": "suffix", "sample_rate": "--rate"}, "notes": ["a note"], "dropped_bytes": 3,
        "layout": {"order": "qi"}, "measured_samples": 2048, "levels": [asdict(levels)], "findings": ["a finding"],
        "error": None,
    }  # fmt: skip
    return {**known, **changes}


def whole(*recordings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    outcome = {"path": "day1/readme.md", "status": "skipped", "reason": "no recording (.md)", "bytes": 10}
    known = {
        "what": "recordings", "path": "day1", "counts": {"used": len(recordings), "skipped": 1, "failed": 0},
        "classes": {"tone": {"recordings": 1, "examples": 0, "annotations": 2}}, "recordings": list(recordings),
        "outcomes": [outcome],
    }  # fmt: skip
    return {**known, **changes}


def printed(view: Any, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "text"),
    [(433.92e6, "433.92 MHz"), (2e3, "2 kHz"), (1.0, "1 Hz"), (1e-3, "1 mHz"), (0.0, "0 Hz"), (None, "–"),
     (-5e5, "-500 kHz"), (5.925e9, "5.925 GHz")],
)  # fmt: skip
def test_numbers_get_their_prefix(value: float | None, text: str) -> None:
    assert si(value, "Hz") == text


def test_one_recording_is_told_in_full_with_the_source_of_every_value() -> None:
    text = printed(recording_view(whole(facts()), excerpt()))
    for piece in (
        "day1/tone", "ci16_le", "from suffix", "1 MS/s  from --rate", "433.92 MHz", "QI", "2.048 ms",
        "mean level", "dBFS", "occupied bandwidth", "3 bytes at the end", "a note", "a finding", "snr_db",
        "█",
    ):  # fmt: skip
        assert piece in text, piece


def test_unknown_rate_and_unreadable_samples_are_said() -> None:
    text = printed(recording_view(whole(facts(sample_rate_hz=None, levels=[], error="sample 3 is NaN"))))
    assert "--rate" in text
    assert "sample 3 is NaN" in text


def test_many_recordings_are_a_table_with_classes_and_failures_first() -> None:
    failed = {"path": "day1/x.wav", "status": "failed", "reason": "audio, not I/Q", "bytes": 9}
    skipped = whole()["outcomes"]
    many = whole(facts(), facts(name="day1/b", levels=[], error="gone"), outcomes=[*skipped, failed])
    text = printed(recording_view(many), 200)
    assert "2 recordings" in text
    assert "not readable" in text
    assert text.index("audio, not I/Q") < text.index("no recording (.md)")
    assert "annotations" in text


def test_the_text_waterfall_has_high_frequencies_on_top_and_time_to_the_right() -> None:
    lines = text_waterfall(excerpt(), facts()).plain.splitlines()
    width = len("434.42 MHz")
    rows = [line[width + 1 :] for line in lines[:16]]
    full = [(row, column) for row, line in enumerate(rows) for column, cell in enumerate(line) if cell == "█"]
    assert {row for row, _ in full} <= {3, 4}  # +1/4 of the rate: three quarters up
    assert min(column for _, column in full) == 32
    assert lines[0].startswith("434.42 MHz")
    assert lines[16].rstrip().endswith("2.048 ms")


def test_silence_has_a_text_waterfall_too() -> None:
    silent = excerpt(waterfall=np.full((8, 4), -200, np.float32))
    assert "dBFS" in text_waterfall(silent, facts(sample_rate_hz=None)).plain


def test_the_picture_puts_annotations_where_they_are() -> None:
    notes = [
        {"start": 1024, "count": 512, "label": "burst", "low_hz": 434.12e6, "high_hz": 434.22e6},
        {"start": 0, "count": 100, "label": None, "low_hz": None, "high_hz": None},
    ]
    figure = recording_figure(facts(annotations=notes), excerpt())
    axes = figure.axes[0]
    first, second = axes.patches
    assert (first.get_x(), first.get_width()) == pytest.approx((1.024, 0.512))  # ms at 1 MS/s
    assert (first.get_y(), first.get_height()) == pytest.approx((434.12, 0.1), abs=1e-6)
    assert second.get_height() == pytest.approx(0.99, abs=1e-6)
    assert axes.get_xlabel() == "time (ms)"
    assert axes.get_ylabel() == "frequency (MHz)"
    assert axes.get_ylim() == pytest.approx((433.42, 434.42))
    assert any(text.get_text() == "burst" for text in axes.texts)


@pytest.mark.parametrize(("rate", "axis"), [(None, "time"), (1e6, "example")])
def test_pictures_are_written_whatever_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float | None, axis: str
) -> None:
    monkeypatch.setitem(style._RC, "savefig.dpi", 90)
    told = facts(sample_rate_hz=rate, center_frequency_hz=None, levels=[])
    path = recording_picture(told, excerpt(axis=axis), tmp_path, "a.b")
    assert path == tmp_path / "a.b.png"
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] == pytest.approx(7.16 * 90, abs=1)
    assert picture.std() > 0.05


@pytest.mark.parametrize("rate", [1e3, 1e12])
def test_silent_and_empty_excerpts_are_drawn(rate: float) -> None:
    nothing = np.zeros(0, np.complex64)
    silent = excerpt(waterfall=np.full((8, 1), -200, np.float32), spectrum=np.full(8, -200, np.float32), cloud=nothing)
    assert len(recording_figure(facts(levels=[], sample_rate_hz=rate), silent).axes) == 6  # one is the colour bar


def test_names_of_pictures_are_safe_and_unique() -> None:
    names = picture_names([("a/b", 1), ("a_b", 2), ("../../etc/x", 3), ("A_B", 4), ("..", 5), ("é#1", 6)])
    assert list(names) == ["a_b", "a_b-2", "_.._etc_x", "A_B-3", "recording", "é#1"]
    assert not any("/" in name for name in names)
