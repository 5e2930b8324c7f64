"""What kind of signal a real recording holds: recording-disjoint folds from files to scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

import wfm_cli as wfm
from wfm_cli.core.evaluation.tasks.task import FOLDER
from wfm_cli.core.recipe.loading import load_recipe
from wfm_cli.core.recipe.prepare import PrepareRecipe
from wfm_cli.core.store import parts

KINDS = ["wifi", "lte", "lte_sidelink", "nr", "adsb", "fsk", "ook_ask", "rc_toy_fsk"]


@pytest.mark.real
def test_statistics_of_the_spectrum_tell_kinds_of_signals_apart(real_data: Path, tmp_path: Path) -> None:
    overrides = [f"source.inputs=[{real_data / 'iq'}]", "source.keep_iq=true"]
    parts.run(load_recipe("prepare/iq-recordings", PrepareRecipe, overrides), tmp_path / "s.zarr", progress=False)
    text = YAML(typ="safe").load((FOLDER / "iq_class.yaml").read_text())
    YAML(typ="safe").dump({**text, "name": "kinds", "only": {"labels/label": KINDS}}, tmp_path / "kinds.yaml")
    run = wfm.benchmark(
        "benchmark/iq-recordings",
        tmp_path / "b.zarr",
        overrides=[
            f"data={tmp_path / 's.zarr'}", f"tasks=[{tmp_path / 'kinds.yaml'}]", "probe.probes=[linear]",
            "probe.bootstrap=0",
        ],
    )  # fmt: skip
    units = {unit.attrs["encoder"]: unit for unit in run.units()}
    score = units["baseline:psd"].attrs["metrics"]["pca"]["mean"]
    assert 45 < score < 80  # by chance 12.5
    assert score > units["baseline:majority"].attrs["metrics"]["pca"]["mean"] + 30
    assert "baseline:cumulants" in units
    assert set(units["baseline:psd"].attrs["classes"]) == set(KINDS)
    assert units["baseline:psd"].attrs["split_leak"]["share"] == 0
