"""What is shown of spectrogram stores: files, the trade of compression, decoded statistics, pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console, RenderableType

from tests.fakes.stores import make_spectrogram_store
from tests.wfm_datasets.spectrogram.sigmf import tone, write
from wfm_cli.core import inspect
from wfm_cli.core.inspect.files import file_table
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store import parts
from wfm_cli.core.store.reader import open_store


def text_of(part: RenderableType, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def store_of(folder: Path, layout: Mapping[str, Any] | None = None, **source: Any) -> Path:
    for kind in ("high", "low"):
        for number in range(3):
            name = folder / "iq" / kind / f"r{number}"
            if not name.with_name(f"{name.name}.sigmf-meta").exists():
                write(name, tone(64 * 20, 0.25 if kind == "high" else -0.25, seed=number))
    out = folder / f"{len(list(folder.iterdir()))}.zarr"
    block = {"kind": "spectrogram", "inputs": [str(folder / "iq")], "nfft": 16, "hop": 8, "frames": 7, **source}
    recipe = PrepareRecipe.model_validate({"step": "prepare", "source": block, "layout": layout or {}})
    parts.run(recipe, out, progress=False)
    return out


def test_files_classes_and_the_trade_are_told(tmp_path: Path) -> None:
    out = store_of(tmp_path)
    facts = inspect.describe(out)
    trade = next(array["trade"] for array in facts["arrays"] if array["name"] == "spectrogram")
    assert 0.3 < trade["packed_share"] < 1
    assert trade["plain_ms"] > 0
    assert trade["packed_ms"] > 0
    text = " ".join(text_of(inspect.render(out)).split())
    assert "spectrogram: float16, 224 B a row, uncompressed; zstd would make it" in text
    assert "Files below" in text
    assert "6 used" in text
    assert "0 % of the samples are clipped, at most 0 % of a window; 0 windows are constant" in text
    assert "high 60 3" in text  # windows and recordings of the class
    packed = store_of(tmp_path, {"compression": "zstd"}, dtype_out="uint8")
    text = " ".join(text_of(inspect.render(packed)).split())
    assert "spectrogram: uint8, 112 B a row, zstd makes it" in text


def test_statistics_of_eight_bits_are_decibels(tmp_path: Path) -> None:
    def found(path: Path) -> dict[str, float]:
        return next(a["statistics"] for a in inspect.describe(path)["arrays"] if a["name"] == "spectrogram")

    exact, coarse = found(store_of(tmp_path)), found(store_of(tmp_path, dtype_out="uint8"))
    for name in ("mean", "std", "min", "max"):
        assert coarse[name] == pytest.approx(exact[name], abs=0.3)
    assert coarse["count"] == exact["count"]


def test_a_long_list_of_files_is_cut_but_failures_are_not() -> None:
    def entry(name: str, status: str) -> dict[str, Any]:
        return {"path": f"a/b/{name}", "status": status, "reason": "", "windows": 1, "dropped_bytes": 3}

    files = [entry(f"u{i}", "used") for i in range(9)] + [entry(f"f{i}", "failed") for i in range(9)]
    text = text_of(file_table(files, most=4))
    assert "Files below a/b/: 9 used, 9 failed" in text
    assert "u3" in text
    assert "u4" not in text
    assert "f8" in text
    assert "... and 5 more used" in text
    assert "3 bytes at the end make no sample" in text
    assert "below" not in text_of(file_table([entry("x", "used")]))


def test_pictures(tmp_path: Path) -> None:
    names = ["classes", "labels", "spectra", "spectrogram", "spectrograms"]
    for number, path in enumerate((store_of(tmp_path), make_spectrogram_store(tmp_path / "fake.zarr", 168, 16).path)):
        drawn = inspect.pictures(path, tmp_path / f"p{number}", sample=3)
        assert sorted(file.stem for file in drawn) == names
        for file in drawn:
            assert np.ptp(matplotlib.image.imread(file)) > 0.5


def test_axes_are_in_hertz_and_milliseconds(tmp_path: Path) -> None:
    from wfm_cli.core.inspect.spectrogram_picture import _extent

    store = open_store(store_of(tmp_path, rate=4e6))
    (left, right, low, high), time, frequency = _extent(store, 0)
    assert (time, frequency) == ("time (ms)", "frequency (MHz)")
    assert (left, right) == (0, pytest.approx(7 * 8 / 4e6 * 1e3))
    # Bins are 0.25 MHz wide; the lowest is centred on -2 MHz.
    assert (low, high) == (pytest.approx(-2.125), pytest.approx(1.875))


def test_images_that_are_no_decibels_are_left_alone(tmp_path: Path) -> None:
    from tests.fakes.stores import make_store
    from wfm_cli.core.inspect.spectrogram_picture import spectrogram_figures

    assert list(spectrogram_figures(make_store(tmp_path / "s.zarr"), 0)) == []
