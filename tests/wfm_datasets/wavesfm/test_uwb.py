"""UWB impulse responses against the numbers that were put into the files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import wavesfm as fakes
from tests.wfm_datasets.wavesfm.conftest import Make
from wfm_cli.errors import InputError


def columns(plan) -> dict[str, np.ndarray]:
    return {spec.name: values for spec, values in plan.columns}


def test_indoor_responses_stand_at_their_anchor(builder: Make) -> None:
    made = builder("uwb-indoor")
    plan = made.plan()
    assert plan.samples == 2 * 6 * 2 * 2
    assert plan.arrays[0].shape == (3, 16)
    assert plan.arrays[0].attrs["anchors"] == ["A1", "A2", "A3"]
    got, col = made.rows(0, plan.samples, plan.state)["cir"], columns(plan)
    row = 0
    for room in (0, 1):
        for place in range(6):
            for channel in (1, 5):
                for copy in (0, 1):
                    assert col["meta/position"][row].tolist() == pytest.approx([place + 0.5, 2 * room + 0.25, 1.2])
                    assert (col["meta/environment"][row], col["meta/uwb_channel"][row]) == (room, channel)
                    for anchor in (1, 2, 3):
                        heard = anchor < 3 or room == 0
                        heard &= not (place == 0 and anchor == 1 and copy == 1)
                        want = fakes.response(room, place, anchor, channel, copy) if heard else np.zeros(12)
                        np.testing.assert_allclose(got[row, anchor - 1, :12], want, rtol=1e-6)
                    assert not got[row, :, 12:].any()
                    row += 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[: len(t) // 2], "damaged or truncated"),
        (lambda t: json.dumps({"anchors": {}, "measurements": {}}), "has no location"),
        (lambda t: "", "damaged or truncated"),
        (lambda t: t.replace('"cir"', '"csi"', 1), "damaged or truncated .a measurement without"),
        (lambda t: t.replace('"cir": ["(', '"cir": ["(x', 1), "damaged or truncated .cir:"),
        (lambda t: t.replace('"cir": ["(', '"cir": ["(nan+0j)", "(', 1), "cir holds NaN"),
        (lambda t: t.replace('"A1": {"1": [', '"A1": {"one": [', 1), "damaged or truncated .location at byte"),
    ],
)
def test_bad_indoor_files(change, words: str, builder: Make, tmp_path: Path) -> None:
    path = fakes.uwb_indoor(tmp_path / "u") / "environment0" / "data.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=rf"environment0/data\.json: {words}") as caught:
        fakes.read_all(builder("uwb-indoor", tmp_path / "u"))
    assert "\n" not in caught.value.message


def test_industrial_bursts(builder: Make) -> None:
    made = builder("uwb-industrial")
    plan = made.plan()
    assert plan.samples == 2 * 18  # of 24 bursts 6 have three anchors alone
    assert plan.arrays[0].shape == (5, 16)
    got, col = made.rows(0, plan.samples, plan.state)["cir"], columns(plan)
    files = next(spec for spec, _ in plan.columns if spec.name == "meta/file").attrs["classes"]
    assert files == ["test", "train"]
    for row in (0, 5, 20, 35):
        burst, test = int(col["meta/burst"][row]), files[col["meta/file"][row]] == "test"
        for anchor in range(5):
            np.testing.assert_allclose(got[row, anchor, :10], fakes.response(test, burst, anchor, length=10), rtol=1e-6)
        assert col["meta/position"][row].tolist() == [0.5 * burst, 2.0, 0.0]
    np.testing.assert_array_equal(col["split/official"] == 2, col["meta/file"] == 0)


def test_pickled_tables_are_refused_with_a_way_out(builder: Make, tmp_path: Path) -> None:
    (tmp_path / "train.pkl").write_bytes(pickle.dumps({"anch_id": [1]}))
    with pytest.raises(InputError, match=r"train\.pkl: a pickled table is not opened") as caught:
        builder("uwb-industrial", tmp_path).plan()
    assert "to_json" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "damaged or truncated"),
        ("[1]", "lacks anch_id"),
        ('{"anch_id": 1, "cir_real": [1]}', "lacks cir_imag, ref_x"),
        ({"cir_real": [1, 2], "cir_imag": [1]}, "has cir_real"),
        ({"cir_real": ["x"], "cir_imag": [1]}, "damaged or truncated"),
        ({"cir_real": [float("nan")], "cir_imag": [1]}, "cir of the line at byte 0 holds NaN"),
        ({"ref_x": None}, "damaged or truncated"),
        ({"ref_x": float("inf")}, "ref_x, ref_y or rec_time of burst 0 holds NaN"),
        ({"ref_x": 9.0}, "burst 0 has two positions"),
    ],
)
def test_bad_lines(line: str | dict, words: str, builder: Make, tmp_path: Path) -> None:
    path = fakes.uwb_industrial(tmp_path / "h") / "train.jsonl"
    lines = path.read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | line) if isinstance(line, dict) else line
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"train\.jsonl: .*{words}") as caught:
        builder("uwb-industrial", tmp_path / "h").plan()
    assert "\n" not in caught.value.message
