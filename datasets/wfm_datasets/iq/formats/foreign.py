"""Files that hold I/Q, or look as if they did, in a form that is not read: refused by name, with the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from wfm_cli.errors import InputError
from wfm_datasets.iq import hdf5_files
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMPLEX_TEXT = re.compile(rf"\s*\(?{_NUMBER}\s*[-+]\s*(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*[ij]\)?\s*(?:[,;\s]|$)")
_COLUMNS = re.compile(rf"(?:\s*{_NUMBER}\s*[,;\s]\s*{_NUMBER}\s*\n){{4,}}")
_SIGMF = (
    "convert it to SigMF with `sigmf_convert` of the package sigmf, or name the samples with --dtype and --skip-bytes"
)


def recognise(path: Path, head: bytes) -> bool:
    """Any of the forms in `_NAMED`."""
    return _name(path, head) is not None


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """None.

    Raises:
        InputError: always; names the form and the way out.
    """
    with path.open("rb") as stream:
        head = stream.read(8192)
    what, remedy = _name(path, head) or ("a form that is not read", "convert it to SigMF")
    raise InputError(f"{path}: {what}, which is not read here", remedy)


def _name(path: Path, head: bytes) -> tuple[str, str] | None:
    return next(((what, remedy) for test, what, remedy in _NAMED if test(path, head)), None)


def _blue(path: Path, head: bytes) -> bool:
    return head.startswith(b"BLUE") and head[4:8] in (b"EEEI", b"IEEE")


def _positioning(path: Path, head: bytes) -> bool:
    if not hdf5_files.is_hdf5(head):
        return False
    names = hdf5_files.root(path)[0]
    return {"features", "labels"} <= names


@lru_cache(maxsize=256)
def _only_pictures(folder: Path) -> bool:
    """Whether a folder holds several PNGs named `<class>_...` and nothing else."""
    names = [entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    return len(names) > 3 and all(re.fullmatch(r"[^_]+_.+\.png", name, re.IGNORECASE) for name in names)


def _commrad(path: Path, head: bytes) -> bool:
    return head.startswith(b"\x89PNG") and _only_pictures(path.absolute().parent)


def _complex_text(path: Path, head: bytes) -> bool:
    text = _ascii(head)
    return text is not None and len(text.split()) > 1 and _COMPLEX_TEXT.match(text) is not None


def _text_columns(path: Path, head: bytes) -> bool:
    text = _ascii(head)
    return text is not None and path.suffix.lower() in (".txt", ".dat", ".iq", "") and bool(_COLUMNS.match(text))


def _ascii(head: bytes) -> str | None:
    """The head as text, if it is text."""
    if any(byte > 126 or (byte < 32 and byte not in b"\t\r\n") for byte in head):
        return None
    return head.decode("ascii")


_NAMED: tuple[tuple[Callable[[Path, bytes], bool], str, str], ...] = (
    (
        lambda path, head: head.startswith(b"IT++"),
        "a file of IT++ (.it)",
        "load it with IT++ and save complex64, or with scipy and save .npy",
    ),
    (
        lambda path, head: path.suffix.lower() == ".sdriq",
        "a recording of SDRangel (.sdriq)",
        "record or export it as SigMF or WAV in SDRangel",
    ),
    (_blue, "a BLUE or CDIF file of Midas/X-Midas", _SIGMF),
    (
        lambda path, head: b"<SignalHoundIQFile" in head,
        "the XML of a Signal Hound recording",
        "convert the pair to SigMF with `sigmf_convert` of the package sigmf",
    ),
    (
        lambda path, head: head.startswith(b"OggS"),
        "Ogg audio, which has lost samples",
        "record I/Q as SigMF or WAV; TorchSig: write the data set as HDF5",
    ),
    (
        lambda path, head: head.startswith(b"fLaC"),
        "FLAC audio",
        "decode it: flac -d FILE gives a WAV file",
    ),
    (
        _positioning,
        "channel state for 5G positioning, no I/Q",
        "wfm prepare wavesfm pos",
    ),
    (
        _commrad,
        "a spectrogram picture of CommRad RF, no I/Q",
        "wfm prepare wavesfm rfs",
    ),
    (
        _complex_text,
        "complex numbers as text (HisarMod CSV)",
        "load it once with numpy.genfromtxt(dtype=complex, delimiter=',') and save complex64 .npy",
    ),
    (
        _text_columns,
        "I/Q as two columns of text",
        "load it once with numpy.loadtxt and save complex64 .npy",
    ),
    (
        lambda path, head: path.name in (".zarray", ".zattrs", ".zgroup") and b"zarr_format" in head,
        "a Zarr v2 store, as TorchSig up to 1.1 wrote",
        "write the data set again with TorchSig 2 (HDF5)",
    ),
)
