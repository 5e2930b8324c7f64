"""Joint-embedding prediction on two processes: nothing waits for a weight without a gradient, and the steps are those
of one process, whose statistics are those of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import wfm_cli as wfm
from tests.fakes.stores import make_store
from wfm_cli.core.store.run import Run

SMALL = ["model.layers=1", "model.width=32", "train.epochs=null", "train.steps=3", "train.batch_size=8"]
OFTEN = ["train.threads=1", "train.log_every=1", "train.eval_samples=6", "masks.adaptive={}", "train.device=cpu"]


@pytest.mark.parametrize("name", ["latentwave-channels", "latentwave-sigreg"])
def test_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=60, antennas=16, subcarriers=16)
    overrides = [f"data.store={store.path}", *SMALL, *OFTEN]
    wfm.pretrain(f"pretrain/{name}", tmp_path / "one", overrides=overrides)
    wfm.pretrain(f"pretrain/{name}", tmp_path / "two", overrides=overrides, devices=2)
    one, two = (Run.open(tmp_path / run).curves.read() for run in ("one", "two"))
    for column in ("loss", "grad_norm", "ema_gap") if name == "latentwave-channels" else ("loss", "sigreg"):
        a, b = torch.from_numpy(one[column]), torch.from_numpy(two[column])
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
