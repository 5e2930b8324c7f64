"""Sionna RT as wfm uses it: deterministic, in batches that lose no paths, and refused where it would kill the process.

Three traps are avoided. With LLVM older than 19 the process aborts without a Python exception, so that is tried in a
child process first. The default limit on the number of paths silently drops some when many receivers share a call, so
receivers come in small batches with a high limit. And only `deterministic=True` gives the same bits twice.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import MissingExtraError, WfmError
from wfm_datasets.scenes.paths import TracedPaths

BATCH = 200
"""Receivers traced in one call."""
PATH_LIMIT = 4_000_000
"""Paths of one call that Sionna may keep in memory."""
ABOVE_GROUND_M = 1.5
"""Height of a user over the ground."""

_PROBE = "import drjit.llvm as b, drjit as dr; dr.eval(dr.maximum(b.Float([1.0, 2.0]), b.Float([2.0, 1.0])))"


@dataclass(frozen=True)
class Settings:
    """What decides which paths are found."""

    depth: int = 3
    """Interactions of a path at most."""
    samples: int = 100_000
    """Rays shot from the transmitter."""
    diffraction: bool = True
    seed: int = 1


def sionna() -> Any:
    """The package `sionna.rt`, once it is known to work here.

    Raises:
        MissingExtraError: it is not installed.
        WfmError: its compiler backend would abort this process.
    """
    try:
        import sionna.rt as package
    except ImportError as error:
        raise MissingExtraError(
            f"tracing needs the package sionna-rt, which cannot be imported ({error})", extra="scenes"
        ) from error
    if subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False).returncode:
        raise WfmError(
            "the LLVM library that sionna-rt would use makes it abort",
            "install LLVM 19 or newer and set DRJIT_LIBLLVM_PATH to its libLLVM.so",
        )
    return package


def load_scene(name: str, frequency_hz: float) -> Any:
    """One of Sionna's own scenes with single isotropic antennas at both ends."""
    rt = sionna()
    scene = rt.load_scene(getattr(rt.scene, name))
    scene.frequency = frequency_hz
    one = rt.PlanarArray(
        num_rows=1, num_cols=1, vertical_spacing=0.5, horizontal_spacing=0.5, pattern="iso", polarization="V"
    )
    scene.tx_array = scene.rx_array = one
    return scene


def outdoor_positions(scene: Any, xy: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """User positions over the ground, and which of them see the open sky.

    Args:
        scene: From `load_scene`.
        xy: Grid points (n, 2), metres.

    Returns:
        Positions (n, 3) in metres, `ABOVE_GROUND_M` over the lowest surface, and a mask (n,).
    """
    below = float(scene.mi_scene.bbox().min.z) - 50.0
    hit, distance = _cast(scene, np.c_[xy, np.full(len(xy), below)])
    height = np.where(hit, below + distance, 0.0) + ABOVE_GROUND_M
    position = np.c_[xy, height]
    covered, _ = _cast(scene, position)
    return position.astype(np.float32), hit & ~covered


def _cast(scene: Any, origin: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Whether a ray straight up meets a surface, and after how many metres."""
    import mitsuba as mi

    start = mi.Point3f(*(mi.Float(np.ascontiguousarray(column, np.float32)) for column in origin.T))
    found = scene.mi_scene.ray_intersect(mi.Ray3f(start, mi.Vector3f(0.0, 0.0, 1.0)))
    return found.is_valid().numpy(), found.t.numpy()


def trace(
    scene: Any, transmitter_m: tuple[float, float, float], position_m: NDArray[np.floating], settings: Settings
) -> Iterator[TracedPaths]:
    """Paths from one transmitter to every position, batch by batch in order."""
    rt = sionna()
    import mitsuba as mi

    for name in list(scene.transmitters):
        scene.remove(name)
    scene.add(rt.Transmitter("tx", position=mi.Point3f(*transmitter_m)))
    solver = rt.PathSolver(deterministic=True)
    for start in range(0, len(position_m), BATCH):
        batch = position_m[start : start + BATCH]
        names = [f"rx{start + number}" for number in range(len(batch))]
        for name, position in zip(names, batch, strict=True):
            scene.add(rt.Receiver(name, position=mi.Point3f(*map(float, position))))
        found = solver(
            scene,
            max_depth=settings.depth,
            max_num_paths_per_src=PATH_LIMIT,
            samples_per_src=settings.samples,
            refraction=False,
            diffraction=settings.diffraction,
            synthetic_array=True,
            seed=settings.seed,
        )
        yield _collect(found)
        for name in names:
            scene.remove(name)


def _collect(found: Any) -> TracedPaths:
    """Arrays of the only transmitter; Sionna's have axes (rx, rx antenna, tx, tx antenna, path) and (rx, tx, path)."""
    real, imaginary = (part.numpy()[:, 0, 0, 0, :].astype(np.float64) for part in found.a)
    return TracedPaths(
        gain=real + 1j * imaginary,
        delay_s=found.tau.numpy()[:, 0].astype(np.float64),
        aoa_az_rad=found.phi_r.numpy()[:, 0],
        aoa_el_rad=found.theta_r.numpy()[:, 0],
        aod_az_rad=found.phi_t.numpy()[:, 0],
        aod_el_rad=found.theta_t.numpy()[:, 0],
        interactions=np.moveaxis(found.interactions.numpy()[:, :, 0], 0, -1).astype(np.int64),
    )
