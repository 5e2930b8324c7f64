"""Tiny SigMF recordings whose content is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 1e6
CENTRE_HZ = 2.4e9


def tone(samples: int, frequency: float = 0.0, amplitude: float = 0.5, seed: int = 0) -> NDArray[np.complex64]:
    """A tone at a share of the rate in weak noise, (samples,)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((samples, 2)).astype(np.float32).view(np.complex64)[:, 0]
    wave = amplitude * np.exp(2j * np.pi * frequency * np.arange(samples))
    return (wave + 1e-3 * noise).astype(np.complex64)


def write(
    path: Path,
    samples: NDArray[np.complex64],
    datatype: str = "cf32_le",
    annotations: Sequence[Mapping[str, Any]] = (),
    **about: Any,
) -> Path:
    """Write `path.sigmf-data` and `path.sigmf-meta`; `samples` is (time,) or (time, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = np.ascontiguousarray(samples).view(np.float32)
    if datatype == "ci16_le":
        parts = np.clip(np.rint(parts * 32768), -32768, 32767).astype("<i2")
    path.with_name(f"{path.name}.sigmf-data").write_bytes(parts.tobytes())
    meta = {
        "global": {
            "core:datatype": datatype,
            "core:sample_rate": RATE_HZ,
            "core:version": "1.2.0",
            "core:num_channels": 1 if samples.ndim == 1 else samples.shape[1],
            **{f"wfm:{name}": value for name, value in about.items()},
        },
        "captures": [{"core:sample_start": 0, "core:frequency": CENTRE_HZ}],
        "annotations": list(annotations),
    }
    path.with_name(f"{path.name}.sigmf-meta").write_text(json.dumps(meta))
    return path.with_name(f"{path.name}.sigmf-meta")


def note(start: int, count: int, label: str | None = None, **fields: Any) -> dict[str, Any]:
    """An annotation."""
    about = {"core:sample_start": start, "core:sample_count": count, **{f"wfm:{k}": v for k, v in fields.items()}}
    return about | ({"core:label": label} if label else {})
