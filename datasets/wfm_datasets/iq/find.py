"""Walks files, folders and globs; asks every format; accounts for every file."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from wfm_cli.errors import InputError
from wfm_datasets.iq import labels
from wfm_datasets.iq.containers import foreign, is_text, pointer
from wfm_datasets.iq.formats import FORMATS
from wfm_datasets.iq.recording import Recording
from wfm_datasets.iq.scan import COMPANION, Outcome, ReadOptions, Scan
from wfm_datasets.wavesfm.files import natural

HEAD_BYTES = 8192
_DATA = frozenset((".npy", ".npz", ".wav", ".rf64", ".mat", ".h5", ".hdf5", ".pkl", ".pickle"))
"""Suffixes of files that hold data, whatever their first bytes have become."""
_ZARR = frozenset(("zarr.json", ".zgroup", ".zarray"))
_DOCUMENTS = frozenset((
    ".md", ".txt", ".rst", ".json", ".csv", ".tsv", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".xml", ".html",
    ".htm", ".log", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".bmp", ".tif", ".tiff", ".pdf", ".ps", ".doc",
    ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".py", ".pyc", ".ipynb", ".m", ".r", ".c", ".h", ".cpp", ".hpp",
    ".rs", ".js", ".sh", ".bat", ".cff", ".bib", ".tex", ".lock", ".sha256", ".md5", ".sha512", ".asc", ".grc",
    ".license", ".pt", ".pth", ".safetensors", ".partial",
))  # fmt: skip
_DOCUMENT_NAMES = frozenset((
    "readme", "license", "licence", "copying", "makefile", "changelog", "authors", "notice", "dockerfile",
))  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A file below one of the inputs."""

    path: Path
    label: str
    """The user's own path to it."""
    inner: str
    """Path below the input; the file's name if the input is the file."""
    named: bool
    """The input is the file itself."""


def find_recordings(inputs: Sequence[str], options: ReadOptions) -> Scan:
    """See `scan.scan`.

    Raises:
        InputError: an input does not exist, there is no file at all, or the rule for labels cannot be used.
    """
    outcomes: list[Outcome] = []
    files: list[Found] = []
    seen: dict[tuple[int, int], str] = {}
    for text in inputs:
        for file in _below(text, outcomes):
            try:
                status = file.path.stat()
            except OSError as error:
                outcomes.append(Outcome(file.label, "failed", f"cannot be read ({error.strerror})"))
                continue
            identity = (status.st_dev, status.st_ino)
            if identity not in seen:
                seen[identity] = file.label
                files.append(file)
            elif seen[identity] != file.label:
                reason = f"the same file as {seen[identity]}"
                outcomes.append(Outcome(file.label, "skipped", reason, (), status.st_size))
    if not files and not outcomes:
        raise InputError(f"{', '.join(inputs) or 'no input'}: no file there", "name files or folders of I/Q recordings")
    companions = {file: None for file in files if _is_companion(file.path)}
    read: list[tuple[Found, Recording]] = []
    for file in files:
        if file not in companions:
            outcomes.append(_account(file, options, read))
    covered = {recording.path.absolute() for _, recording in read}
    for file in companions:
        # A companion that the user names alone stands for its pair.
        if file.named and file.path.absolute() not in covered and not _pair_listed(file, files):
            outcomes.append(_account(file, options, read))
        else:
            size = file.path.stat().st_size
            outcomes.append(Outcome(file.label, "skipped", COMPANION, (), size))
    return _finish(read, outcomes, options, len(inputs))


def _finish(read: list[tuple[Found, Recording]], outcomes: list[Outcome], options: ReadOptions, inputs: int) -> Scan:
    names = _unique([(file, recording.name) for file, recording in read])
    renamed = [(file, replace(recording, name=name)) for (file, recording), name in zip(read, names, strict=True)]
    recordings = labels.apply(
        [(_overridden(recording, options), file.path, file.inner, inputs > 1) for file, recording in renamed],
        options.label,
    )
    of_file: dict[str, list[Recording]] = {}
    for (file, _), recording in zip(renamed, recordings, strict=True):
        of_file.setdefault(file.label, []).append(recording)
    told = [
        replace(
            outcome,
            recordings=tuple(r.name for r in of_file.get(outcome.path, ())),
            dropped_bytes=sum(r.dropped_bytes for r in of_file.get(outcome.path, ())),
        )
        for outcome in outcomes
    ]
    return Scan(
        tuple(sorted(recordings, key=lambda recording: natural(recording.name))),
        tuple(sorted(told, key=lambda outcome: natural(outcome.path))),
    )


def _account(file: Found, options: ReadOptions, read: list[tuple[Found, Recording]]) -> Outcome:
    """Read one file; its recordings go to `read`."""
    size = file.path.stat().st_size
    try:
        with file.path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        module = _format(file, head, options)
        if isinstance(module, str):
            return Outcome(file.label, "skipped", module, (), size)
        if size == 0:
            raise InputError("empty")
        if where := pointer(head):
            raise InputError(where)
        made: list[Recording] = module.recordings(file.path, options)
    except InputError as error:
        message = error.message.removeprefix(f"{file.path}: ")
        return Outcome(file.label, "failed", f"{message}; {error.hint}" if error.hint else message, (), size)
    except OSError as error:
        return Outcome(file.label, "failed", f"cannot be read ({error.strerror or error})", (), size)
    except MemoryError:
        return Outcome(file.label, "failed", "asks for more memory than there is: probably damaged", (), size)
    read.extend((file, recording) for recording in made)
    return Outcome(file.label, "used", "", (), size)


