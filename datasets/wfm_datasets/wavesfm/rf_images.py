"""RF signal classification: a folder of spectrogram images `<label>_*.png` (CommRad RF, 10.5281/zenodo.14192970)."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wfm_cli.core.recipe.prepare import WavesFMSource
from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.wavesfm import files, image
from wfm_datasets.wavesfm.scan import Scan, label, number

CLASSES = [
    "ads-b", "airband", "ais", "automatic-picture-transmission", "bluetooth", "cellular", "digital-audio-broadcasting",
    "digital-speech-decoder", "fm", "lora", "morse", "on-off-keying", "packet", "pocsag", "Radioteletype",
    "remote-keyless-entry", "RS41-Radiosonde", "sstv", "vor", "wifi",
]  # fmt: skip
NORM = image.Norm(0.0, 1.0, (0.5,), (0.5,))
LAYOUT = "a flat folder of images <label>_*.png; audio under the name of this data set is another archive"
_NUMBER = {name.casefold(): index for index, name in enumerate(CLASSES)}
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)


class ImageReader:
    """Grey values in [0, 1] of every image, turned by 90 degrees counter-clockwise."""

    def __init__(self, source: WavesFMSource) -> None:
        self.source = source

    def scan(self) -> Scan:
        """See `Reader.scan`."""
        if not self.source.size:
            raise InputError("source.size: images of any size need one common size", "use 224 as published")
        found = files.find(self.source.paths, (".png",), LAYOUT)
        sources = tuple(raw.record() for raw in found)
        labels = np.array([_label(raw.path) for raw in found], np.int64)
        for raw in found:
            with _opened(raw.path) as picture:
                _decode(raw.path, picture.verify)
        group, _ = files.number_of(_recordings(found, sources))
        size = self.source.size
        return Scan(
            kind="spectrogram",
            array=image.describe(
                "spectrogram", (1, size, size), ("channel", "frequency", "time"),
                "grey value of a spectrogram image, turned by 90 degrees counter-clockwise", NORM, self.source,
                {"resize": image.METHOD, "raw_shape": None},
            ),
            columns=(
                (label("signal", CLASSES, "kind of signal, from the file name"), labels.astype(np.int16)),
                (number("recording", "int32", "1", "images of one recording, or equal images"), group.astype(np.int32)),
            ),
            sources=sources,
            stratum=labels,
            groups={"recording": group},
            attrs={"groups": "recording = file name without its last number where more than the label is left, else "
                   "every image by itself; byte-identical images are one recording"},
            state={"file": files.names(found)},
        )  # fmt: skip

    def rows(self, start: int, stop: int, state: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `Reader.rows`."""
        made = np.empty((stop - start, 1, self.source.size, self.source.size), np.float32)
        for row, name in enumerate(state["file"][start:stop]):
            made[row] = image.finish(_grey(Path(str(name)))[None, None], NORM, self.source)[0]
        return made


def _label(path: Path) -> int:
    word = path.stem.partition("_")[0].casefold()
    if word not in _NUMBER or "_" not in path.stem:
        near = difflib.get_close_matches(word, _NUMBER, 1)
        hint = f"did you mean {CLASSES[_NUMBER[near[0]]]}_?" if near else f"labels: {', '.join(CLASSES)}"
        raise InputError(f"{path}: its name does not begin with <label>_ of a known signal", hint)
    return _NUMBER[word]


def _recordings(found: list[files.RawFile], sources: tuple[dict[str, Any], ...]) -> list[str]:
    """Name of the recording of every image."""
    made, by_content = [], dict[str, str]()
    for raw, record in zip(found, sources, strict=True):
        stem = re.sub(r"[_-]?\d+$", "", raw.path.stem)
        name = stem if "_" in stem and stem.partition("_")[2] else raw.path.stem
        made.append(by_content.setdefault(record["sha256"], name))
    return made


def _decode(path: Path, action: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return action()
    except _ERRORS as error:
        raise damaged(path, error) from None


def _opened(path: Path) -> Image.Image:
    picture: Image.Image = _decode(path, lambda: Image.open(path))
    return picture


def _grey(path: Path) -> NDArray[np.float32]:
    with _opened(path) as picture:
        turned = _decode(path, lambda: picture.convert("L").transpose(Image.Transpose.ROTATE_90))
    return np.asarray(turned, np.float32) / np.float32(255)
