"""SigMF: pairs of data and metadata, archives, collections."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from wfm_cli.errors import InputError
from wfm_datasets.deepmimo.files import damaged
from wfm_datasets.iq import memory, sigmf_meta
from wfm_datasets.iq.containers import DECODING, compression, decompressing, pointer
from wfm_datasets.iq.flat import stamp
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import ReadOptions
from wfm_datasets.iq.sigmf_meta import MAX_META_BYTES, Source
from wfm_datasets.iq.sniff import examine

META, DATA, COLLECTION = ".sigmf-meta", ".sigmf-data", ".sigmf-collection"
_ARCHIVES = (".sigmf", ".sigmf.gz", ".sigmf.xz", ".sigmf.bz2", ".sigmf.zip")
_MOST_MEMBERS = 100_000


def recognise(path: Path, head: bytes) -> bool:
    """SigMF's own suffixes; nothing else carries them."""
    return path.name.lower().endswith((META, DATA, COLLECTION, *_ARCHIVES))


def belongs(path: Path) -> bool:
    """Data files beside their metadata, data files that metadata name, collections whose recordings are all there."""
    if path.suffix == DATA:
        return path.with_suffix(META).exists()
    if path.suffix == COLLECTION:
        try:
            return all(os.path.exists(meta) for meta in _streams(path))  # False for names too long for the disk
        except InputError:
            return False
    try:
        return path.name in _named_datasets(path.parent, path.parent.stat().st_mtime_ns)
    except OSError:
        return False


def recordings(path: Path, options: ReadOptions) -> list[Recording]:
    """The recordings of a metadata or data file, an archive or a collection.

    Raises:
        InputError: metadata that make no sense, missing data, another checksum, a damaged or unsafe archive.
    """
    if path.name.lower().endswith(_ARCHIVES):
        return _archive(path, options)
    if path.suffix == COLLECTION:
        return [made for meta in _streams(path) for made in recordings(meta, options)]
    meta = path.with_suffix(META)
    if not os.path.exists(meta):
        raise InputError(
            f"{path}: has no metadata file {meta.name}", "fetch it, or name the type with --dtype and rename"
        )
    document = _document(meta)
    data = _dataset(meta, document["global"])
    _check_sum(document["global"], options, data, str(data), lambda: data.open("rb"))
    where = {**stamp(data), "offset": 0}
    made = sigmf_meta.recordings(document, Source(data, data.stat().st_size, where), meta.stem, str(meta))
    return [examine(recording, certain=True) for recording in made]


def _document(meta: Path) -> dict[str, Any]:
    size = meta.stat().st_size
    if size > MAX_META_BYTES:
        raise InputError(f"{meta}: {size} bytes of metadata", f"at most {MAX_META_BYTES >> 20} MiB are read")
    content = meta.read_bytes()
    if where := pointer(content[:4096]):
        raise InputError(f"{meta}: {where}")
    return sigmf_meta.parse(content, str(meta))


def _dataset(meta: Path, head: dict[str, Any]) -> Path:
    """The data file: beside the metadata, or the one that `core:dataset` names in the same folder."""
    own, name = meta.with_suffix(DATA), head.get("core:dataset")
    if name is not None:
        if not isinstance(name, str) or not _safe(name):
            raise InputError(
                f"{meta}: core:dataset {str(name)[:60]!r} leaves the folder", "only files beside it are read"
            )
        own = meta.parent / name
    if not os.path.isfile(own):  # False for names too long for the disk
        if head.get("core:metadata_only") is True:
            raise InputError(f"{meta}: metadata only (core:metadata_only), there are no samples", "leave it out")
        raise InputError(f"{meta}: its data file {own.name} is missing", "fetch it, or leave the metadata out")
    with own.open("rb") as stream:
        if where := pointer(stream.read(1024)):
            raise InputError(f"{own}: {where}")
    return own


def _safe(name: str) -> bool:
    """Whether a name stays below where it is looked up."""
    parts = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and "\0" not in name and not parts.is_absolute() and ".." not in parts.parts


def _check_sum(head: dict[str, Any], options: ReadOptions, path: Path, what: str, open_: Any) -> None:
    expected = head.get("core:sha512")
    if not options.checksum or not isinstance(expected, str) or not expected:
        return
    with open_() as stream:
        found = hashlib.file_digest(stream, "sha512").hexdigest()
    if found != expected.lower():
        raise InputError(
            f"{what}: SHA-512 is not the one in its metadata (core:sha512)",
            "the file has changed: fetch it again, or read it as it is with --no-checksum",
        )


@lru_cache(maxsize=64)
def _named_datasets(folder: Path, changed: int) -> frozenset[str]:
    """Files of a folder that metadata without data of their own name in `core:dataset`."""
    found = set()
    for meta in folder.glob(f"*{META}"):
        if meta.with_suffix(DATA).exists():
            continue
        try:
            name = _document(meta)["global"].get("core:dataset")
        except (InputError, OSError):
            continue
        if isinstance(name, str):
            found.add(name)
    return frozenset(found)


