"""Facts about stores and runs, checked against what was written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.fakes import runs
from tests.fakes.stores import fake_recipe, make_store
from wfm_cli.core import inspect
from wfm_cli.core.inspect.text import number, size, sparkline
from wfm_cli.core.store import init, load
from wfm_cli.core.store.run import Run
from wfm_cli.errors import InputError, StoreError


def shown(path: Path, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(inspect.render(path))
    return console.export_text()


def test_a_store_is_described_as_it_was_written(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.zarr", samples=50)
    facts = json.loads(json.dumps(inspect.describe(store.path), allow_nan=False))
    assert (facts["what"], facts["kind"], facts["samples"], facts["complete"]) == ("store", "channel", 50, True)
    arrays = {array["name"]: array for array in facts["arrays"]}
    assert set(arrays) == set(store.names)
    channel = arrays["channel"]
    assert channel["shape"] == [50, 8, 8]
    assert channel["dims"] == ["sample", "antenna", "subcarrier"]
    assert channel["bytes"] == 50 * 64 * 8
    assert channel["reading"]["how"] == "preadv"
    assert channel["compression"] == "none"
    values = store.read("channel").view(np.float32)
    assert channel["statistics"]["std"] == pytest.approx(values.std(), rel=1e-5)
    los = store.read("labels/los")
    assert [(c["name"], c["count"]) for c in facts["labels"]["labels/los"]] == [
        ("NLoS", int((los == 0).sum())),
        ("LoS", int((los == 1).sum())),
    ]
    assert facts["splits"]["available"]["random"]["train"] == int((store.split("random") == 0).sum())
    assert facts["data_sha256"] == store.digest
    assert facts["bytes_on_disk"] > facts["bytes"]
    assert facts["problems"] == []


def test_a_compressed_store_says_how_its_rows_are_read(tmp_path: Path) -> None:
    make_store(tmp_path / "s.zarr", compression="zstd")
    (channel,) = [a for a in inspect.describe(tmp_path / "s.zarr")["arrays"] if a["name"] == "channel"]
    assert channel["compression"] == "zstd"
    assert channel["reading"]["how"] == "zarr"
    assert "through zarr" in shown(tmp_path / "s.zarr")


def test_the_terminal_view_of_a_store_answers_the_usual_questions(tmp_path: Path) -> None:
    make_store(tmp_path / "s.zarr", samples=50)
    text = shown(tmp_path / "s.zarr")
    for needed in (
        "s.zarr  channel store, 50 samples", "complete", "antenna 8, subcarrier 8", "complex64", "random (default)",
        "NLoS", "straight from the files, uncompressed", "Made from 1 file", "data sha256", "tests.fakes.stores",
    ):  # fmt: skip
        assert needed in text, needed
    narrow = shown(tmp_path / "s.zarr", 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow


def test_an_unfinished_store_is_shown_as_unfinished(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    init(fake_recipe(64, 32, 32, shard_mib=1), out)
    facts = inspect.describe(out)
    assert (facts["complete"], facts["status"]["done"]) == (False, 0)
    assert {"channel", "split/random"} <= {array["name"] for array in facts["arrays"]}
    assert facts["recipe"]["name"] == "fake"
    assert f"unfinished: 0 of {facts['status']['parts']} parts are there" in shown(out)
    load(out, part=(1, 1), progress=False)
    assert inspect.describe(out)["status"]["missing"] == []
    with pytest.raises(StoreError, match="unfinished"):
        inspect.pictures(out, tmp_path / "pictures")


def test_a_store_with_a_lost_shard_is_shown_as_damaged(tmp_path: Path) -> None:
    make_store(tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "labels" / "los" / "c.0").unlink()
    assert "labels/los" in inspect.describe(tmp_path / "s.zarr")["problems"][0]
    assert "damaged: " in shown(tmp_path / "s.zarr")


def test_a_pretraining_run_shows_curves_and_weights(tmp_path: Path) -> None:
    import torch

    run = runs.pretrain_run(tmp_path / "r.zarr", summary=True)
    run.save_weights({"encoder.a": torch.zeros(3, 4), "head.b": torch.zeros(5)}, "best", {"step": 400})
    facts = json.loads(json.dumps(inspect.describe(run.path), allow_nan=False))
    assert (facts["what"], facts["kind"], facts["status"]) == ("run", "pretrain", "complete")
    assert facts["weights"] == [
        {"which": "best", "tensors": 2, "values": 17, "dtypes": {"float32": 2}, "attrs": {"step": 400}}
    ]
    loss = run.curves.read()["loss"]
    assert facts["curves"]["loss"]["last"] == loss[-1]
    assert facts["curves"]["loss"]["course"][0] == "█"
    assert facts["curves"]["val_loss"]["rows"] == 10
    text = shown(run.path)
    for needed in (
        "603,712",
        "weights best",
        "2 tensors, 17 values",
        "wiring v1.0",
        "val_nmse_db_median",
        "recipe sha256",
    ):
        assert needed in text, needed
    assert "…" not in shown(run.path, 80)


def test_a_benchmark_shows_units_and_failures(tmp_path: Path) -> None:
    run = runs.benchmark_run(tmp_path / "r.zarr", budgets=(10,), seeds=3, failed=True)
    run.set_attrs(manifest=[f"u{i}" for i in range(20)], status="interrupted")
    facts = inspect.describe(run.path)
    assert facts["units"]["status"] == {"ok": 14, "failed": 1}
    assert (facts["units"]["count"], facts["units"]["planned"]) == (15, 20)
    text = shown(run.path)
    assert "15 of 20" in text
    assert "failed beam_16.99.10: out of memory_&%" in text
    assert "interrupted" in text


def test_an_empty_run_is_shown(tmp_path: Path) -> None:
    Run.create(tmp_path / "r.zarr", "probe", {})
    assert "probe run" in shown(tmp_path / "r.zarr")


def test_what_is_neither_store_nor_run_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.zarr").write_text("x")
    (tmp_path / "foreign.zarr").mkdir()
    (tmp_path / "foreign.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    for name, words in (
        ("missing", "does not exist"), ("folder", "no zarr.json"), ("file.zarr", "is a file"),
        ("foreign.zarr", "neither a store nor a run"),
    ):  # fmt: skip
        for call in (inspect.describe, inspect.render, lambda path: inspect.pictures(path, tmp_path / "out")):
            with pytest.raises(InputError, match=words) as error:
                call(tmp_path / name)
            assert error.value.hint
    make_store(tmp_path / "folder" / "inner.zarr")
    with pytest.raises(InputError) as error:
        inspect.describe(tmp_path / "folder")
    assert "inner.zarr" in str(error.value.hint)


@pytest.mark.parametrize(
    ("values", "line"),
    [([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([5, 5, 5], "▁▁▁"), ([], ""), ([np.nan, 1, np.nan, 2], "▁█")],
)
def test_sparklines_follow_the_values(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_sparklines_have_a_fixed_width() -> None:
    assert len(sparkline(np.arange(1000), width=24)) == 24


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (34 << 20, "34.0 MiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_are_binary(value: int, text: str) -> None:
    assert size(value) == text


def test_numbers_are_short() -> None:
    assert [number(v) for v in (None, float("nan"), 12345, 0.000123456)] == ["–", "–", "12,345", "0.0001235"]