def _format(file: Found, head: bytes, options: ReadOptions) -> ModuleType | str:
    """The module that reads a file, or why it is skipped."""
    for name in FORMATS:
        if _module(name).recognise(file.path, head):
            return _module(name)
    suffix = file.path.suffix.lower()
    if suffix in _DOCUMENTS or file.path.stem.lower() in _DOCUMENT_NAMES:
        return f"no recording ({suffix or file.path.name})"
    if what := foreign(head):
        return f"no recording ({what})"
    if pointer(head) or (not head and suffix in _DATA):
        return _module("raw")
    if suffix in _DATA:
        raise InputError(f"is no {suffix} file by its first bytes", "copy or download it again, or leave it out")
    if is_text(head):
        return "no recording (text)"
    if file.named or options.dtype is not None:
        return _module("raw")
    return "unknown kind of file; name it itself, or its sample type with --dtype, if it holds raw samples"


@cache
def _module(name: str) -> ModuleType:
    return import_module(f"wfm_datasets.iq.formats.{name}")


def _is_companion(path: Path) -> bool:
    return any(getattr(_module(name), "belongs", lambda _: False)(path) for name in FORMATS)


def _pair_listed(file: Found, files: Sequence[Found]) -> bool:
    """Whether the main file of a pair (the same name with another suffix) is listed as well."""
    return any(
        other.path != file.path and other.path.parent == file.path.parent and other.path.stem == file.path.stem
        for other in files
    )


def _below(text: str, outcomes: list[Outcome]) -> Iterator[Found]:
    """Files of one input in natural order; hidden ones go to the outcomes."""
    path = Path(text)
    if path.is_dir():
        yield from _walk(path, text.rstrip("/") or "/", outcomes)
    elif path.is_file():
        yield Found(path, text, path.name, True)
    elif path.exists():  # reading a pipe would wait for ever
        raise InputError(f"{text}: is no regular file", "copy its content into a file")
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True), key=natural)
        if not matches:
            raise InputError(f"{text}: matches no file", "quote the pattern and check it")
        for match in matches:
            if Path(match).is_dir() and "**" in text:
                continue  # its files match as well
            yield from (replace(file, named=False) for file in _below(match, outcomes))
    else:
        raise InputError(f"{text}: does not exist", "name files or folders of I/Q recordings")


def _walk(root: Path, label: str, outcomes: list[Outcome]) -> Iterator[Found]:
    entered = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in entered:  # a link back into what has been read
            folders.clear()
            continue
        entered.add(here)
        inner = os.path.relpath(folder, root)
        if _ZARR.intersection(names):
            place = label if inner == "." else f"{label}/{inner}"
            outcomes.append(Outcome(f"{place}/", "skipped", "a Zarr store, not read as I/Q"))
            folders.clear()
            continue
        prefix = "" if inner == "." else f"{inner}/"
        for name in sorted(name for name in folders if name.startswith(".")):
            outcomes.append(Outcome(f"{label}/{prefix}{name}/", "skipped", "hidden folder"))
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        for name in sorted(names, key=natural):
            if name.startswith("."):
                outcomes.append(Outcome(f"{label}/{prefix}{name}", "skipped", "hidden file"))
            elif Path(folder, name).is_file():
                yield Found(Path(folder, name), f"{label}/{prefix}{name}", f"{prefix}{name}", False)
            else:
                outcomes.append(Outcome(f"{label}/{prefix}{name}", "skipped", "no regular file, or a broken link"))


def _overridden(recording: Recording, options: ReadOptions) -> Recording:
    """Rate and frequency that the user gives win over the file's."""
    origin = dict(recording.origin)
    changed = recording
    if options.rate is not None:
        changed, origin["sample_rate"] = replace(changed, sample_rate=options.rate), "--rate"
    if options.freq is not None:
        changed, origin["center_frequency"] = replace(changed, center_frequency=options.freq), "--freq"
    return replace(changed, origin=origin)


def _unique(read: Sequence[tuple[Found, str]]) -> list[str]:
    """Names below the input; where two would be equal with suffix, then with the input, then numbered."""
    names = [_inside(file.inner, name) for file, name in read]
    for field in ("inner", "label"):
        count = Counter(names)
        names = [
            name
            if count[name] == 1
            else _inside(getattr(file, field), file.path.name + own[len(own.partition("#")[0]) :])
            for name, (file, own) in zip(names, read, strict=True)
        ]
    count, met = Counter(names), Counter[str]()
    for at, name in enumerate(names):
        if count[name] > 1:
            met[name] += 1
            names[at] = f"{name} ({met[name]})"
    return names


def _inside(inner: str, name: str) -> str:
    folder = inner.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name
