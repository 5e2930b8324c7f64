"""Sums, counts, clipping, refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.training.toy import ToyObjective, samples, train, trainer
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.store.run import Run, load_tensors
from wfm_cli.core.training.batches import feed
from wfm_cli.errors import WfmError


def difference(a: Path, b: Path) -> float:
    first, second = load_tensors(a / "weights/last"), load_tensors(b / "weights/last")
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize("micro_batch", [1, 5, 12])
def test_accumulation_equals_one_large_batch(tmp_path: Path, micro_batch: int) -> None:
    """The loss counts differ between micro-batches, so a mean of means would be far off."""
    train(tmp_path / "whole", dropout=0.0, steps=40, eval_every=40, save_every=40)
    train(tmp_path / "parts", dropout=0.0, steps=40, eval_every=40, save_every=40, micro_batch=micro_batch)
    assert difference(tmp_path / "whole", tmp_path / "parts") < 1e-5


def test_step_matches_a_hand_made_one(tmp_path: Path) -> None:
    """Gradient of the mean over all hidden entries, clipped, into torch's own AdamW."""
    torch.manual_seed(11)
    ours, theirs = ToyObjective(), ToyObjective()
    theirs.load_state_dict(ours.state_dict())
    options = {"clip": 0.1, "weight_decay": 0.0, "warmup": 0.0, "schedule": "constant", "lr": 1e-2}
    with trainer(tmp_path / "run", objective=ours, steps=3, **options) as made:
        plain = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0, foreach=False)
        for batch in feed(made.batches, 0, 3, torch.device("cpu")):
            outcome = made._step(batch, 1e-2, False)
            parts = theirs(batch.data, batch.ids, StepKey(11, batch.step, batch.epoch))
            loss = parts.total / parts.count
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            plain.step()
            plain.zero_grad()
            assert outcome.loss == pytest.approx(loss.item(), rel=1e-5)
            assert outcome.grad_norm == pytest.approx(norm.item(), rel=1e-5)
            assert outcome.count == parts.count.item()
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_step_that_is_not_finite_is_refused_and_counted(tmp_path: Path) -> None:
    torch.manual_seed(11)
    with trainer(tmp_path / "run", objective=ToyObjective(poison=(2,)), steps=4) as made:
        weights = []
        for batch in feed(made.batches, 0, 4, made.world.device):
            made._one(batch, False)
            weights.append(made.model.weights()["head.weight"].clone())
        moments = made.model.moments(made.optimiser)
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[2], weights[3])
    assert made.state.refused == 1
    assert made.state.refused_in_row == 0
    assert int(made.objective.taken) == 3  # a target encoder stands still as well
    assert moments["step/head.weight"] == 3


def test_ten_refusals_in_a_row_end_the_training(tmp_path: Path) -> None:
    torch.manual_seed(11)
    objective = ToyObjective(poison=tuple(range(4, 30)))
    with (
        pytest.raises(WfmError, match=r"step 14: 10 steps in a row were refused, the loss is not finite") as failed,
        trainer(tmp_path / "run", objective=objective, steps=30, save_every=3) as made,
    ):
        made.fit()
    assert "train.lr" in (failed.value.hint or "")
    assert all(torch.isfinite(value).all() for value in made.model.weights().values())


def test_nothing_to_count_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(11)
    with (
        pytest.raises(WfmError, match="no token was counted"),
        trainer(tmp_path / "run", objective=ToyObjective(hide=False)) as made,
    ):
        made.fit()


def test_refusals_stand_in_the_curves(tmp_path: Path) -> None:
    torch.manual_seed(11)
    train(tmp_path / "run", objective=ToyObjective(poison=(2, 5)), steps=8, log_every=2, eval_every=8)
    curves = Run.open(tmp_path / "run").curves.read()
    np.testing.assert_array_equal(curves["refused_steps"], [0, 1, 2, 2])
    np.testing.assert_array_equal(curves["step"], [2, 4, 6, 8])


def test_rows_hold_the_loss_over_all_samples_of_the_step(tmp_path: Path) -> None:
    torch.manual_seed(11)
    objective = ToyObjective()
    with trainer(tmp_path / "run", objective=objective, steps=1, held=0) as made:
        batch = next(iter(made.batches.iterate(0, 1)))
        data = torch.view_as_real(torch.from_numpy(samples()[batch.ids]))
        parts = objective(data, torch.from_numpy(batch.ids), StepKey(11, 0, 0))
        expected = (parts.total / parts.count).item()
        made.fit()
        made.journal.flush()
    row = Run.open(tmp_path / "run").curves.read()
    assert row["loss"][0] == pytest.approx(expected, rel=1e-6)
    assert row["hidden_per_sample"][0] == pytest.approx(float(parts.count) / 12)


def test_bf16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    train(tmp_path / "run", precision="bf16")
    curves = Run.open(tmp_path / "run").curves.read()
    assert np.isfinite(curves["loss"]).all()
    assert {t.dtype for t in load_tensors(tmp_path / "run/weights/last").values()} == {torch.float32}


def test_same_recipe_and_seed_give_the_same_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tmp_path / name, seed=seed)
    assert difference(tmp_path / "a", tmp_path / "b") == 0
    assert difference(tmp_path / "a", tmp_path / "c") > 0
