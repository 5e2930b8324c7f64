"""Small runs in the true on-disk layout, with made results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wfm_cli.core.evaluation.metrics import METRICS, ClassPredictions
from wfm_cli.core.evaluation.resampling import bootstrap
from wfm_cli.core.evaluation.statistics import t_interval
from wfm_cli.core.store.run import Run

LEAK = {"share": 0.342, "below_m": 5.0, "median_m": 6.4}
DATA_DIGEST = "5f1d" * 16
RECIPE = {
    "schema_version": 1,
    "name": "lwm",
    "description": "LWM beside what needs no pretraining: LoS and beams over label budgets.",
    "step": "benchmark",
    "data": "canyon.zarr",
    "tasks": ["los", "beam_16"],
}
ROWS = (
    ("lwm_canyon.zarr@cls", "LWM, ours (CLS)", "encoder", "logistic", 64, 0.55),
    ("lwm_canyon.zarr@mean", "LWM, ours (mean)", "encoder", "logistic", 64, 0.62),
    ("random:lwm", "LWM, random weights", "control", "logistic", 64, 0.40),
    ("baseline:raw", "raw channel", "baseline", "logistic", 2048, 0.20),
    ("baseline:log_power", "log power", "baseline", "logistic", 1, 0.66),
    ("baseline:dft_64", "DFT profile, 64 bins", "baseline", "logistic", 64, 0.48),
    ("baseline:majority", "majority class", "reference", "majority", None, 0.0),
)
PUBLISHED = {
    "los": [
        {"system": "LWM v1.0 (CLS)", "protocol": "six cities, random split, 13 labels", "metric": "weighted_f1",
         "budget": 13, "value": 87.0, "unit": "%", "source": "arXiv 2411.08872v1"},
        {"system": "WavesFM v1.0, linear probing", "protocol": "six cities, test used as validation", "metric": "pca",
         "budget": "all", "value": 95.02, "unit": "%", "source": "waveslab.ai"},
    ],
    "beam_16": [
        {"system": "LWM v1.0", "protocol": "six cities, residual CNN head", "metric": "macro_f1",
         "budget": "all", "value": 87.0, "unit": "%", "source": "arXiv 2411.08872v1, Fig. 3"},
    ],
}  # fmt: skip


def published(task: str) -> Sequence[Mapping[str, Any]]:
    """Figures of the literature for the made tasks."""
    return PUBLISHED.get(task, ())


def findings(units: Sequence[Mapping[str, Any]]) -> list[str]:
    """Two sentences, one of them with characters that markup must survive."""
    return ["log power is ahead of the CLS embedding at 10 labels.", f"{len(units)} units; 3 < 5 & 50 % of *all*_x."]


def class_unit(
    task: str, row: tuple[Any, ...], budget: int | str, seeds: int, *, samples: int = 300, classes: int = 2
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attributes and arrays of one classification unit whose accuracy grows with the budget."""
    encoder, label, role, probe, dim, skill = row
    count = 1180 if budget == "all" else int(budget)
    rng = np.random.default_rng([classes, count, len(label)])
    truth = np.random.default_rng(classes).integers(0, classes, samples)
    right = rng.random((seeds, samples)) < skill + 0.07 * np.log10(count) + 0.02 * rng.standard_normal((seeds, 1))
    guesses = np.where(right, truth, rng.integers(0, classes, (seeds, samples)))
    if probe == "majority":
        guesses = np.zeros_like(guesses)
    elif budget == "all":
        guesses[:] = guesses[0]  # all labels and a convex probe: seeds agree
    predictions = ClassPredictions(truth, guesses, None, classes)
    scores = {name: values[0] for name, values in predictions.scores().items()}
    intervals = bootstrap(predictions, 50)
    metrics = {}
    for name, values in scores.items():
        mean, half = t_interval(values)
        metric = METRICS[name]
        metrics[name] = {
            "mean": mean,
            "half_width": None if np.isnan(half) else half,
            "direction": metric.direction,
            "unit": metric.unit,
            "boot": list(intervals[name]),
        }
    attrs = {
        "kind": "probe", "benchmark": "lwm", "task": task, "task_version": 1,
        "task_title": {"los": "LoS/NLoS", "beam_16": "16 beams"}.get(task, task),
        "encoder": encoder, "label": label, "role": role, "pooling": encoder.partition("@")[2],
        "encoder_digest": "ab" * 32, "dim": dim, "probe": probe, "budget": budget, "n_train": [count] * seeds,
        "n_val": 100, "n_test": samples, "classes": [f"c{i}" for i in range(classes)], "seeds": list(range(seeds)),
        "primary": "macro_f1", "metrics": metrics, "split": "spatial", "split_leak": LEAK, "data_digest": DATA_DIGEST,
        "chosen_l2": [0.1] * seeds, "seconds": 1.25, "status": "ok", "error": None,
    }  # fmt: skip
    return attrs, {"metrics/macro_f1": scores["macro_f1"], "predictions": guesses, "labels": truth}


