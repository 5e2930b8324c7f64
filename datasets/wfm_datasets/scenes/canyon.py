"""Trace the embedded street canyon again: `python -m wfm_datasets.scenes.canyon OUT` writes OUT/canyon_3p5 and _28.

The scene is Sionna RT's `simple_street_canyon` (Apache-2.0): a street between two rows of buildings, base station 32 m
high, users 1.5 m over the ground every 1.5 m wherever they see the sky; reflections up to three and diffraction.
Takes about a minute per band on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wfm_cli.errors import InputError, WfmError
from wfm_datasets.scenes.paths import MATRICES, deepmimo_matrices, spread, write_v4

SCENE = "simple_street_canyon"
BANDS = {"canyon_3p5": 3.5e9, "canyon_28": 28e9}
TRANSMITTER_M = (-33.0, 11.0, 32.0)
AREA_M = (-85.0, 85.0, -20.0, 20.0)
STEP_M = 1.5


def grid(area_m: tuple[float, float, float, float], step_m: float) -> NDArray[np.float64]:
    """Grid points (n, 2) of an area (x from, x to, y from, y to), both ends included where they fit; x runs fastest."""
    x0, x1, y0, y1 = area_m
    axes = (np.arange(round((b - a) / step_m + 1e-9) + 1) * step_m + a for a, b in ((x0, x1), (y0, y1)))
    x, y = (axis[axis <= end + 1e-6] for axis, end in zip(axes, (x1, y1), strict=True))
    across, along = np.meshgrid(x, y)
    return np.stack([across.ravel(), along.ravel()], axis=1)


def trace_canyon(folder: Path, frequency_hz: float) -> int:
    """Trace one band into `folder`; returns the number of users with a path."""
    from wfm_datasets.scenes.tracer import Settings, load_scene, outdoor_positions, trace

    settings = Settings()
    scene = load_scene(SCENE, frequency_hz)
    position, outdoor = outdoor_positions(scene, grid(AREA_M, STEP_M))
    users = np.flatnonzero(outdoor)
    batches = [deepmimo_matrices(p, frequency_hz) for p in trace(scene, TRANSMITTER_M, position[users], settings)]
    matrices = spread({key: np.concatenate([b[key] for b in batches]) for key in MATRICES}, users, len(position))
    tracer = {
        "raytracer_name": "Sionna Ray Tracing",
        "raytracer_version": version("sionna-rt"),
        "max_path_depth": settings.depth,
        "max_reflections": settings.depth,
        "max_diffractions": int(settings.diffraction),
        "max_scattering": 0,
        "max_transmissions": 0,
        "num_rays": settings.samples,
        "ray_casting_method": "uniform",
        "synthetic_array": True,
        "gps_bbox": [0, 0, 0, 0],
        "raw_params": {"scene": SCENE, "pattern": "iso", "polarization": "V", "carrier_phase_included": True},
    }
    write_v4(
        folder,
        matrices,
        position_m=position,
        transmitter_m=TRANSMITTER_M,
        frequency_hz=frequency_hz,
        tracer=tracer,
    )
    return int((~np.isnan(matrices["power"])).any(axis=1).sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m wfm_datasets.scenes.canyon", description="Trace the street canyon."
    )
    parser.add_argument("out", type=Path, help="folder that gets one scenario folder per band")
    parser.add_argument("--band", action="append", choices=sorted(BANDS), help="only this one; may be repeated")
    chosen = parser.parse_args(arguments)
    try:
        for name in chosen.band or BANDS:
            folder = chosen.out / name
            if folder.exists() and any(folder.iterdir()):
                raise InputError(f"{folder}: not empty", "give another folder, or remove this one")
            print(f"{folder}: {trace_canyon(folder, BANDS[name])} users with a path", flush=True)
    except WfmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
