"""Frequency-domain channels from ray-traced paths.

For a user with paths p, a base station with a half-wavelength uniform linear array of M elements and K subcarriers
spaced by df, the channel is

    h[m, k] = sum_p sqrt(P_p / K) exp(j phi_p) exp(j 2 pi d m y_p) exp(-j 2 pi tau_p df k)

with the path gain P_p (linear), the phase phi_p, the delay tau_p, the element spacing d in wavelengths and y_p the
cosine between the path's departure and the array's own y axis, on which its elements lie. These are the conventions of
DeepMIMO: the division by sqrt(K), element 0 as the phase reference, zenith angles, rotations about x, y, z in degrees.

How it is made fast: phases are kept in turns and reduced in float64; exp(j 2 pi t k) is the product of a coarse and a
fine power, so that about 2 sqrt(n) instead of n exponentials are evaluated per path; arrays are laid out (element,
ray), which keeps every inner loop long; and the sum over paths is one batched matrix product that writes its result
in place. Users are taken in blocks that stay in the processor's cache, so the memory beside the output is a few MiB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError

Floats = NDArray[np.floating]
Complex64 = NDArray[np.complex64]

SCRATCH_BYTES = 1 << 20
"""Size of the coarse-times-fine products of one block of users."""


@dataclass(frozen=True)
class Rays:
    """The paths of U users towards one base station, at most P each; absent paths hold NaN in every field."""

    power_db: Floats
    """Path gain (received power at 0 dBm transmitted), (U, P), dB."""
    phase_deg: Floats
    """Phase of the path's complex gain, carrier phase included, (U, P), degrees."""
    delay_s: Floats
    """Time of flight, (U, P), seconds."""
    aod_az_deg: Floats
    """Azimuth of departure in global coordinates, (U, P), degrees."""
    aod_el_deg: Floats
    """Zenith angle of departure (0 is up, 90 the horizon), (U, P), degrees."""

    def __len__(self) -> int:
        return len(self.power_db)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there is a path, (U, P)."""
        return ~np.isnan(self.power_db)

    def take(self, index: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Rays:
        """The rays of some users."""
        return Rays(*(getattr(self, field.name)[index] for field in fields(self)))


def delay_limit_s(spacing_hz: float) -> float:
    """Longest delay that K subcarriers over a bandwidth B = K df tell apart: N/B = 1/df seconds."""
    return 1.0 / spacing_hz


def late_paths(rays: Rays, spacing_hz: float) -> NDArray[np.bool_]:
    """Where a path arrives at or after 1/df and would alias onto an early one, (U, P)."""
    return rays.present & (rays.delay_s >= delay_limit_s(spacing_hz))


def synthesise(
    rays: Rays,
    *,
    antennas: int,
    subcarriers: int,
    spacing_hz: float,
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    element_spacing: float = 0.5,
    out: Complex64 | None = None,
) -> Complex64:
    """Channels of all users at once.

    Args:
        rays: The paths of U users.
        antennas: Elements M of the base station's linear array.
        subcarriers: Number of subcarriers K; the bandwidth is K times `spacing_hz`.
        spacing_hz: Subcarrier spacing in Hz.
        rotation_deg: Rotation of the array about x, y and z in degrees; the bearing is the third number.
        element_spacing: Distance of neighbouring elements in wavelengths.
        out: C-contiguous complex64 buffer (U, M, K) to write into; a new array by default.

    Returns:
        Complex64 channels (U, M, K), linear amplitude of the path gain over sqrt(K). A user without paths gets zeros.

    Raises:
        InputError: A path is later than 1/`spacing_hz`, or a present path has a value that is not finite.
    """
    _refuse_late(rays, spacing_hz)
    shape = (len(rays), antennas, subcarriers)
    if out is None:
        out = np.empty(shape, np.complex64)
    elif out.shape != shape or out.dtype != np.complex64 or not out.flags.c_contiguous:
        raise ValueError(f"out: expected a C-contiguous complex64 array of shape {shape}")
    axis = local_y_axis(rotation_deg)
    steps = (_powers(antennas), _powers(subcarriers))
    for users, paths in _blocks(rays.present, antennas + subcarriers):
        block = Rays(*(getattr(rays, f.name)[users, :paths] for f in fields(rays)))
        left, right = _factors(block, steps, (antennas, subcarriers), axis, element_spacing, spacing_hz)
        if isinstance(users, slice):
            np.matmul(left, right, out=out[users])
        else:
            out[users] = np.matmul(left, right)
    return out


def local_y_axis(rotation_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """The array's y axis in global coordinates after rotating about x, then y, then z: column y of Rz Ry Rx."""
    a, b, g = np.deg2rad(np.asarray(rotation_deg, np.float64))
    sa, ca, sb, cb, sg, cg = np.sin(a), np.cos(a), np.sin(b), np.cos(b), np.sin(g), np.cos(g)
    return np.array([cg * sb * sa - sg * ca, sg * sb * sa + cg * ca, cb * sa])


