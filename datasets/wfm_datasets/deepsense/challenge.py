"""Indices of the 2022 multi-modal and the 2023 vehicle-to-vehicle challenge, whose rows are short sequences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from wfm_cli.errors import InputError
from wfm_datasets.deepsense.index import ARRAYS, Index, Row, relative, relative_all

Body = list[tuple[int, list[str]]]
_STEPS = 5


def challenge_index(path: Path, header: list[str], body: Body) -> Index | None:
    """Rows of five frames as sequences of their own; None when the CSV is no challenge's.

    2022: `unit1_rgb_1..5`, `unit1_radar_1..5`, `unit1_lidar_1..5`, positions of the first two frames, powers and label
    of the last. 2023: `x1..x5_unit1_rgb5` with both positions, powers and label of the frame `y1` behind them.

    Raises:
        InputError: the CSV of a test set, without any power.
    """
    if all(f"unit1_rgb_{k}" in header for k in range(1, _STEPS + 1)):
        make = _row_2022
    elif all(f"x{k}_unit1_rgb5" in header for k in range(1, _STEPS + 1)):
        make = _row_2023
    else:
        return None
    rows: list[Row] = []
    for line, cells in body:
        rows += make(path, line, dict(zip(header, cells, strict=True)))
    columns = {"image": ("unit1_rgb_1..5",) if make is _row_2022 else ("x1..5_unit1_rgb5",)}
    if not any("power" in row.files for row in rows):
        raise InputError(f"{path}: no row has powers (a test set)", "use a development or training CSV")
    return Index(path, "challenge", columns, tuple(rows), partial=True)


def _row_2022(path: Path, line: int, row: Mapping[str, str]) -> list[Row]:
    scenario = re.search(r"scenario(\d+)", row["unit1_rgb_1"])
    name = f"{scenario.group(1) if scenario else 'challenge'}-{row.get('index', line)}"
    made = []
    for step in range(1, _STEPS + 1):
        files = {}
        for key, column in (("image", "rgb"), ("radar", "radar"), ("lidar", "lidar"), ("power", "pwr_60ghz")):
            if f"unit1_{column}_{step}" in row:
                files[key] = relative_all(path, line, row, [f"unit1_{column}_{step}"])
        if step == _STEPS and "power" not in files and "unit1_pwr_60ghz" in row:
            files["power"] = relative_all(path, line, row, ["unit1_pwr_60ghz"])
        files["station"] = relative_all(path, line, row, ["unit1_loc"])
        if step <= 2:
            files["position"] = relative_all(path, line, row, [f"unit2_loc_{step}"])
        texts = {"sequence": name, "id": f"{line * 10 + step}"}
        if step == _STEPS and row.get("unit1_beam", "").strip():
            texts["label"] = row["unit1_beam"].strip()
        made.append(Row(line, {key: value for key, value in files.items() if value}, texts))
    return made


def _row_2023(path: Path, line: int, row: Mapping[str, str]) -> list[Row]:
    name = f"{row.get('scenario', 'challenge')}-{row.get('y1_unique_index', line)}"
    made = []
    for step in range(1, _STEPS + 1):
        files = {
            "image": relative_all(path, line, row, [f"x{step}_unit1_rgb5"]),
            "station": relative_all(path, line, row, [f"x{step}_unit1_gps1"]),
            "position": relative_all(path, line, row, [f"x{step}_unit2_gps1"]),
        }
        texts = {"sequence": name, "id": row[f"x{step}_unique_index"]}
        made.append(Row(line, {key: value for key, value in files.items() if value}, texts))
    last = {}
    if all(row.get(f"y1_{column}", "").strip() for column in ARRAYS):
        last["power"] = tuple(relative(path, line, row[f"y1_{column}"]) for column in ARRAYS)
    texts = {"sequence": name, "id": row["y1_unique_index"]}
    if row.get("y1_unit1_overall-beam", "").strip():
        texts["label"] = row["y1_unit1_overall-beam"].strip()
    return [*made, Row(line, last, texts)] if last else made
