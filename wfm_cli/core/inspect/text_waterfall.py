"""Power over time and frequency in block characters, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.text import Text

from wfm_cli.core.inspect.text import si
from wfm_cli.core.signal.waterfall import Excerpt, coarse, colour_range

_SHADES = " ░▒▓█"
_COLOURS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_ROWS, _COLUMNS = 16, 72


def text_waterfall(excerpt: Excerpt, found: Mapping[str, Any]) -> Text:
    """Power over time (to the right) and frequency (upwards) in block characters: the fuller the stronger."""
    cells = coarse(excerpt.waterfall, _ROWS, _COLUMNS)[::-1]
    low, high = colour_range(cells, brightest=0.98)
    level = np.clip((cells - low) / (high - low), 0, 1)
    names = _frequency_labels(found, len(cells))
    width = max(map(len, names))
    text = Text(no_wrap=True)
    for name, row in zip(names, level, strict=True):
        text.append(f"{name:>{width}} ", style="dim")
        for value in row:
            shade = _SHADES[round(float(value) * (len(_SHADES) - 1))]
            text.append(shade, style=_COLOURS[round(float(value) * (len(_COLOURS) - 1))])
        text.append("\n")
    if excerpt.axis == "example":
        last = f"{excerpt.extent:,} examples"
    else:
        rate = found["sample_rate_hz"]
        last = si(float(f"{excerpt.extent / rate:.4g}"), "s") if rate else f"{excerpt.extent:,} samples"
    text.append(" " * width + " 0" + last.rjust(max(cells.shape[1] - 1, len(last) + 1)) + "\n", style="dim")
    text.append(f"{' ' * width} {low:.0f} ({_SHADES[0]}) ... {high:.0f} ({_SHADES[-1]}) dBFS in a bin", style="dim")
    return text


def _frequency_labels(found: Mapping[str, Any], rows: int) -> list[str]:
    """Names of the edges and the middle, empty elsewhere."""
    names, rate, centre = [""] * rows, found["sample_rate_hz"], found["center_frequency_hz"]
    for row, share in ((0, 0.5), (rows // 2, 0.0), (rows - 1, -0.5)):
        if rate:
            names[row] = si(share * rate + (centre or 0), "Hz")
        else:
            names[row] = f"{share:+.1f} fs" if share else "0"
    return names
