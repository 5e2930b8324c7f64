"""The task of signal kinds takes image folders and stores of spectrograms alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.stores import STANDARDS, make_spectrogram_store, make_store
from wfm_cli.core.evaluation.encoders import resolve
from wfm_cli.core.evaluation.taskdata import load_task_data
from wfm_cli.core.evaluation.tasks import load_task
from wfm_cli.core.models import build_encoder
from wfm_cli.core.recipe.loading import load_recipe
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.errors import InputError


def test_standards_of_a_spectrogram_store_are_kinds_of_signals(tmp_path: Path) -> None:
    store = make_spectrogram_store(tmp_path / "spectro.zarr", 168, 16)
    data = load_task_data(store, load_task("rf_signal"), None)
    assert data.classes == STANDARDS
    np.testing.assert_array_equal(data.labels, store.read("labels/standard"))
    profiles = resolve("baseline:profiles", store)
    assert profiles.dim == 16 + 16 + 1
    rows = store.rows("spectrogram").take(np.arange(3))
    assert rows.dtype == np.float16
    expected = rows.astype(np.float64)[:, 0]
    found = profiles.extract(rows)
    np.testing.assert_allclose(found[:, :16], expected.mean(2), rtol=1e-4)
    np.testing.assert_allclose(found[:, 32], expected.std((1, 2)), rtol=1e-3)


def test_a_store_without_kinds_of_signals_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "channels.zarr", 32)
    with pytest.raises(InputError, match="labels/signal or labels/label or labels/standard"):
        load_task_data(store, load_task("rf_signal"), None)


@pytest.mark.parametrize("name", ["latentwave-spectrogram", "latentwave-spectrogram-time", "wavesfm-spectrogram"])
def test_encoders_take_half_precision_decibels(name: str, tmp_path: Path) -> None:
    import torch

    store = make_spectrogram_store(tmp_path / "spectro.zarr", 168, 32)
    block = load_recipe(f"pretrain/{name}", PretrainRecipe).model
    spec = store.spec("spectrogram")
    encoder = build_encoder(block, tuple(spec.shape), tuple(spec.dims))
    batch = torch.from_numpy(store.rows("spectrogram").take(np.arange(4))).float()
    grid = encoder.tokenize(batch)
    assert grid.axes[:2] == ("frequency", "time")
    assert grid.count == 4
    deviation, mean = torch.std_mean(grid.values.flatten(1), dim=1, correction=0)
    torch.testing.assert_close(deviation, torch.ones(4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mean, torch.zeros(4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoder.embed(batch), encoder.embed(batch + 30), rtol=1e-3, atol=1e-3)
