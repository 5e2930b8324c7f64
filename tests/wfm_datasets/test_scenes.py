"""The parts of the scene tracer that need no ray tracer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from wfm_cli.errors import MissingExtraError
from wfm_datasets.deepmimo.scenario import EMBEDDED_FOLDER, read_scenario
from wfm_datasets.scenes import canyon, tracer
from wfm_datasets.scenes.paths import TracedPaths, deepmimo_matrices, interaction_codes, spread, write_v4

FC = 3.5e9


def traced(users=6, paths=40, seed=0):
    rng = np.random.default_rng(seed)
    shape = (users, paths)
    gain = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    gain[rng.random(shape) < 0.3] = 0
    gain[2] = 0
    angles = [rng.uniform(0, np.pi, shape) for _ in range(4)]
    interactions = rng.choice([0, 1, 2, 4, 8], (*shape, 3))
    return TracedPaths(gain, rng.uniform(0, 1e-6, shape), *angles, interactions)


def test_grid_by_hand():
    points = canyon.grid((0.0, 2.0, -1.0, 1.0), 1.0)
    assert points.tolist() == [[x, y] for y in (-1, 0, 1) for x in (0, 1, 2)]
    whole = canyon.grid(canyon.AREA_M, canyon.STEP_M)
    with np.load(EMBEDDED_FOLDER / "canyon_3p5" / "rx_pos_t000_tx000_r001.npz") as archive:
        np.testing.assert_allclose(whole, archive["rx_pos"][:, :2], atol=1e-5)


def test_strongest_paths_with_the_carrier_phase():
    paths = traced()
    made = deepmimo_matrices(paths, FC, 25)
    for user in range(6):
        power = np.abs(paths.gain[user]) ** 2
        best = sorted(np.flatnonzero(power), key=lambda p: -power[p])[:25]
        count = len(best)
        assert np.isnan(made["power"][user, count:]).all()
        np.testing.assert_allclose(made["power"][user, :count], 10 * np.log10(power[best]), atol=1e-4)
        np.testing.assert_allclose(made["delay"][user, :count], paths.delay_s[user, best], rtol=1e-6)
        # The matrices must give the complex gain at the carrier back.
        at_carrier = paths.gain[user, best] * np.exp(-2j * np.pi * FC * paths.delay_s[user, best])
        amplitude, phase = 10 ** (made["power"][user, :count] / 20), np.deg2rad(made["phase"][user, :count])
        np.testing.assert_allclose(amplitude * np.exp(1j * phase), at_carrier, atol=2e-6)
        np.testing.assert_allclose(made["aod_el"][user, :count], np.degrees(paths.aod_el_rad[user, best]), rtol=1e-5)
    assert all(values.shape == (6, 25) and values.dtype == np.float32 for values in made.values())
    assert np.nanmin(made["phase"]) >= -180
    assert np.nanmax(made["phase"]) <= 180


def test_few_paths_are_padded():
    made = deepmimo_matrices(traced(paths=3), FC, 25)
    assert made["power"].shape == (6, 25)
    assert np.isnan(made["power"][:, 3:]).all()


def test_interaction_codes():
    # Sionna: 1 specular, 2 diffuse, 4 refraction, 8 diffraction. DeepMIMO: 1 reflection, 2 diffraction, 3, 4.
    chains = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1], [8, 0, 0], [1, 8, 2], [4, 0, 0]])
    assert interaction_codes(chains).tolist() == [0, 1, 111, 2, 123, 4]


def test_written_folder_is_read_back(tmp_path):
    users, total = np.array([1, 3, 4, 5, 7, 8]), 10
    made = spread(deepmimo_matrices(traced(), FC), users, total)
    position = np.c_[np.arange(total), np.zeros(total), np.full(total, 1.5)]
    write_v4(
        tmp_path / "street", made, position_m=position, transmitter_m=(1, 2, 3), frequency_hz=FC, tracer={"num_rays": 5}
    )
    scenario = read_scenario(str(tmp_path / "street"), 1)
    assert scenario.frequency_hz == FC
    assert np.flatnonzero(scenario.served).tolist() == [1, 3, 5, 7, 8]  # the third traced user has no path
    np.testing.assert_array_equal(scenario.position_m, position.astype(np.float32))
    assert scenario.bs_position_m.tolist() == [1, 2, 3]
    width = scenario.rays.power_db.shape[1]
    np.testing.assert_array_equal(scenario.rays.phase_deg, made["phase"][:, :width])
    np.testing.assert_array_equal(scenario.los, (made["inter"] == 0).any(axis=1))


def test_missing_sionna_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sionna.rt", None)
    with pytest.raises(MissingExtraError, match="sionna-rt") as caught:
        tracer.sionna()
    assert caught.value.hint == "pip install 'wfm-toolkit[scenes]'"
    assert canyon.main([str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0].startswith("error: tracing needs the package sionna-rt")
    assert not (tmp_path / "out").exists()


def test_refuses_a_folder_that_is_not_empty(tmp_path, capsys):
    (tmp_path / "canyon_28").mkdir()
    (tmp_path / "canyon_28" / "params.json").write_text("{}")
    assert canyon.main([str(tmp_path), "--band", "canyon_28"]) == 2
    assert "canyon_28: not empty" in capsys.readouterr().err
