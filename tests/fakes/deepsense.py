"""Tiny DeepSense folders in the true layouts, made by the simulated street; the challenges' CSVs over such folders."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfm_cli.core.recipe.deepsense import DeepSenseSource
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.recipe.street import StreetRecipe
from wfm_cli.core.store import Store, open_store
from wfm_cli.core.store.parts import run
from wfm_datasets.street.folder import build
from wfm_datasets.street.layouts import index_name

SMALL: dict[str, Any] = {"frames": (14, 16), "image": (96, 54), "lidar_columns": 64}


def make_street(out: Path, scenarios: Sequence[str] = ("31",), sequences: int = 4, **settings: Any) -> Path:
    """A folder with the scenarios of a small street."""
    recipe = StreetRecipe(name="street", scenarios=tuple(scenarios), sequences=sequences, **{**SMALL, **settings})
    build(recipe, out, progress=False)
    return out


def index_of(out: Path, scenario: str) -> Path:
    """A scenario's CSV."""
    return out / f"scenario{scenario}" / index_name(scenario)


def source(out: Path, scenarios: Sequence[str] = ("31",), **settings: Any) -> DeepSenseSource:
    """The source block of a street's scenarios, with small images and windows."""
    small = {"image_size": 16, "history": 4, "horizon": 2, **settings}
    return DeepSenseSource(scenarios=tuple(str(out / f"scenario{name}") for name in scenarios), **small)


def make_sequences(folder: Path, scenarios: Sequence[str] = ("31",), sequences: int = 4, **settings: Any) -> Store:
    """A finished store of sequences, made as users make it."""
    out = make_street(folder / "street", scenarios, sequences)
    recipe = PrepareRecipe(name="sequences", source=source(out, scenarios, **settings))
    run(recipe, folder / "sequences.zarr", progress=False)
    return open_store(folder / "sequences.zarr")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Rows as a CSV, the columns those of the first."""
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def challenge_2022(out: Path, scenario: str = "32", labels: bool = True) -> Path:
    """`ml_challenge_dev_multi_modal.csv` beside the scenario's folder: five frames a row, two positions, one label."""
    rows = read_rows(index_of(out, scenario))
    made = []
    for start in range(0, len(rows) - 4, 5):
        five = rows[start : start + 5]
        row = {"index": str(start)}
        for column in ("rgb", "radar", "lidar"):
            for k, frame in enumerate(five, 1):
                row[f"unit1_{column}_{k}"] = f"./scenario{scenario}/{frame[f'unit1_{column}'][2:]}"
        row["unit1_loc"] = f"./scenario{scenario}/{five[0]['unit1_loc'][2:]}"
        for k in (1, 2):
            row[f"unit2_loc_{k}"] = f"./scenario{scenario}/{five[k - 1]['unit2_loc'][2:]}"
        if labels:
            row["unit1_pwr_60ghz_5"] = f"./scenario{scenario}/{five[4]['unit1_pwr_60ghz'][2:]}"
            row["unit1_beam"] = five[4]["unit1_beam"]
        made.append(row)
    path = out / "ml_challenge_dev_multi_modal.csv"
    write_rows(path, made)
    return path


def challenge_2023(out: Path) -> Path:
    """`deepsense_challenge2023_trainset.csv` beside scenario 36: five frames and the powers of the one behind them."""
    rows = read_rows(index_of(out, "36"))
    made = []
    for start in range(0, len(rows) - 5, 6):
        six = rows[start : start + 6]
        row = {"scenario": "36"}
        for k, frame in enumerate(six[:5], 1):
            row[f"x{k}_unique_index"] = frame["abs_index"]
            for column in ("unit1_gps1", "unit2_gps1", "unit1_rgb5"):
                row[f"x{k}_{column}"] = f"./scenario36/{frame[column][2:]}"
        row["y1_unique_index"] = six[5]["abs_index"]
        for n in range(1, 5):
            row[f"y1_unit1_pwr{n}"] = f"./scenario36/{six[5][f'unit1_pwr{n}'][2:]}"
        row["y1_unit1_overall-beam"] = six[5]["unit1_overall-beam"]
        made.append(row)
    path = out / "deepsense_challenge2023_trainset.csv"
    write_rows(path, made)
    return path
