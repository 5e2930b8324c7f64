"""Range-angle maps of radar frames against the FFT recipe that DeepSense's readers share, and LiDAR depth images."""

from __future__ import annotations

import numpy as np
from measure import Row, compare

from wfm_cli.core.signal.lidar import depth_image
from wfm_cli.core.signal.radar import PROFILES, range_angle

FRAMES = 5
RECIPE = "range FFT, mean over chirps off, padded angle FFT, magnitude, mean"


def recipe(cube: np.ndarray) -> np.ndarray:
    """The public way: both transforms as FFTs, the angle one padded from 4 to 64."""
    ranges = np.fft.fft(cube, axis=1)
    ranges = ranges - ranges.mean(2, keepdims=True)
    return np.fft.fftshift(np.abs(np.fft.fft(ranges, 64, axis=0)).mean(2), axes=0)


def main() -> list[Row]:
    """Frames of 4 antennas, 256 samples, 250 chirps."""
    rng = np.random.default_rng(0)
    shape = (FRAMES, 4, 256, 250)
    cubes = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    error = np.abs(range_angle(cubes[0]) - recipe(cubes[0])).max() / recipe(cubes[0]).max()
    points = rng.normal(size=(18_131, 3)) * [40, 40, 4]
    seconds = compare(
        {
            "ours": lambda: [range_angle(cube, PROFILES["deepsense"]) for cube in cubes],
            "recipe": lambda: [recipe(cube) for cube in cubes],
            "range": lambda: [np.fft.fft(cube, axis=1) for cube in cubes],
            "lidar": lambda: [depth_image(points) for _ in range(FRAMES)],
        },
        repeats=9,
    )
    each = {name: 1e3 * value / FRAMES for name, value in seconds.items()}
    return [
        Row(
            "range-angle map of one frame: against the padded-FFT recipe",
            each["recipe"] / each["ours"],
            "x",
            3,
            note=f"{each['ours']:.1f} against {each['recipe']:.1f} ms; largest difference {error:.1e} of the peak",
        ),
        Row("  a range FFT alone takes, of ours", each["range"] / each["ours"], "x", note=f"{each['range']:.1f} ms"),
        Row("depth image of 18,131 points", each["lidar"], "ms"),
    ]
