"""Differences between encoders and what needs no pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wfm_cli.core.evaluation.report import collect
from wfm_cli.core.evaluation.report.model import TaskTable
from wfm_cli.core.evaluation.report.view import view
from wfm_cli.core.store.run import Run

TRUTH = np.tile([0, 1], 200)


def right(share: float, rng: np.random.Generator, seeds: int = 1) -> np.ndarray:
    """Guesses that are right for so many of the samples."""
    return np.where(rng.random((seeds, TRUTH.size)) < share, TRUTH, 1 - TRUTH)


def table_of(
    path: Path, rows: dict[str, tuple[str, np.ndarray]], truth: dict[str, np.ndarray] | None = None
) -> TaskTable:
    run = Run.create(path, "benchmark", {})
    for number, (label, (role, guesses)) in enumerate(rows.items()):
        mine = (truth or {}).get(label, TRUTH)
        top1 = 100 * float((guesses == mine).mean())
        attrs: dict[str, Any] = {
            "kind": "probe", "task": "t", "label": label, "role": role, "probe": "logistic", "budget": "all",
            "primary": "top1", "metrics": {"top1": {"mean": top1, "half_width": None, "direction": "max", "unit": "%"}},
            "seeds": list(range(len(guesses))), "n_train": [100],
        }  # fmt: skip
        run.write_unit(f"u{number}", attrs, {"predictions": guesses, "labels": mine})
    return collect(run, published=lambda _: (), findings=lambda _: ()).tables[0]


def test_a_clear_difference_is_found_against_the_best_other_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = right(0.7, rng)
    better = base.copy()
    better[0, np.flatnonzero(base[0] != TRUTH)[:40]] = TRUTH[np.flatnonzero(base[0] != TRUTH)[:40]]
    rows = {"E": ("encoder", better), "weak": ("baseline", right(0.55, rng)), "strong": ("control", base)}
    table = table_of(tmp_path / "r", rows)
    delta = table.deltas["E (logistic)"]["all"]
    assert delta.against == "strong"
    assert delta.mean == pytest.approx(10.0)
    assert 0 < delta.lo < 10 < delta.hi
    assert delta.p < 0.01
    section = next(s for s in view(table).sections if s.title.startswith("Gain over"))
    assert section.rows[0][2].plain().startswith("+10.0 [")
    assert section.rows[0][2].plain().endswith("*")


def test_no_difference_gets_no_star(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = table_of(tmp_path / "r", {"E": ("encoder", right(0.7, rng)), "B": ("baseline", right(0.7, rng))})
    delta = table.deltas["E (logistic)"]["all"]
    assert delta.lo < 0 < delta.hi
    assert delta.p > 0.05


def test_luck_of_the_label_draw_counts(tmp_path: Path) -> None:
    # Two of four draws are far better, two far worse: certain over test users, open over draws.
    guesses = np.stack([TRUTH, TRUTH, 1 - TRUTH, TRUTH])
    base = np.stack([right(0.6, np.random.default_rng(seed))[0] for seed in range(4)])
    delta = table_of(tmp_path / "r", {"E": ("encoder", guesses), "B": ("baseline", base)}).deltas["E (logistic)"]["all"]
    assert delta.mean == pytest.approx(15, abs=3)
    assert delta.lo < 0


def test_p_values_are_corrected_over_the_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = right(0.7, rng)
    gain = np.flatnonzero(base[0] != TRUTH)
    lone = base.copy()
    lone[0, gain[:8]] = TRUTH[gain[:8]]
    alone = table_of(tmp_path / "a", {"E": ("encoder", lone), "B": ("baseline", base)})
    many = {f"E{i}": ("encoder", right(0.7, np.random.default_rng(i))) for i in range(10, 18)}
    among = table_of(tmp_path / "b", {"E": ("encoder", lone), **many, "B": ("baseline", base)})
    raw = alone.deltas["E (logistic)"]["all"].p
    assert among.deltas["E (logistic)"]["all"].p == pytest.approx(min(1.0, 9 * raw))


def test_other_test_samples_or_lost_predictions_give_no_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"E": ("encoder", right(0.7, rng)), "B": ("baseline", right(0.6, rng))}
    assert table_of(tmp_path / "a", rows, {"B": np.roll(TRUTH, 1)}).deltas == {}
    assert table_of(tmp_path / "b", {"E": rows["E"]}).deltas == {}
