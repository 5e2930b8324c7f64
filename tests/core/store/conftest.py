from __future__ import annotations

import pytest

from wfm_cli.core.store import files


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """Tests pull no power cords: what `fsync` promises cannot be seen here, and it costs most of the time."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
