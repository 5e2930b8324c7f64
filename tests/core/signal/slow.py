"""The channel as a literal double sum in double precision: the truth for the fast synthesis."""

from __future__ import annotations

import numpy as np

from wfm_cli.core.signal.channels import Rays


def rotation_matrix(rotation_deg):
    """Rotate about x, then y, then z."""
    a, b, g = np.deg2rad(rotation_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(g), -np.sin(g), 0], [np.sin(g), np.cos(g), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def slow_channels(rays, antennas, subcarriers, spacing_hz, rotation_deg=(0.0, 0.0, 0.0), element_spacing=0.5):
    """One path after the other; element m sits at m * element_spacing wavelengths on the rotated y axis."""
    users, paths = rays.power_db.shape
    h = np.zeros((users, antennas, subcarriers), np.complex128)
    elements = np.arange(antennas)[:, None] * element_spacing * rotation_matrix(rotation_deg)[:, 1]
    for u in range(users):
        for p in range(paths):
            if np.isnan(rays.power_db[u, p]):
                continue
            values = [float(getattr(rays, f)[u, p]) for f in ("power_db", "phase_deg", "delay_s")]
            azimuth, zenith = np.deg2rad([float(rays.aod_az_deg[u, p]), float(rays.aod_el_deg[u, p])])
            towards = np.array([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)])
            gain = np.sqrt(10 ** (values[0] / 10) / subcarriers) * np.exp(1j * np.deg2rad(values[1]))
            response = np.exp(2j * np.pi * elements @ towards)
            delays = np.exp(-2j * np.pi * values[2] * spacing_hz * np.arange(subcarriers))
            h[u] += gain * np.outer(response, delays)
    return h


def random_rays(rng, users, paths, *, holes=True, max_delay_s=3e-6):
    """Rays over 80 dB of power; with holes, absent paths lie anywhere."""
    shape = (users, paths)
    absent = rng.random(shape) < 0.3 if holes else np.zeros(shape, bool)
    columns = (
        rng.uniform(-160, -80, shape),
        rng.uniform(-180, 180, shape),
        rng.uniform(0, max_delay_s, shape),
        rng.uniform(-180, 180, shape),
        rng.uniform(0, 180, shape),
    )
    return Rays(*(np.where(absent, np.nan, column).astype(np.float32) for column in columns))


def relative_error(h, truth):
    """Largest error of a user relative to the norm of that user's channel; users without channel must be exact."""
    error = np.linalg.norm((h - truth).reshape(len(h), -1), axis=1)
    norm = np.linalg.norm(truth.reshape(len(h), -1), axis=1)
    assert (error[norm == 0] == 0).all()
    return float((error[norm > 0] / norm[norm > 0]).max(initial=0.0))
