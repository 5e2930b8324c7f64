"""The reader of MATLAB v5 against what scipy writes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from wfm_cli.errors import InputError
from wfm_datasets.wavesfm.mat5 import read_matrix, variables


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "i4"])
def test_every_type_comes_back(dtype: str, packed: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 100, (7, 5)).astype(dtype)
    other = {"text": "abc", "a_longer_name_than_eight": np.eye(3), "c": values, "z": 1j * np.ones(2)}
    scipy.io.savemat(tmp_path / "x.mat", other, do_compression=packed)
    np.testing.assert_array_equal(read_matrix(tmp_path / "x.mat", "c"), values)
    np.testing.assert_array_equal(read_matrix(tmp_path / "x.mat", "a_longer_name_than_eight"), np.eye(3))
    shapes = {name: matrix.shape for name, matrix in variables(tmp_path / "x.mat").items()}
    assert shapes == {"text": (1, 3), "a_longer_name_than_eight": (3, 3), "c": (7, 5), "z": (1, 2)}
    for name in ("text", "z", "absent"):
        with pytest.raises(InputError, match="is no real matrix"):
            read_matrix(tmp_path / "x.mat", name)


@pytest.mark.parametrize("packed", [False, True])
def test_no_damage_gets_through(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    values = np.arange(12.0).reshape(3, 4)
    scipy.io.savemat(path, {"c": values}, do_compression=packed)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for number in range(1500):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        else:
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(120, len(data))] = rng.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            read_matrix(path, "c")