def _streams(path: Path) -> list[Path]:
    """Metadata files of a collection."""
    if path.stat().st_size > MAX_META_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes of metadata", f"at most {MAX_META_BYTES >> 20} MiB")
    collection = sigmf_meta.load(path.read_bytes(), str(path)).get("collection")
    streams = collection.get("core:streams") if isinstance(collection, dict) else None
    if not isinstance(streams, list) or not streams:
        raise InputError(f"{path}: has no core:streams", "expected a SigMF collection")
    names = [item.get("name") if isinstance(item, dict) else item for item in streams]
    for name in names:
        if not isinstance(name, str) or not _safe(name):
            raise InputError(f"{path}: stream {str(name)[:60]!r} leaves the folder", "only files beside it are read")
    return [path.parent / f"{str(name).removesuffix(META)}{META}" for name in names]


def _archive(path: Path, options: ReadOptions) -> list[Recording]:
    """Recordings of an archive. A plain tar is mapped where it lies, a compressed one is decoded into memory."""
    with path.open("rb") as stream:
        head = stream.read(1024)
    if where := pointer(head):
        raise InputError(f"{path}: {where}")
    plain = compression(head) is None and not head.startswith(b"PK")
    metas: dict[str, bytes] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name, size, offset, content in _members(path, plain):
        if not _safe(name):
            raise InputError(f"{path}: member {name[:60]!r} leaves the archive", "refused; do not unpack this archive")
        if name.endswith(META):
            if size > MAX_META_BYTES:
                raise InputError(f"{path}: {name} has {size} bytes", f"at most {MAX_META_BYTES >> 20} MiB are read")
            metas[name.removesuffix(META)] = content.read()
        elif name.endswith(DATA):
            if not plain and size > memory.LIMIT_BYTES:
                raise InputError(f"{path}: {name} decodes to {size} bytes", "decompress the archive first")
            sizes[name.removesuffix(DATA)] = size, offset
    if not metas:
        raise InputError(f"{path}: holds no {META}", "expected a SigMF archive")
    stem = path.name[: path.name.lower().rindex(".sigmf")]
    made: list[Recording] = []
    for name in sorted(metas):
        if name not in sizes:
            raise InputError(f"{path}: {name}{DATA} is missing", "make or fetch the archive again")
        own = stem if len(metas) == 1 else f"{stem}#{PurePosixPath(name).name if _flat(metas) else name}"
        made += _member(path, options, name, metas[name], sizes[name], plain, own)
    return made


def _flat(metas: dict[str, bytes]) -> bool:
    """Whether the last parts of the names tell the recordings apart."""
    return len({PurePosixPath(name).name for name in metas}) == len(metas)


def _member(
    path: Path, options: ReadOptions, name: str, meta: bytes, place: tuple[int, int], plain: bool, own: str
) -> list[Recording]:
    document = sigmf_meta.parse(meta, f"{path}: {name}{META}")
    size, offset = place
    layout = {**stamp(path), "offset": offset} if plain else {
        **stamp(path), "offset": 0, "decoder": "stream", "member": f"{name}{DATA}"
    }  # fmt: skip
    source = Source(path, size, layout, not plain)
    made = sigmf_meta.recordings(document, source, own, f"{path}: {name}{META}")
    _check_sum(document["global"], options, path, f"{path}: {name}{DATA}", lambda: _reader(path, made[0], place, plain))
    return [examine(recording, certain=True) for recording in made]


@contextmanager
def _reader(path: Path, recording: Recording, place: tuple[int, int], plain: bool) -> Iterator[BinaryIO]:
    """The bytes of a member as a stream, for its checksum."""
    if plain:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for entry in tar:
                if entry.offset_data == place[1] and (content := tar.extractfile(entry)) is not None:
                    yield cast("BinaryIO", content)
                    return
    else:
        yield io.BytesIO(memory.decoded(recording).data)


def _members(path: Path, plain: bool) -> Iterator[tuple[str, int, int, Any]]:
    """Name, size, place and content of every regular file of an archive."""
    try:
        if zipfile.is_zipfile(path) and not plain:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist()[:_MOST_MEMBERS]:
                    if not entry.is_dir():
                        with archive.open(entry) as content:
                            yield entry.filename, entry.file_size, 0, _Limited(path, content)
        elif plain:
            with tarfile.open(path, "r:") as tar:
                yield from _entries(path, tar, path.stat().st_size)
        else:
            with decompressing(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                yield from _entries(path, tar, None)
    except InputError:
        raise
    except DECODING as error:
        raise damaged(path, error) from None


def _entries(path: Path, tar: tarfile.TarFile, size: int | None) -> Iterator[tuple[str, int, int, Any]]:
    passed = 0
    for count, entry in enumerate(tar):
        passed += entry.size
        if count >= _MOST_MEMBERS or (size is None and passed > 4 * memory.LIMIT_BYTES):
            raise InputError(f"{path}: too many or too large members", "unpack the archive first")
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise InputError(f"{path}: member {entry.name[:60]!r} is a link or device", "refused; unpack it yourself")
        if size is not None and entry.offset_data + entry.size > size:
            raise damaged(path, f"{entry.name} ends behind the end of the archive")
        yield entry.name.removeprefix("./"), entry.size, entry.offset_data, _Limited(path, tar.extractfile(entry))


class _Limited:
    """The content of a member, read at most to the limit of metadata."""

    def __init__(self, path: Path, stream: Any) -> None:
        self.path, self.stream = path, stream

    def read(self) -> bytes:
        try:
            return bytes(memory.read_limited(self.stream, f"{self.path}: metadata", MAX_META_BYTES))
        except DECODING as error:
            raise damaged(self.path, error) from None
