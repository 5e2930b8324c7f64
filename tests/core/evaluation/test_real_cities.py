"""The line-of-sight table on real ray-traced cities with the official weights keeps its known order."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfm_cli.core.evaluation.benchmarking import run_benchmark
from wfm_cli.core.evaluation.findings import findings
from wfm_cli.core.exchange import import_lwm
from wfm_cli.core.recipe.evaluate import BenchmarkRecipe
from wfm_cli.core.recipe.prepare import DeepMIMOSource, PrepareRecipe
from wfm_cli.core.store import finalise, init, load


@pytest.mark.real
def test_log_power_is_ahead_of_the_cls_embedding_at_ten_labels(real_data: Path, tmp_path: Path) -> None:
    city, weights = real_data / "deepmimo-v2" / "city_18_denver", real_data / "lwm" / "lwm_v1.0_model_weights.pth"
    if not (city.exists() and weights.exists()):
        pytest.skip(f"real data: Denver or the LWM v1.0 weights are not in {real_data}")
    store = tmp_path / "denver.zarr"
    init(
        PrepareRecipe(name="denver", source=DeepMIMOSource(scenarios=(str(city),), bs=3, beams=(16,), split="random")),
        store,
    )
    load(store, progress=False)
    finalise(store)
    import_lwm(weights, tmp_path / "lwm.zarr")
    rows = [{"encoder": str(tmp_path / "lwm.zarr@cls"), "label": "LWM CLS"}]
    rows += [{"encoder": f"baseline:{name}", "label": name} for name in ("log_power", "angular_32")]
    recipe = BenchmarkRecipe.model_validate(
        {
            "data": str(store),
            "tasks": ["los", "beam_16"],
            "encoders": rows,
            "baselines": False,
            "probe": {"labels": [10, "all"], "seeds": 5, "bootstrap": 0},
        }
    )
    run = run_benchmark(recipe, tmp_path / "table.zarr", progress=False)
    units = {(u.attrs["task"], u.attrs["label"], u.attrs["budget"]): u.attrs for u in run.units()}

    def score(task: str, label: str, budget: int | str) -> float:
        return float(units[task, label, budget]["metrics"]["weighted_f1"]["mean"])

    assert score("los", "log_power", 10) > score("los", "LWM CLS", 10) + 3
    assert score("los", "LWM CLS", "all") > score("los", "LWM CLS", 10) + 10
    assert score("beam_16", "angular_32", "all") > score("beam_16", "LWM CLS", "all") + 20
    assert any(line.startswith("LoS/NLoS, 10 labels: log_power") for line in findings(list(units.values())))
