"""Windows of equally long examples that lie in several blocks of one file, such as the arrays of a pickle.

Layout keys beside those of a flat file:

    blocks   [[first example, byte], ...], sorted; the examples of a block lie back to back
    inline   [[first example, base64 of the numbers], ...] for arrays too small to have a place of their own
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wfm_datasets.iq.flat import Cutter, mapped, refuse_changed
from wfm_datasets.iq.recording import Recording, WindowReader, Windows


def open_windows(recording: Recording) -> WindowReader:
    """Windows of a mapped file.

    Raises:
        InputError: (the reader, too) the file has changed or gone, or a sample is not finite.
    """
    refuse_changed(recording)
    cutter = Cutter.of(recording)
    layout = cast("dict[str, Any]", recording.layout)
    inline = [base64.b64decode(text) for _, text in layout.get("inline", [])]
    own = np.frombuffer(b"".join(inline), np.uint8)
    sizes = np.cumsum([0, *map(len, inline)])
    places = [(int(first), int(at), False) for first, at in layout.get("blocks", [])]
    places += [(int(first), int(at), True) for (first, _), at in zip(layout.get("inline", []), sizes, strict=False)]
    places.sort()
    firsts = np.array([first for first, _, _ in places], np.int64)

    def read(examples: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> Windows:
        refuse_changed(recording)
        data = mapped(recording.path)
        out = np.empty((len(starts), recording.channels, length), np.complex64)
        block = np.searchsorted(firsts, examples, "right") - 1
        for number in np.unique(block):
            first, at, small = places[int(number)]
            mine = np.flatnonzero(block == number)
            # Counted from example 0 of the recording, so that errors name the right one.
            there = replace(cutter, offsets=np.array([at - first * cutter.example_bytes], np.int64))
            out[mine] = there.windows(own if small else data, examples[mine], starts[mine], length)
        return out

    return read
