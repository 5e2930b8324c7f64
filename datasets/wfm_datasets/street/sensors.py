"""What each sensor measures of one frame, from first principles. Array code over scatterers, rays and beams."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_datasets.street.scene import Array, Pass, Street, outline

LIGHT = 299_792_458.0
RANGE_BIN_M = LIGHT * 5e6 / (2 * 256 * 15.015e12)
"""Of 256 samples at 5 MS/s and a slope of 15.015 MHz/us: 0.195 m."""
RADAR_HZ, CHIRP_S = 77e9, 65e-6
LIDAR_ROWS, LIDAR_FAR_M = 32, 120.0
BEAMS, ELEMENTS, SWEEP_DEG = 64, 16, 90.0
BEAM_HZ = 60e9
REFLECTION = 0.35
"""Magnitude of the house front's reflection at 60 GHz."""


def radar_cube(street: Street, track: Pass, frame: int, chirps: int, rng: np.random.Generator) -> NDArray[np.complex64]:
    """(4, 256, chirps) samples: the vehicle's sides move, wall and posts stand still, noise everywhere.

    A scatterer at range r, azimuth a (sine s to the right) and radial speed v has the phase 2 pi r/bin n/256 over the
    samples, pi s m over the antennas and 4 pi v T c / lambda over the chirps.
    """
    sides, velocity = outline(track, frame), track.velocity[frame]
    seen = np.linalg.norm(sides, axis=1)
    near = seen < seen.min() + 0.75 * track.size[0]  # the far sides are in the vehicle's own shadow
    moving = sides[near]
    wall = np.stack([np.linspace(-30, 30, 61), np.full(61, street.wall)], 1)
    still = np.concatenate([wall, street.poles])
    place = np.concatenate([moving, still])
    distance = np.linalg.norm(place, axis=1)
    radial = np.concatenate([(moving / distance[: len(moving), None]) @ velocity, np.zeros(len(still))])
    strength = np.concatenate([np.full(len(moving), 1.0), np.full(61, 0.15), np.full(len(street.poles), 0.6)])
    amplitude = strength * (10.0 / distance) ** 2 * np.exp(2j * np.pi * rng.random(len(place)))
    inside = distance < 255 * RANGE_BIN_M
    distance, radial, amplitude, place = distance[inside], radial[inside], amplitude[inside], place[inside]
    sine = place[:, 0] / distance
    over_samples = np.exp(2j * np.pi * np.outer(np.arange(256) / 256, distance / RANGE_BIN_M))
    over_antennas = np.exp(1j * np.pi * np.outer(np.arange(4), sine)) * amplitude
    over_chirps = np.exp(4j * np.pi * np.outer(radial, np.arange(chirps)) * CHIRP_S * RADAR_HZ / LIGHT)
    cube = np.einsum("mk,nk,kc->mnc", over_antennas, over_samples, over_chirps, optimize=True)
    noise = rng.normal(0, 0.3, (*cube.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    made: NDArray[np.complex64] = cube.astype(np.complex64) + noise
    return made


@cache
def _rays(columns: int) -> Array:
    """(32 columns, 3) unit vectors, elevations -16.6 to 16.6 degrees."""
    pitch = np.deg2rad(np.linspace(16.6, -16.6, LIDAR_ROWS))[:, None]
    yaw = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    x, y = np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw)
    return np.stack([x, y, np.broadcast_to(np.sin(pitch), x.shape)], -1).reshape(-1, 3)


def point_cloud(street: Street, track: Pass, frame: int, columns: int, rng: np.random.Generator) -> Array:
    """(n, 4) points in the LiDAR's own axes, in which the street lies at negative x as in the releases, and intensity.

    Rays meet the ground, the house front, a wall behind the sensors and the vehicle's box; those that meet nothing
    come back with zeros. The base station's (x, y) are the LiDAR's (y, -x).
    """
    rays = _rays(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[:, 2] < 0, -street.height / rays[:, 2], np.inf)
        front = np.where(rays[:, 1] > 0, street.wall / rays[:, 1], np.inf)
        back = np.where(rays[:, 1] < 0, -6.0 / rays[:, 1], np.inf)
        box = _box(rays, street, track, frame)
    hits = np.stack([ground, front, back, box])
    which, distance = hits.argmin(0), hits.min(0)
    distance = distance + rng.normal(0, 0.01, len(distance))
    lost = ~np.isfinite(distance) | (distance > LIDAR_FAR_M) | (rng.random(len(distance)) < 0.02)
    points = rays * np.where(lost, 0.0, distance)[:, None]
    intensity = np.where(lost, 0, np.array([40, 90, 60, 400])[which])
    made: Array = np.stack([-points[:, 1], points[:, 0], points[:, 2], intensity], 1)
    return made


def _box(rays: Array, street: Street, track: Pass, frame: int) -> Array:
    """Distance along every ray to the vehicle's box, infinite where it misses (slab method in the vehicle's axes)."""
    a = track.heading[frame]
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    origin = -np.append(track.position[frame], 0.0) @ turn
    local = rays @ turn
    length, width, height = track.size
    low = np.array([-length / 2, -width / 2, -street.height])
    high = np.array([length / 2, width / 2, height - street.height])
    first, second = (low - origin) / local, (high - origin) / local
    enter, leave = np.fmin(first, second).max(1), np.fmax(first, second).min(1)
    hit: Array = np.where((enter <= leave) & (enter > 0), enter, np.inf)
    return hit


def beam_angles_deg() -> Array:
    """(64,) azimuth of every beam, ascending to the right: 90 degrees around the array's broadside."""
    return np.linspace(-SWEEP_DEG / 2, SWEEP_DEG / 2, BEAMS, dtype=np.float64)


def beam_powers(
    position: Array, wall: float, fading_db: float, rng: np.random.Generator, facing_deg: float = 0.0
) -> Array:
    """(64,) linear powers of the sweep: the direct path, one reflection off the house front, and a noise floor.

    Args:
        position: (2,) the vehicle's antenna.
        wall: Distance of the house front; infinite for none.
        fading_db: Slow fading of the whole link.
        rng: Phases and measurement noise.
        facing_deg: Azimuth of the array's broadside.
    """
    paths = [(position, 1.0)]
    if np.isfinite(wall):
        paths.append((np.array([position[0], 2 * wall - position[1]]), REFLECTION))
    field = np.zeros(ELEMENTS, np.complex128)
    element = np.arange(ELEMENTS)
    for image, gain in paths:
        distance = float(np.linalg.norm(image))
        azimuth = np.arctan2(image[0], image[1]) - np.deg2rad(facing_deg)
        if np.cos(azimuth) <= 0.05:  # behind the array
            continue
        phase = -2 * np.pi * distance * BEAM_HZ / LIGHT + 2 * np.pi * rng.random()
        field += gain * 10.0 / distance * np.exp(1j * (phase + np.pi * element * np.sin(azimuth)))
    steering = np.exp(-1j * np.pi * np.outer(np.sin(np.deg2rad(beam_angles_deg())), element)) / ELEMENTS
    power = 0.3 * np.abs(steering @ field) ** 2 * 10 ** (fading_db / 10)
    measured: Array = (power + 6e-4 * rng.exponential(size=BEAMS)) * 10 ** (rng.normal(0, 0.05, BEAMS) / 10)
    return measured


def picture(street: Street, track: Pass, frame: int, size: tuple[int, int]) -> Any:
    """A camera picture as a PIL image: sky, house front with windows, road, posts and the vehicle, drawn back to
    front through a pinhole of 100 degrees."""
    from PIL import Image, ImageDraw

    wide, high = size
    dim = 0.3 if street.night else 1.0
    image = Image.new("RGB", size, _shade((150, 185, 225), 0.15 if street.night else 1.0))
    draw = ImageDraw.Draw(image)
    focal = wide / 2 / np.tan(np.deg2rad(50))

    def project(corners: Array) -> list[tuple[float, float]]:
        ahead = np.maximum(corners[:, 1], 0.3)
        u, v = wide / 2 + focal * corners[:, 0] / ahead, high / 2 - focal * corners[:, 2] / ahead
        return [(float(a), float(b)) for a, b in zip(u, v, strict=True)]

    def quad(x0: float, x1: float, y0: float, y1: float, z0: float, z1: float, colour: tuple[int, int, int]) -> None:
        corners = np.array([[x0, y0, z0], [x1, y0, z0], [x1, y1, z1], [x0, y1, z1]])
        draw.polygon(project(corners), fill=_shade(colour, dim))

    base = -street.height
    quad(-200, 200, 0.5, street.wall, base, base, (105, 115, 95))
    quad(-200, 200, street.wall, street.wall, base, 9.0, (165, 135, 115))
    for x in range(-60, 61, 4):
        lit = (250, 220, 140) if street.night and x % 3 == 0 else (90, 110, 130)
        quad(x, x + 1.6, street.wall, street.wall, base + 1.5, base + 3.2, lit)
    quad(-200, 200, street.distance - 4.5, street.distance + 4.5, base, base, (80, 80, 85))
    for x, y in street.poles:
        quad(x - 0.12, x + 0.12, y, y, base, 3.0, (60, 60, 60))
    _vehicle(draw, project, street, track, frame, dim)
    return image


def _vehicle(draw: Any, project: Any, street: Street, track: Pass, frame: int, dim: float) -> None:
    length, width, height = track.size
    a = track.heading[frame]
    along, across = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
    corner = [track.position[frame] + i * length / 2 * along + j * width / 2 * across for i, j in
              ((1, 1), (1, -1), (-1, -1), (-1, 1))]  # fmt: skip
    faces = [(corner[n], corner[(n + 1) % 4]) for n in range(4)]
    faces.sort(key=lambda face: -float(np.linalg.norm(face[0] + face[1])))
    base = -street.height
    for n, (one, two) in enumerate(faces):
        shade = dim * (0.6 + 0.4 * n / 3)
        body = np.array([[*one, base + 0.25], [*two, base + 0.25], [*two, base + height], [*one, base + height]])
        draw.polygon(project(body), fill=_shade(track.colour, shade))
        glass = body.copy()
        glass[:2, 2], glass[2:, 2] = base + 0.6 * height, base + 0.92 * height
        draw.polygon(project(glass), fill=_shade((60, 80, 100), shade))
    if street.night:
        front = track.position[frame] + length / 2 * along
        ((u, v),) = project(np.array([[*front, base + 0.6]]))
        draw.ellipse((u - 4, v - 4, u + 4, v + 4), fill=(255, 250, 210))


def _shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, int(channel * factor))) for channel in colour)
    return red, green, blue
