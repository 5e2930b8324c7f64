"""JSON beside samples that looks like SigMF and is not: nested one level down, or with maps in place of lists."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged

_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Sidecar:
    """The three parts of the metadata; of captures and annotations the first."""

    path: Path
    general: Mapping[str, Any]
    capture: Mapping[str, Any]
    annotation: Mapping[str, Any]

    def number(self, *keys: str) -> float | None:
        """The first positive number under one of the keys, in any of the three parts."""
        for key in keys:
            for part in (self.capture, self.general, self.annotation):
                value = part.get(key)
                if isinstance(value, str):
                    try:
                        value = float(value)
                    except ValueError:
                        continue
                if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
                    return float(value)
        return None


def read_sidecar(path: Path) -> Sidecar:
    """The metadata of a recording, with or without `_metadata` around it.

    Raises:
        InputError: missing, damaged, or no such metadata.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes of metadata")
        data = json.loads(path.read_text(encoding="utf-8"))
        inner = data.get("_metadata", data)
        if not isinstance(inner, dict):
            raise ValueError("_metadata is no object")
        general, capture, annotation = (_first(inner.get(name)) for name in ("global", "captures", "annotations"))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing", "copy the pair together") from None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise damaged(path, error) from None
    return Sidecar(path, general, capture, annotation)


def _first(value: Any) -> dict[str, Any]:
    """The object itself, the first of a list, or nothing."""
    if isinstance(value, list):
        value = value[0] if value else {}
    return value if isinstance(value, dict) else {}
