"""Writes I/Q as SigMF, whole files or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wfm_cli.core.store.files import atomic_file, reserve, write_all
from wfm_cli.errors import InputError
from wfm_datasets.iq.datatypes import SampleType, sample_type
from wfm_datasets.iq.recording import Annotation, Value

_BLOCK = 1 << 18
_VERSION = "1.2.0"
_NAMESPACE = {"name": "wfm", "version": "1.0.0", "optional": True}


def write_sigmf(
    path: Path,
    iq: NDArray[np.complexfloating[Any, Any]],
    datatype: str = "cf32_le",
    *,
    sample_rate: float,
    center_frequency: float | None = None,
    annotations: Sequence[Annotation] = (),
    fields: Mapping[str, Value] | None = None,
    description: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write `x.sigmf-data` and `x.sigmf-meta`; the metadata come last, so that a pair that is there is complete.

    Args:
        path: `x`, with or without one of the two suffixes, in a folder that exists; files there are replaced.
        iq: Complex samples (T,), or (T, n) for n channels, which are interleaved.
        datatype: Complex SigMF type; integers are scaled by their full scale and rounded.
        sample_rate: Hz.
        center_frequency: Hz.
        annotations: Described stretches; their fields go into the namespace `wfm:`.
        fields: Of the whole recording, also below `wfm:`.
        description: One sentence.
        meta: Further keys of SigMF's `global`, with their namespace.

    Returns:
        The data file and the metadata file.

    Raises:
        InputError: an integer type cannot hold amplitudes above 1, or a sample is not finite.
        WfmError: the disk is full or refuses.
        ValueError: `iq` has another shape, or `datatype` is not complex.
    """
    kind = sample_type(datatype)
    if iq.ndim not in (1, 2) or iq.size == 0 or not kind.complex or kind.bits == 24:
        raise ValueError(
            f"samples {iq.shape} as {datatype}: expected complex (T,) or (T, n) and a complex type of SigMF"
        )
    stem = Path(str(path).removesuffix(".sigmf-meta").removesuffix(".sigmf-data"))
    data, described = Path(f"{stem}.sigmf-data"), Path(f"{stem}.sigmf-meta")
    frames = iq.reshape(len(iq), -1)
    head: dict[str, Any] = {
        "core:datatype": kind.name,
        "core:sample_rate": float(sample_rate),
        "core:version": _VERSION,
        "core:recorder": "wfm",
        **({"core:num_channels": frames.shape[1]} if frames.shape[1] > 1 else {}),
        **({"core:description": description} if description else {}),
        **(meta or {}),
        **_spaced(fields or {}),
    }
    if fields or any(note.fields for note in annotations):
        head["core:extensions"] = [*head.get("core:extensions", ()), _NAMESPACE]
    capture: dict[str, Any] = {"core:sample_start": 0}
    if center_frequency is not None:
        capture["core:frequency"] = float(center_frequency)
    with atomic_file(data) as descriptor:
        described.unlink(missing_ok=True)  # it would describe other samples
        reserve(descriptor, frames.size * kind.sample_bytes)
        head["core:sha512"] = _samples(descriptor, frames, kind, stem)
    document = {"global": head, "captures": [capture], "annotations": _annotations(annotations)}
    with atomic_file(described) as descriptor:
        write_all(descriptor, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    return data, described


def _samples(descriptor: int, frames: NDArray[Any], kind: SampleType, stem: Path) -> str:
    """Write all samples block by block; their SHA-512."""
    digest = hashlib.sha512()
    step = max(1, _BLOCK // frames.shape[1])
    for low in range(0, len(frames), step):
        block = np.ascontiguousarray(frames[low : low + step])
        numbers = block.view(block.real.dtype).reshape(-1)
        largest = float(np.abs(numbers).max())
        if not np.isfinite(largest):
            raise InputError(f"{stem}: a sample is NaN or infinite", "nothing was written; check where it comes from")
        stored = _stored(numbers, largest, kind, stem).tobytes()
        write_all(descriptor, stored)
        digest.update(stored)
    return digest.hexdigest()


def _stored(numbers: NDArray[Any], largest: float, kind: SampleType, stem: Path) -> NDArray[Any]:
    if kind.kind == "f":
        return numbers.astype(kind.dtype)
    if largest > 1:
        raise InputError(
            f"{stem}: amplitude {largest:g} does not fit {kind.name}", "scale to 1 at most, or use cf32_le"
        )
    low = 0.0 if kind.kind == "u" else -kind.full_scale
    scaled = np.rint(numbers.astype(np.float64) * kind.full_scale) + kind.zero
    return np.clip(scaled, low, low + 2 * kind.full_scale - 1).astype(kind.dtype)


def _spaced(fields: Mapping[str, Value]) -> dict[str, Value]:
    return {f"wfm:{name}": value for name, value in fields.items()}


def _annotations(annotations: Sequence[Annotation]) -> list[dict[str, Any]]:
    made = []
    for note in sorted(annotations, key=lambda note: note.start):
        described: dict[str, Any] = {"core:sample_start": note.start, "core:sample_count": note.count}
        if note.label is not None:
            described["core:label"] = note.label
        if note.low_hz is not None and note.high_hz is not None:
            described |= {"core:freq_lower_edge": note.low_hz, "core:freq_upper_edge": note.high_hz}
        made.append(described | _spaced(note.fields))
    return made
