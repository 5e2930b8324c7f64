"""Small files and the only way in which anything is written: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wfm_cli.core.store.schema import JSON
from wfm_cli.errors import StoreError, WfmError

PARTIAL = ".partial"
"""Suffix of files that are being written; what still carries it after a kill is rubbish."""

_LFS = b"version https://git-lfs"


@contextmanager
def atomic_file(path: Path) -> Iterator[int]:
    """Descriptor of a temporary file beside `path` that takes its place, synced, when the block ends without error.

    Raises:
        WfmError: the disk is full or refuses the write; the temporary file is gone and `path` is as before.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def write_all(descriptor: int, data: Any) -> None:
    """Write a whole buffer; `os.write` alone may stop short."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def reserve(descriptor: int, size: int) -> None:
    """Claim the space of a file before writing it: half the cost of writing, and a full disk shows at once.

    Does nothing where the file system cannot.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def write_error(path: Path, error: OSError) -> WfmError:
    """What to tell people when the system refuses to write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space and give the same command again: it goes on where it stopped"
        return WfmError(f"disk full while writing {path}", hint)
    if error.errno == errno.EFBIG:
        return WfmError(f"file size limit reached while writing {path}", "raise the limit (ulimit -f) and go on")
    return WfmError(f"cannot write {path}: {error.strerror or error}")


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut (a no-op where folders cannot be synced)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, data: Mapping[str, JSON]) -> None:
    """Write JSON atomically. NaN and infinity have no place in JSON and raise ValueError."""
    with atomic_file(path) as descriptor:
        write_all(descriptor, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, JSON]:
    """Read a JSON object.

    Raises:
        StoreError: absent, unreadable, a Git LFS pointer, or not a JSON object.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        what = f"{path}: cannot be read ({error.strerror or error})"
        raise StoreError(what, "copy the store again, or prepare it again") from error
    if data.startswith(_LFS):
        raise StoreError(f"{path}: is a Git LFS pointer, not the file itself", "fetch the files with `git lfs pull`")
    try:
        value = json.loads(data)
    except ValueError as error:
        raise StoreError(
            f"{path}: is damaged, it does not hold JSON", "copy the store again, or prepare it again"
        ) from error
    if not isinstance(value, dict):
        raise StoreError(
            f"{path}: is damaged, it does not hold a JSON object", "copy the store again, or prepare it again"
        )
    return value


def canonical(data: JSON) -> bytes:
    """One byte string per JSON value, for digests."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
