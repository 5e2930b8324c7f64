from __future__ import annotations

import numpy as np
import pytest

from tests.fakes.stores import FakeBuilder
from wfm_cli.core.store import ArraySpec, BuildPlan, load_builder
from wfm_cli.errors import InputError, MissingExtraError

SCALAR = ArraySpec("labels/a", "int8", (), ("sample",), "1", "a")


def test_known_builder():
    assert load_builder("fake") is FakeBuilder


def test_a_typo_is_answered_with_the_nearest_name():
    with pytest.raises(InputError, match="no builder is called 'deepmino'") as caught:
        load_builder("deepmino")
    assert caught.value.hint == "did you mean 'deepmimo'?"


def test_builders_of_other_packages_come_through_entry_points(tmp_path, monkeypatch):
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    lines = "[wfm.datasets]\ntheirs = tests.fakes.stores:FakeBuilder\nbroken = no_such_package:Builder\n"
    (info / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_builder("theirs") is FakeBuilder
    with pytest.raises(MissingExtraError, match="no_such_package"):
        load_builder("broken")


def test_no_samples_is_a_user_error():
    with pytest.raises(InputError, match="no sample"):
        BuildPlan("channel", 0, (SCALAR,))


@pytest.mark.parametrize("values", [np.zeros(3, np.int8), np.zeros(4, np.int16), np.zeros((4, 1), np.int8)])
def test_columns_must_be_what_they_say(values):
    with pytest.raises(ValueError, match="labels/b"):
        BuildPlan("channel", 4, (SCALAR,), ((ArraySpec("labels/b", "int8", (), ("sample",), "1", "b"), values),))


def test_names_must_be_unique():
    with pytest.raises(ValueError, match="unique"):
        BuildPlan("channel", 4, (SCALAR, SCALAR))
