"""Sentences about rows that need no pretraining and are ahead of encoders."""

from __future__ import annotations

from typing import Any

from wfm_cli.core.evaluation.findings import findings


def unit(
    label: str, role: str, mean: float, half: float | None = 1.0, *, budget: int | str = 10, metric: str = "macro_f1"
) -> dict[str, Any]:
    entry = {"mean": mean, "half_width": half, "boot": [mean - 2, mean + 2]}
    return {
        "task": "los", "task_title": "LoS/NLoS", "split": "city", "label": label, "role": role, "budget": budget,
        "primary": metric, "metrics": {metric: entry}, "status": "ok",
    }  # fmt: skip


def test_a_baseline_ahead_of_every_encoder() -> None:
    (line,) = findings(
        [
            unit("CLS", "encoder", 74.9, 5.4),
            unit("mean", "encoder", 84.6, 3.0),
            unit("log power", "baseline", 92.3, 0.6),
            unit("raw", "baseline", 41.8),
            unit("untrained", "control", 85.0),
        ]
    )
    assert line == (
        "LoS/NLoS, 10 labels: log power (no training) is ahead of every encoder (the best is mean): "
        "macro F1 92.3 ± 0.6 % against 84.6 ± 3.0 %; so is untrained."
    )


def test_a_baseline_ahead_of_one_encoder_alone() -> None:
    (line,) = findings(
        [unit("CLS", "encoder", 70), unit("mean", "encoder", 95), unit("untrained", "control", 71, None)]
    )
    assert line == (
        "LoS/NLoS, 10 labels: untrained (untrained weights) is ahead of CLS: macro F1 71.0 % against 70.0 ± 1.0 %, "
        "but their intervals overlap."
    )


def test_many_encoders_share_a_sentence() -> None:
    rows = [unit(f"row {mean}", "encoder", mean, None) for mean in (60, 65, 70, 95)]
    (line,) = findings([*rows, unit("raw", "baseline", 71, None)])
    assert line == (
        "LoS/NLoS, 10 labels: raw (no training) is ahead of 3 of 4 rows with an encoder (the best of them is row 70): "
        "macro F1 71.0 % against 70.0 %, but their intervals overlap."
    )


def test_less_is_better_for_distances() -> None:
    rows = [unit("CLS", "encoder", 9.0, metric="mean_distance"), unit("mean", "reference", 5.0, metric="mean_distance")]
    (line,) = findings(rows)
    assert "mean (no input at all) is ahead of every encoder" in line
    assert "5.00 ± 1.00 m against 9.00 ± 1.00 m" in line


def test_nothing_to_say() -> None:
    assert findings([]) == []
    assert findings([unit("CLS", "encoder", 90), unit("raw", "baseline", 50)]) == []
    assert findings([unit("raw", "baseline", 50)]) == []
    failed = {"task": "los", "role": "baseline", "label": "log power", "budget": 10, "status": "failed"}
    assert findings([unit("CLS", "encoder", 90), failed]) == []


def test_budgets_are_told_from_few_to_all() -> None:
    rows = []
    for budget in ("all", 1180, 10, 200):
        rows += [unit("CLS", "encoder", 50, budget=budget), unit("power", "baseline", 60, budget=budget)]
    assert [line.split(": ")[0].split(", ", 1)[1] for line in findings(rows)] == [
        "10 labels",
        "200 labels",
        "1,180 labels",
        "all labels",
    ]


def test_rows_of_several_probes_are_told_apart() -> None:
    rows = [
        {**unit("CLS", "encoder", 70), "probe": "logistic"},
        {**unit("CLS", "encoder", 75), "probe": "lora r8 a16"},
        {**unit("CLS", "encoder", 95), "probe": "full"},
        {**unit("untrained", "control", 90), "probe": "scratch"},
        {**unit("majority", "reference", 30), "probe": "majority"},
    ]
    (line,) = findings(rows)
    assert line == (
        "LoS/NLoS, 10 labels: untrained, scratch (labels alone) is ahead of 2 of 3 rows with an encoder (the best of "
        "them is CLS, lora r8 a16): macro F1 90.0 ± 1.0 % against 75.0 ± 1.0 %."
    )
