"""One small store for all tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.evaluation import encoder_run, store_of, street
from wfm_cli.core.store.reader import Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """240 users in the published scale, see `street`."""
    return store_of(
        tmp_path_factory.mktemp("evaluation") / "street.zarr",
        street(),
        channel={"normalise": "published"},
        **{"labels/los": {"classes": ["NLoS", "LoS"]}},
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a tiny encoder."""
    return encoder_run(tmp_path_factory.mktemp("encoders") / "tiny.zarr").path
