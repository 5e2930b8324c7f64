"""The index of a scenario: one CSV whose columns carry other names in every release."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wfm_cli.errors import InputError

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "image": ("unit1_rgb", "unit1_rgb5"),
    "radar": ("unit1_radar", "unit1_radar1"),
    "lidar": ("unit1_lidar", "unit1_lidar1"),
    "power": ("unit1_pwr_60ghz", "unit1_pwr", "unit1_pwr1"),
    "position": ("unit2_loc_cal", "unit2_loc", "unit2_gps", "unit2_gps1"),
    "station": ("unit1_loc", "unit1_gps", "unit1_gps1"),
    "label": ("unit1_beam", "unit1_beam_index", "best_beam", "unit1_overall-beam"),
    "time": ("time_stamp", "time_stamp[UTC]", "timestamp"),
    "sequence": ("seq_index",),
    "id": ("index", "abs_index"),
    "interpolated": ("unit2_interpolated_position",),
}
"""Column names of every quantity, the preferred one first."""
ARRAYS = ("unit1_pwr1", "unit1_pwr2", "unit1_pwr3", "unit1_pwr4")
"""Front, right, back and left array of the vehicle-to-vehicle scenarios; beam = 64 x array + beam of the array."""
REQUIRED = ("power", "position", "station")
_EXPECTED = "a folder with scenario<N>.csv beside unit1/ and unit2/, as DeepSense 6G is unpacked"


@dataclass(frozen=True)
class Row:
    """One frame of an index: file paths relative to the CSV's folder, and texts as they stand there."""

    line: int
    """Line of the CSV, the header being 1."""
    files: Mapping[str, tuple[str, ...]]
    """Paths of `image`, `radar`, `lidar`, `power`, `position`, `station`, as far as the row names them."""
    texts: Mapping[str, str]
    """`label`, `time`, `sequence`, `id`, `interpolated`, as far as there are such columns."""


@dataclass(frozen=True)
class Index:
    """A scenario: its folder and its frames in the order of the file."""

    path: Path
    """The CSV."""
    name: str
    """Short name, such as `32`; sequences are called `32:7`."""
    columns: Mapping[str, tuple[str, ...]]
    """Which columns were taken for what."""
    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    """Columns that nobody reads; an unnamed one counts as ''."""
    partial: bool = False
    """Whether frames without powers or position are meant to be (challenges)."""

    @property
    def folder(self) -> Path:
        """What paths are relative to."""
        return self.path.parent


def find_index(place: str) -> Path:
    """The CSV of a scenario: the file itself, or the best below a folder.

    Names with `scenario<N>` or `challenge` count, `_dev` before others, shorter paths first; `resources` is not looked
    into.

    Raises:
        InputError: there is none.
    """
    path = Path(place)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{place}: does not exist", f"expected {_EXPECTED}")
    found = [
        file
        for file in sorted(path.rglob("*.csv"))
        if "resources" not in file.relative_to(path).parts[:-1]
        and re.search(r"scenario\d+|challenge", file.name, re.IGNORECASE)
    ]
    if not found:
        raise InputError(f"{place}: holds no scenario<N>.csv", f"expected {_EXPECTED}")
    depth = min(len(file.parts) for file in found)
    nearest = [file for file in found if len(file.parts) == depth]
    return min(nearest, key=lambda file: ("_dev" not in file.name, len(file.name), file.name))


def read_index(place: str) -> Index:
    """Read a scenario's CSV.

    Raises:
        InputError: it cannot be read, lacks a column, has none or a short row, or a path climbs out of the folder.
    """
    path = find_index(place)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})", "download the scenario's CSV again") from error
    if lines and lines[0] and lines[0][0].startswith("version https://git-lfs"):
        raise InputError(f"{path}: a Git LFS pointer lies in place of the data", "fetch the real file (git lfs pull)")
    if len(lines) < 2:
        raise InputError(f"{path}: holds no rows", "download the scenario's CSV again")
    header, body = [name.strip() for name in lines[0]], [(n, row) for n, row in enumerate(lines[1:], 2) if any(row)]
    for line, row in body:
        if len(row) != len(header):
            raise InputError(
                f"{path}: line {line} has {len(row)} cells, the header {len(header)}", "download the CSV again"
            )
    if any(re.fullmatch(r"(unit1_rgb|x\d?_unit1_rgb5)_?\d*", name) and name != "unit1_rgb" for name in header):
        from wfm_datasets.deepsense.challenge import challenge_index

        if (made := challenge_index(path, header, body)) is not None:
            return made
    return _plain(path, header, body)


def _plain(path: Path, header: list[str], body: list[tuple[int, list[str]]]) -> Index:
    columns = resolve(path, header)
    rows = []
    for line, cells in body:
        row = dict(zip(header, cells, strict=True))
        texts = {key: row[columns[key][0]].strip() for key in _TEXTS if key in columns}
        files = {key: relative_all(path, line, row, columns[key]) for key in _FILES if key in columns}
        rows.append(Row(line, {key: names for key, names in files.items() if names}, texts))
    used = {column for names in columns.values() for column in names}
    match = re.search(r"scenario(\d+)", path.name, re.IGNORECASE)
    ignored = tuple(name for name in header if name not in used)
    return Index(path, match.group(1) if match else path.stem, columns, tuple(rows), ignored)


_FILES = ("image", "radar", "lidar", "power", "position", "station")
_TEXTS = ("label", "time", "sequence", "id", "interpolated")


def resolve(path: Path, header: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which columns stand for what.

    Raises:
        InputError: a required quantity has no column, or a column that is needed occurs twice.
    """
    columns: dict[str, tuple[str, ...]] = {}
    for key, names in SYNONYMS.items():
        present = [name for name in names if name in header]
        if present:
            columns[key] = (present[0],)
    if all(name in header for name in ARRAYS):
        columns["power"] = ARRAYS
    for key in REQUIRED:
        if key not in columns:
            one_of = ", ".join(SYNONYMS[key])
            raise InputError(f"{path}: no column of {key} (one of {one_of})", f"expected {_EXPECTED}")
    doubled = [name for names in columns.values() for name in names if header.count(name) > 1]
    if doubled:
        raise InputError(f"{path}: column {doubled[0]} occurs twice", "leave one of them out")
    return columns


def relative_all(path: Path, line: int, row: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Paths of a row's cells; none when a cell is empty or NaN."""
    cells = [row[name].strip() for name in names]
    if any(cell.lower() in ("", "nan", "none") for cell in cells):
        return ()
    return tuple(relative(path, line, cell) for cell in cells)


def relative(path: Path, line: int, text: str) -> str:
    """A cell's path below the CSV's folder: a leading `./` or `/` goes.

    Raises:
        InputError: it climbs out of the folder.
    """
    parts = PurePosixPath(text.replace("\\", "/").lstrip("./") if text[:2] != ".." else text).parts
    if not parts or ".." in parts or ":" in parts[0]:
        raise InputError(
            f"{path}: line {line}: path {text!r} leads out of the scenario's folder",
            "correct the CSV: paths lie below it",
        )
    return "/".join(parts)
