"""Sets of equally long examples: RadioML's pickles, whose class and SNR are columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fakes import iq_sets
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.signal.stft import STFT, spectrogram_db
from wfm_cli.core.store import parts
from wfm_cli.core.store.reader import open_store


def test_every_example_is_a_sample_and_blocks_of_them_are_kept_whole(tmp_path: Path) -> None:
    arrays = iq_sets.radioml(tmp_path / "RML2016.10b.dat", frames=60)
    source = {"kind": "spectrogram", "inputs": [str(tmp_path)], "nfft": 16, "hop": 8, "frames": 15, "keep_iq": True}
    joint = {"cell": ["label", "snr_db"]}
    recipe = PrepareRecipe.model_validate({"step": "prepare", "source": {**source, "joint": joint}})
    parts.run(recipe, tmp_path / "s.zarr", progress=False)
    store = open_store(tmp_path / "s.zarr")
    assert store.samples == sum(len(array) for array in arrays.values())
    classes, cells = store.label_classes("label"), store.label_classes("cell")
    assert classes == sorted({modulation for modulation, _ in arrays})
    assert cells is not None
    label, cell, iq = store.read("labels/label"), store.read("labels/cell"), store.read("iq")
    example, split = store.read("meta/example"), store.split("recording")
    np.testing.assert_array_equal(example, np.arange(store.samples))
    for (modulation, snr), array in arrays.items():
        rows = np.flatnonzero(cell == cells.index(f"{modulation} {snr}"))
        assert (label[rows] == classes.index(modulation)).all()
        assert (store.read("meta/snr_db")[rows] == snr).all()
        truth = (array[:, 0] + 1j * array[:, 1]).astype(np.complex64)
        np.testing.assert_array_equal(iq[rows, 0], truth)
        np.testing.assert_array_equal(
            store.rows("spectrogram").take(rows)[:, 0], spectrogram_db(truth, STFT(16, 8, 15))
        )
    # Of every class the examples lie in runs of at least three that share a part.
    for number in range(len(classes)):
        parts_of = split[label == number]
        assert set(parts_of) == {0, 1, 2}
        runs = np.diff(np.flatnonzero(np.diff(parts_of, prepend=9, append=9)))
        assert runs.min() >= 3
    assert store.attrs["splits"]["available"]["recording"]["leak"]["share"] == 0
    assert store.attrs["splits"]["available"]["random"]["leak"]["share"] > 0.5
