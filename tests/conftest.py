"""Shared fixtures. Arithmetic runs on one thread so that results do not depend on the machine's load."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files (`WFM_TEST_DATA`, default ../shared/data beside the checkout); skips where absent."""
    folder = Path(os.environ.get("WFM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data: folder {folder} does not exist (set WFM_TEST_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests pull no power cords: what `fsync` promises cannot be seen here, and it costs most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
