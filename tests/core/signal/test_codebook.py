from __future__ import annotations

import numpy as np
import pytest

from tests.core.signal.slow import random_rays
from wfm_cli.core.signal.channels import Rays, synthesise
from wfm_cli.core.signal.codebook import beam_angles_deg, beam_labels, beam_powers_db, steering_vectors, subcarrier_mean

SIZES = (16, 32, 64, 128, 256)


def channels(seed=0, users=200):
    rays = random_rays(np.random.default_rng(seed), users, 4, holes=False)
    return synthesise(rays, antennas=32, subcarriers=8, spacing_hz=30e3)


def literal_labels(h, angles):
    """The published rule, user by user and beam by beam."""
    labels = []
    for user in h.astype(np.complex128):
        powers = []
        for angle in angles:
            beam = np.exp(1j * np.pi * np.arange(user.shape[0]) * np.sin(angle * np.pi / 180)) / np.sqrt(user.shape[0])
            powers.append(round(20 * np.log10(abs(np.mean(beam @ user))) + 30, 1))
        labels.append(powers.index(max(powers)))
    return labels


def test_grids_by_hand():
    np.testing.assert_array_equal(beam_angles_deg(4, "closed"), [-90, -30, 30, 90])
    np.testing.assert_array_equal(beam_angles_deg(4, "half_open"), [-90, -45, 0, 45])
    assert beam_angles_deg(64)[1] == -87.14  # -90 + 180/63 rounded to 0.01 degree
    for n in SIZES:
        closed = beam_angles_deg(n)
        assert len(closed) == n
        assert (closed[0], closed[-1]) == (-90, 90)
        assert len(set(beam_angles_deg(n, "half_open"))) == n


def test_steering_vectors_have_unit_norm_and_the_array_phase():
    vectors = steering_vectors([-90.0, 0.0, 30.0], 8)
    assert vectors.dtype == np.complex64
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[1], 1 / np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(np.angle(vectors[2, 1] / vectors[2, 0]), np.pi / 2, rtol=1e-6)


@pytest.mark.parametrize("grid", ["closed", "half_open"])
@pytest.mark.parametrize("n", [16, 64])
def test_equals_the_rule_taken_literally(n, grid):
    h = channels(users=60)
    assert beam_labels(h, n, grid).tolist() == literal_labels(h, beam_angles_deg(n, grid))


def test_best_beam_of_one_path_mirrors_its_array_angle():
    # f is applied without conjugation, so a path at +30 degrees of the array is served by the beam at -30 degrees.
    azimuth = np.arange(-80.0, 81.0, 5.0, dtype=np.float32)[:, None]
    same = np.zeros_like(azimuth)
    rays = Rays(same - 70, same, same + 1e-7, azimuth, same + 90)
    h = synthesise(rays, antennas=32, subcarriers=4, spacing_hz=30e3)
    angles = beam_angles_deg(181)[beam_labels(h, 181)]
    np.testing.assert_allclose(np.sin(np.deg2rad(angles)), -np.sin(np.deg2rad(azimuth[:, 0])), atol=0.03)


def test_label_ignores_scale_and_last_class_of_closed_grid_is_a_duplicate():
    h = channels(users=2000)
    for n in SIZES:
        labels = beam_labels(h, n)
        np.testing.assert_array_equal(labels, beam_labels(subcarrier_mean(h), n))
        assert labels.max() < n - 1  # +90 degrees is -90 degrees again and never first
        assert labels.dtype == np.int16
    assert set(beam_labels(h, 16, "half_open")) == set(range(16))
    np.testing.assert_array_equal(beam_labels(h * np.float32(1e3), 32), beam_labels(h, 32))  # 60 dB: whole steps of 0.1


def test_first_of_equals_wins():
    # One element: all beams are equal.
    h = np.ones((3, 1, 2), np.complex64)
    assert beam_labels(h, 8).tolist() == [0, 0, 0]
    h = np.zeros((2, 4, 2), np.complex64)
    assert beam_labels(h, 8).tolist() == [0, 0]
    assert np.isfinite(beam_powers_db(h, 8)).all()


def test_blocks_change_nothing(monkeypatch):
    h = channels(users=50)
    whole = beam_labels(h, 32)
    monkeypatch.setattr("wfm_cli.core.signal.codebook.BLOCK_VALUES", 32 * 7)
    np.testing.assert_array_equal(beam_labels(h, 32), whole)