def benchmark_run(
    path: Path, *, budgets: Sequence[int | str] = (10, 50, 200, "all"), seeds: int = 5, failed: bool = False
) -> Run:
    """A finished benchmark of two tasks; with `failed`, one unit more that ended in an error."""
    run = Run.create(path, "benchmark", RECIPE)
    for task, classes in (("los", 2), ("beam_16", 16)):
        for index, row in enumerate(ROWS):
            for budget in budgets:
                attrs, arrays = class_unit(task, row, budget, seeds, classes=classes)
                run.write_unit(f"{task}.{index:02d}.{budget}", attrs, arrays)
    if failed:
        attrs = {key: attrs[key] for key in ("kind", "task", "task_version", "encoder", "role", "probe", "primary")}
        lost = {"label": "broken encoder", "budget": 10, "status": "failed", "error": "out of memory_&%"}
        run.write_unit("beam_16.99.10", {**attrs, **lost}, {})
    run.set_attrs(status="complete", complete=True)
    return run


def pretrain_run(path: Path, *, steps: int = 400, ahead: bool = True, summary: bool = False) -> Run:
    """A pretraining run with curves; `ahead` says whether it beats rank 2, `summary` adds what the last step leaves."""
    recipe = {
        "name": "lwm_v1.0", "step": "pretrain", "data": {"store": "/data/canyon.zarr"},
        "objective": {"kind": "masked_modelling"}, "model": {"kind": "lwm", "wiring": "v1.0"},
    }  # fmt: skip
    model = {"kind": "lwm", "wiring": "v1.0", "layers": 12, "width": 64}
    run = Run.create(path, "pretrain", recipe, {"model": model, "parameters": 603712, "best_step": steps})
    rng = np.random.default_rng(0)
    curves = run.curves
    for step in range(10, steps + 1, 10):
        fall = np.exp(-step / 120)
        row = {
            "step": step, "epoch": step // 50, "loss": 0.06 + fall + 0.02 * rng.random(), "grad_norm": 0.4 + fall,
            "lr": 1e-3 * min(1, step / 40) * (1 - step / (steps + 1)), "samples_per_s": 900 + 20 * rng.random(),
            "refused_steps": 0,
        }  # fmt: skip
        if step % 40 == 0:
            middle = (-8 if ahead else -3) - 6 * (1 - fall)
            row |= {
                "val_loss": 0.08 + fall, "rankme": 20 + 10 * (1 - fall), "rankme_rows": 512, "feature_std": 0.5,
                "val_nmse_db_median": middle, "val_nmse_db_p10": middle - 4, "val_nmse_db_p90": middle + 5,
            }  # fmt: skip
            for rank, level in ((1, -7.5), (2, -11.0)):
                quantiles = {"median": level, "p10": level - 5, "p90": level + 4}
                row |= {f"val_nmse_rank{rank}_db_{name}": value for name, value in quantiles.items()}
        curves.append(row)
    curves.flush()
    if summary:
        _finish(run, steps, rng)
    run.set_attrs(status="complete", complete=True)
    return run


def _finish(run: Run, steps: int, rng: np.random.Generator) -> None:
    """Errors by sample and the summary, as the end of a training leaves them."""
    levels = {"nmse": -14.0, "nmse_rank1": -7.0, "nmse_rank2": -11.0}
    values = {name: 10 ** (rng.normal(level, 3, 200) / 10) for name, level in levels.items()}
    quantiles = {
        name: {"unit": "dB"}
        | {key: float(np.percentile(10 * np.log10(v), q)) for key, q in (("median", 50), ("p10", 10), ("p90", 90))}
        for name, v in values.items()
    }
    found = {
        "steps": steps, "samples": 200, "quantiles": quantiles, "references": ["nmse_rank1", "nmse_rank2"],
        "verdict": "The model does 3.00 dB better (median) than rank-2 completion.", "alarm": None,
    }  # fmt: skip
    run.write_unit("validation", {"kind": "validation", **found}, {**values, "ids": np.arange(200)})
    run.set_attrs(summary=found)
