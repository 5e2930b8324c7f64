"""What the arrays of a DeepMIMO store are: names, units, classes and the conventions in words."""

from __future__ import annotations

from typing import Any

from wfm_cli.core.recipe.prepare import DeepMIMOSource
from wfm_cli.core.signal.channels import delay_limit_s
from wfm_cli.core.signal.codebook import Grid, beam_angles_deg
from wfm_cli.core.store.schema import ArraySpec

PUBLISHED_SCALE = 1e6
"""What LWM multiplies path-gain amplitudes by."""

LOS = ArraySpec(
    "labels/los", "int8", (), ("sample",), "1", "line of sight between user and base station",
    {"classes": ["NLoS", "LoS"]},
)  # fmt: skip
POSITION = ArraySpec("meta/position", "float32", (3,), ("sample", "xyz"), "m", "user position in the scenario")
PATH_COUNT = ArraySpec("meta/path_count", "int16", (), ("sample",), "1", "paths that make up the channel")
LOG_POWER = ArraySpec(
    "meta/log_power_db", "float32", (), ("sample",), "dB",
    "mean |h|^2 per element of the raw channel, before any normalisation",
)  # fmt: skip

_SCALE = {
    "raw": ("1", "amplitude of the path gain over sqrt(K)"),
    "published": ("1e-6", "amplitude of the path gain over sqrt(K), times 1e6"),
    "power": ("1", "scaled to unit mean power per element in every sample"),
}


def scenario(names: list[str]) -> ArraySpec:
    """The column of scenario numbers."""
    attrs = {"classes": names}
    return ArraySpec("meta/scenario", "int16", (), ("sample",), "1", "scenario the user belongs to", attrs)


def beam_arrays(beams: tuple[int, ...]) -> list[tuple[str, int, Grid]]:
    """Name, size and grid of every beam label."""
    both: tuple[tuple[str, Grid], ...] = (("", "closed"), ("_half", "half_open"))
    return [(f"labels/beam_{n}{suffix}", n, grid) for n in beams for suffix, grid in both]


def arrays(source: DeepMIMOSource) -> tuple[ArraySpec, ...]:
    """The arrays made part by part."""
    units, words = _SCALE[source.normalise]
    channel = ArraySpec(
        "channel",
        "complex64",
        (source.antennas, source.subcarriers),
        ("sample", "antenna", "subcarrier"),
        units,
        f"frequency-domain channel, {words}",
        {"normalise": source.normalise},
    )
    return (channel, *(_beam(*entry) for entry in beam_arrays(source.beams)), LOG_POWER)


def _beam(name: str, n: int, grid: Grid) -> ArraySpec:
    angles = [round(float(angle), 4) for angle in beam_angles_deg(n, grid)]
    classes = [f"{angle:g} deg" for angle in angles]
    words = "published closed grid" if grid == "closed" else "grid without the duplicate at +90 deg"
    attrs = {"classes": classes, "grid": grid, "angles_deg": angles}
    return ArraySpec(name, "int16", (), ("sample",), "1", f"best of {n} beams, {words}", attrs)


def conventions(source: DeepMIMOSource) -> dict[str, Any]:
    """The conventions of channel and labels in words and numbers."""
    spacing_hz = source.spacing_khz * 1e3
    return {
        "formula": "h[m,k] = sum_p sqrt(P_p/K) exp(j phi_p) exp(j pi m y_p) exp(-j 2 pi tau_p spacing k)",
        "amplitude": f"divided by sqrt(K), K = {source.subcarriers}; P_p is the path gain at 0 dBm transmit power",
        "array": f"uniform linear array of {source.antennas} isotropic elements, half a wavelength apart, on its local "
        "y axis; y_p is the cosine of the path to that axis",
        "array_reference": "element 0 has phase 0",
        "user_antenna": "one isotropic antenna",
        "rotation_deg": list(source.rotation_deg),
        "rotation": "degrees about x, then y, then z; the bearing is the third number",
        "angles": "azimuth from x towards y, zenith angle from z; degrees, global coordinates",
        "subcarrier_spacing_hz": spacing_hz,
        "bandwidth_hz": spacing_hz * source.subcarriers,
        "max_delay_s": delay_limit_s(spacing_hz),
        "late_paths": source.late_paths,
        "max_paths": source.paths,
        "normalise": source.normalise,
        "line_of_sight": "some path has no interaction (v4), or its line-of-sight flag is set (v2/v3)",
        "beam_label": "argmax over beams of 20 log10 |mean_k sum_m f[m] h[m,k]| rounded to 0.1 dB, first of equals, "
        "f[m] = exp(j pi m sin(angle))/sqrt(M) without conjugate, on the raw channel",
    }
