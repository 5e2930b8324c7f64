"""Units become tables: grouping, intervals, the best of a column, published figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import runs
from wfm_cli.core.evaluation.report import collect, report_data
from wfm_cli.core.evaluation.report.model import Budget, Report, TaskTable
from wfm_cli.core.evaluation.report.published import group_published, normal_budget
from wfm_cli.core.evaluation.report.view import view
from wfm_cli.core.evaluation.report.words import leak_sentence
from wfm_cli.core.store.run import Run
from wfm_cli.errors import StoreError


def unit(task: str = "los", label: str = "A", budget: Budget = 10, **more: Any) -> dict[str, Any]:
    metrics = {"macro_f1": {"mean": 80.0, "half_width": 2.0, "direction": "max", "unit": "%", "boot": [78.0, 82.0]}}
    return {
        "kind": "probe", "task": task, "task_version": 1, "task_title": task, "encoder": label, "label": label,
        "role": "encoder", "probe": "logistic", "budget": budget, "n_train": [10], "seeds": [0, 1, 2],
        "primary": "macro_f1", "metrics": metrics, "split": "city", "data_digest": "d", "status": "ok", **more,
    }  # fmt: skip


def scored(mean: float, half: float | None, boot: list[float] | None = None, direction: str = "max") -> dict[str, Any]:
    entry = {"mean": mean, "half_width": half, "direction": direction, "unit": "%", "boot": boot}
    return {"macro_f1": entry}


def run_of(path: Path, *units: dict[str, Any], recipe: dict[str, Any] | None = None) -> Run:
    run = Run.create(path, "benchmark", recipe or {})
    for number, attrs in enumerate(units):
        run.write_unit(f"u{number:03d}", attrs, {})
    return run


def report_of(run: Run) -> Report:
    return collect(run, published=lambda _: (), findings=lambda _: ())


def only_table(run: Run) -> TaskTable:
    tables = report_of(run).tables
    assert len(tables) == 1
    return tables[0]


def test_rows_are_grouped_by_role_and_budgets_are_in_order(tmp_path: Path) -> None:
    report = collect(runs.benchmark_run(tmp_path / "r"), runs.published, runs.findings)
    assert [table.task for table in report.tables] == ["los", "beam_16"]  # the recipe's order, not the keys'
    table = report.tables[0]
    assert table.budgets == (10, 50, 200, "all")
    assert [row.role for row in table.rows] == ["encoder"] * 2 + ["control"] + ["baseline"] * 3 + ["reference"]
    assert [table.column(budget) for budget in table.budgets] == ["10 labels", "50 labels", "200 labels", "all (1,180)"]
    assert report.failures == ()
    assert report.units == report.planned == 56


def test_the_best_is_marked_and_only_overlapping_intervals_tie(tmp_path: Path) -> None:
    table = only_table(
        run_of(
            tmp_path / "r",
            unit(label="best", metrics=scored(90, 2)),
            unit(label="near", metrics=scored(87, 1.5)),
            unit(label="far", metrics=scored(80, 1)),
            unit(label="unknown", metrics=scored(89, None)),
        )
    )
    marks = {row.label: (row.cells[10].best, row.cells[10].tied) for row in table.rows}
    assert marks == {
        "best": (True, False), "near": (False, True), "far": (False, False), "unknown": (False, False),
    }  # fmt: skip


def test_a_metric_to_be_minimised_prefers_the_smallest(tmp_path: Path) -> None:
    table = only_table(
        run_of(
            tmp_path / "r",
            unit(label="2 m", metrics=scored(2, 0.1, direction="min")),
            unit(label="9 m", metrics=scored(9, 0.1, direction="min")),
        )
    )
    assert [row.label for row in table.rows if row.cells[10].best] == ["2 m"]


def test_equal_seeds_fall_back_to_the_bootstrap_and_a_lone_seed_says_so(tmp_path: Path) -> None:
    table = only_table(
        run_of(
            tmp_path / "r",
            unit(label="equal", metrics=scored(80, 0.0, [77, 83])),
            unit(label="lone", metrics=scored(70, None), seeds=[0]),
            unit(label="tiny", metrics=scored(60, 0.004)),
        )
    )
    texts = [row[2].plain() for section in view(table).sections for row in section.rows]
    assert texts == ["80.0 [77.0, 83.0]", "70.0 (n=1)", "60.0 ±<0.1"]


def test_failed_units_join_the_table_of_their_task(tmp_path: Path) -> None:
    failed = {"kind": "probe", "task": "los", "label": "B", "budget": 10, "status": "failed", "error": "boom"}
    run = run_of(tmp_path / "r", unit(), failed)
    table = only_table(run)
    assert {row.label: row.cells[10].error for row in table.rows} == {"A": "", "B": "boom"}
    assert report_of(run).failures == (("u001", "boom"),)


def test_a_run_of_failures_alone_still_reports(tmp_path: Path) -> None:
    failed = {"kind": "probe", "task": "los", "status": "failed", "error": "boom"}
    table = only_table(run_of(tmp_path / "r", failed))
    assert table.rows[0].cells["all"].error == "boom"


def test_splits_and_data_sets_are_never_mixed_in_one_table(tmp_path: Path) -> None:
    report = report_of(run_of(tmp_path / "r", unit(), unit(split="random"), unit(data_digest="other")))
    assert len(report.tables) == 3


def test_probes_of_one_encoder_are_rows_of_their_own(tmp_path: Path) -> None:
    table = only_table(run_of(tmp_path / "r", unit(), unit(probe="knn")))
    labels = [row[0].value for section in view(table).sections for row in section.rows]
    assert labels == ["A (logistic)", "A (knn)"]


def test_units_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    run = run_of(tmp_path / "r", {"kind": "validation"}, unit())
    assert report_of(run).units == 1


def test_an_unfinished_run_counts_what_is_planned(tmp_path: Path) -> None:
    run = run_of(tmp_path / "r", unit())
    run.set_attrs(manifest=["u000", "u001", "u002"])
    report = report_of(run)
    assert (report.units, report.planned, report.status) == (1, 3, "running")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(10, 10), ("10", 10), (10.0, 10), (0.1, "10 %"), (1.0, "all"), ("100%", "all"), ("25%", "25 %"), ("all", "all")],
)
def test_budgets_have_one_spelling(given: object, expected: Budget) -> None:
    assert normal_budget(given) == expected


def test_published_figures_share_a_footnote_when_they_share_a_protocol() -> None:
    base = {"metric": "pca", "unit": "%", "source": "paper"}
    entries = [
        {**base, "system": "A", "protocol": "p", "budget": "all", "value": 90},
        {**base, "system": "A", "protocol": "p", "budget": 0.1, "value": 70},
        {**base, "system": "B", "protocol": "p", "budget": "all", "value": 91},
        {**base, "system": "B", "protocol": "q", "budget": "all", "value": 92},
    ]
    found = group_published(entries)
    assert [(p.system, p.mark, p.values) for p in found] == [
        ("A", "a", {"10 %": 70.0, "all": 90.0}), ("B", "a", {"all": 91.0}), ("B", "b", {"all": 92.0}),
    ]  # fmt: skip


def test_published_figures_stand_in_the_column_of_their_budget_or_in_a_note(tmp_path: Path) -> None:
    layout = view(collect(runs.benchmark_run(tmp_path / "r"), runs.published, runs.findings).tables[0])
    line = layout.sections[-1].rows[0]
    assert [text.plain() for text in line] == ["WavesFM v1.0, linear probing [b]", "", "–", "–", "–", "95.0"]
    assert any("87 % with 13 labels [a]" in note for note in layout.notes)
    assert dict(layout.footnotes)["b"].startswith("Mean per-class accuracy, six cities, test used as validation")


def test_the_leak_is_a_sentence_and_missing_measures_are_silent() -> None:
    assert leak_sentence({"share": 0.5, "below_m": 5, "median_m": 5.08}) == (
        "50.0 % of the test users stand nearer than 5 m to a training user (median 5.1 m)"
    )
    assert "none in their place" in leak_sentence({"share": 0.0, "below_m": 5, "median_m": None})
    assert leak_sentence({}) == ""
    assert leak_sentence({"share": 0.25, "group": "time_block"}) == (
        "25.0 % of the test samples are of a time block seen in training"
    )


def test_published_figures_of_wfm_itself_are_found_by_default(tmp_path: Path) -> None:
    report = collect(runs.benchmark_run(tmp_path / "r", budgets=(10, "all")))
    assert report.tables[0].published
    assert report.findings


def test_report_data_is_json_and_repeats_the_means(tmp_path: Path) -> None:
    run = runs.benchmark_run(tmp_path / "r", failed=True)
    data = json.loads(json.dumps(report_data(run.path, runs.published, runs.findings), allow_nan=False))
    attrs = run.unit("los.00.10").attrs
    cells = data["tables"][0]["rows"][0]["cells"]
    assert cells["10"]["mean"] == attrs["metrics"]["macro_f1"]["mean"]
    assert set(cells) == {"10", "50", "200", "all"}
    with pytest.raises(StoreError, match="not a run"):
        report_data(tmp_path)
