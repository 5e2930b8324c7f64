"""What wraps samples: pointers in place of data, compressed files and archives, by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq.flat import Bytes
from wfm_datasets.iq.memory import read_limited
from wfm_datasets.iq.recording import Recording

_Opener = Callable[[Path], BinaryIO]
_COMPRESSED: tuple[tuple[bytes, str, _Opener], ...] = (
    (b"\x1f\x8b\x08", "gzip", cast("_Opener", gzip.open)),
    (b"BZh", "bzip2", cast("_Opener", bz2.open)),
    (b"\xfd7zXZ\x00", "xz", cast("_Opener", lzma.open)),
)
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG", "PNG picture"),
    (0, b"\xff\xd8\xff", "JPEG picture"),
    (0, b"GIF8", "GIF picture"),
    (0, b"%PDF", "PDF document"),
    (0, b"\x7fELF", "program"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 file of no known layout"),
    (512, b"\x89HDF\r\n\x1a\n", "MATLAB v7.3 file of no known layout"),
    (0, b"MATLAB 5.0 MAT-file", "MATLAB file of no known layout"),
    (0, b"\x93NUMPY", "NumPy file"),
    (0, b"RIFF", "RIFF file"),
    (0, b"RF64", "RF64 file"),
    (0, b"OggS", "Ogg file"),
    (0, b"fLaC", "FLAC file"),
    (0, b"ID3", "MP3 file"),
    (0, b"SQLite format 3\x00", "SQLite database"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"\x1f\x8b\x08", "gzip file"),
    (0, b"BZh", "bzip2 file"),
    (0, b"\xfd7zXZ\x00", "xz file"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd file"),
    (257, b"ustar", "tar archive"),
)
DECODING = (
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
)


def pointer(head: bytes) -> str | None:
    """Name of what lies in place of the data, with the command that fetches it: Git LFS or git-annex pointers."""
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer lies in place of the data: fetch the real file (git lfs pull)"
    if len(head) < 4096 and b"/annex/objects/" in head:
        return "a git-annex pointer lies in place of the data: fetch the real file (git annex get)"
    return None


def foreign(head: bytes) -> str | None:
    """What a file is by its first bytes, if these belong to no raw samples."""
    return next((name for at, magic, name in _FOREIGN if head[at : at + len(magic)] == magic), None)


def is_text(head: bytes) -> bool:
    """Whether a file starts with at least 16 characters of plain text and nothing else."""
    return len(head) >= 16 and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head[:4096])


def compression(head: bytes) -> str | None:
    """`gzip`, `bzip2` or `xz`."""
    return next((name for magic, name, _ in _COMPRESSED if head.startswith(magic)), None)


@contextmanager
def decompressing(path: Path) -> Iterator[BinaryIO]:
    """The decompressed bytes of a gzip, bzip2 or xz file as a stream.

    Raises:
        InputError: damaged, on opening or while reading.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        opener = next(opener for magic, _, opener in _COMPRESSED if head.startswith(magic))
        with opener(path) as stream:
            yield stream
    except StopIteration:
        raise damaged(path, "no longer a compressed file") from None
    except InputError:
        raise
    except DECODING as error:
        raise damaged(path, error) from None


def only_member(path: Path) -> str:
    """Name of the one file in a compressed tar.

    Raises:
        InputError: damaged, or it holds more or fewer files.
    """
    try:
        with decompressing(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            names = [entry.name for entry, _ in zip(tar, range(1000), strict=False) if entry.isreg()]
    except DECODING as error:
        raise damaged(path, error) from None
    if len(names) != 1:
        raise InputError(f"{path}: holds {len(names)} files, not one", "unpack it and name the files inside")
    return names[0]


def decode(recording: Recording) -> Bytes:
    """Decoder `stream`: all bytes of a compressed file, or of one `member` of a compressed tar or a ZIP archive.

    Raises:
        InputError: damaged, without that member, or too large.
    """
    path, member = recording.path, recording.layout.get("member")
    what = str(path) if member is None else f"{path}: {member}"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(str(member)) as stream:
                return read_limited(cast("BinaryIO", stream), what)
        with decompressing(path) as stream:
            if member is None:
                return read_limited(stream, what)
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for entry in tar:
                    content = tar.extractfile(entry) if entry.isreg() and entry.name == member else None
                    if content is not None:
                        return read_limited(cast("BinaryIO", content), what)
    except KeyError:
        pass
    except InputError:
        raise
    except DECODING as error:
        raise damaged(path, error) from None
    raise damaged(path, f"holds no {member}")