def _refuse_late(rays: Rays, spacing_hz: float) -> None:
    late = late_paths(rays, spacing_hz)
    if late.any():
        worst, limit = float(rays.delay_s[late].max()), delay_limit_s(spacing_hz)
        raise InputError(
            f"delay: {int(late.sum())} paths arrive at or after {limit * 1e6:.4g} us = 1/subcarrier spacing, "
            f"the latest after {worst * 1e6:.4g} us",
            f"use a subcarrier spacing below {1e-3 / worst:.4g} kHz, or drop these paths",
        )


def _blocks(present: NDArray[np.bool_], elements: int) -> list[tuple[slice | NDArray[np.intp], int]]:
    """Blocks of users with the number of path columns each needs; users of like path counts share a block."""
    if not len(present):
        return []
    width = np.where(present.any(axis=1), present.shape[1] - np.argmax(present[:, ::-1], axis=1), 0)
    rays_per_block = max(1, SCRATCH_BYTES // (8 * elements))
    equal = bool(width.min() == width.max())
    order = np.argsort(width, kind="stable")
    widest_first, blocks, stop = width[order], [], len(order)
    while stop > 0:
        paths = max(1, int(widest_first[stop - 1]))
        start = max(0, stop - max(1, rays_per_block // paths))
        blocks.append((slice(start, stop) if equal else order[start:stop], paths))
        stop = start
    return blocks


def _powers(count: int) -> tuple[NDArray[np.float64], int]:
    """Exponents whose pairwise sums are 0 ... count-1 and more: `fine` small ones first, then the coarse ones."""
    fine = math.isqrt(count - 1) + 1
    exponents = np.concatenate([np.arange(fine), np.arange(-(-count // fine)) * fine])
    return exponents.astype(np.float64)[:, None], fine


def _factors(
    rays: Rays,
    steps: tuple[tuple[NDArray[np.float64], int], tuple[NDArray[np.float64], int]],
    counts: tuple[int, int],
    axis: NDArray[np.float64],
    element_spacing: float,
    spacing_hz: float,
) -> tuple[Complex64, Complex64]:
    """Array response with the path's gain (B, M, P) and delay response (B, P, K) of a block of B users."""
    users, paths = rays.power_db.shape
    present = rays.present.ravel()
    power, phase, delay, azimuth, zenith = (
        np.where(present, getattr(rays, f.name).ravel(), 0.0).astype(np.float64) for f in fields(rays)
    )
    azimuth, zenith = np.deg2rad(azimuth), np.deg2rad(zenith)
    in_plane = axis[0] * np.cos(azimuth) + axis[1] * np.sin(azimuth)
    turns = element_spacing * (np.sin(zenith) * in_plane + np.cos(zenith) * axis[2])
    if not np.isfinite(turns + phase + power + delay).all():
        raise InputError("rays: a path that is present has a value that is not finite", "check the ray files")
    # sqrt(P / K) through one exponential; absent paths weigh nothing.
    gain = np.exp(power * (math.log(10) / 20)) * (present / math.sqrt(counts[1]))
    left = _phasors(turns, *steps[0], offset=phase / 360, gain=gain.astype(np.float32))
    right = _phasors(-delay * spacing_hz, *steps[1])
    return (
        left[: counts[0]].reshape(counts[0], users, paths).transpose(1, 0, 2),
        right[: counts[1]].reshape(counts[1], users, paths).transpose(1, 2, 0),
    )


def _phasors(
    turns: NDArray[np.float64],
    exponents: NDArray[np.float64],
    fine: int,
    offset: NDArray[np.float64] | None = None,
    gain: NDArray[np.float32] | None = None,
) -> Complex64:
    """gain exp(j 2 pi (offset + turns n)) for n = 0, 1, ...; (n, rays), from coarse times fine powers."""
    angle = exponents * turns
    if offset is not None:
        angle[fine:] += offset
    # Whole turns are taken off in float64; what is left fits float32 to 6e-8.
    angle -= np.rint(angle)
    radians = (angle * (2 * np.pi)).astype(np.float32)
    unit = np.empty(radians.shape, np.complex64)
    # Sine and cosine run four times faster into contiguous memory than into the parts of a complex array.
    unit.real = np.cos(radians)
    unit.imag = np.sin(radians)
    if gain is not None:
        unit[fine:] *= gain
    product: Complex64 = unit[fine:, None] * unit[None, :fine]
    return product.reshape(-1, turns.size)
