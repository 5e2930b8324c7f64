"""Masked reconstruction of windows: targets against loops, what is seen, what learns, what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.core.models.test_jepa_msac import SMALL, windows
from wfm_cli.core.models.bundle import split
from wfm_cli.core.models.counting import parameters
from wfm_cli.core.models.jepa_msac import build as build_encoder
from wfm_cli.core.objectives import build_objective
from wfm_cli.core.objectives import sensor_reconstruction as module
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.objectives.sensor_reconstruction import build
from wfm_cli.core.recipe.loading import parse_recipe
from wfm_cli.core.recipe.masks import MaskBlock
from wfm_cli.core.recipe.msac import JEPAMSACModel, ModalityMask, SensorReconstructionBlock, VisionBlock
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.errors import RecipeError

KEY = StepKey(seed=1, step=3, epoch=0)
IDS = torch.tensor([4, 9])
CELLS = {"image_cell": 2, "map_cell": 2}
SIZES = {"image": (9, 12), "radar": (16, 4), "lidar": (16, 4), "gps": (1, 2), "power": (1, 64)}


def make(masks=None, model=SMALL, looked=False, **settings):
    torch.manual_seed(0)
    objective = build(
        SensorReconstructionBlock(**{**CELLS, **settings}), masks or ModalityMask(), build_encoder(model, (13,))
    )
    if looked:
        objective.look(iter([windows(3, seed=7), windows(2, seed=8)]))
    return objective


def pooled(picture, rows, columns):
    """Mean of every rectangle of a picture cut into rows x columns, edges as adaptive pooling has them."""
    high, wide = picture.shape
    made = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, bottom = i * high // rows, -(-(i + 1) * high // rows)
            left, right = j * wide // columns, -(-(j + 1) * wide // columns)
            made[i, j] = picture[top:bottom, left:right].mean()
    return made


def cell(encoder, batch, row, token):
    """Content of one token of one window, by loops from the raw frames."""
    t, m, p = encoder._coords[token].tolist()
    name = encoder.block.modalities[m]
    frame = batch[name][row, t].double().numpy()
    if name == "gps":
        return frame / (encoder.block.gps_scale or 1)
    if name == "power":
        return (frame - (encoder.block.power_mean or 0)) / (encoder.block.power_scale or 1)
    if name == "image":
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        i, j = divmod(p, 3)
        small = [pooled((frame[c] / 255 - mean[c]) / std[c], 6, 6) for c in range(3)]
        return np.concatenate([part[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel() for part in small])
    if name == "radar":
        frame = np.log1p(frame / frame.mean())
    i, j = divmod(p, 4)
    if encoder.block.reduce > 1:
        frame = pooled(frame, frame.shape[0] // encoder.block.reduce, frame.shape[1] // encoder.block.reduce)
    return pooled(frame, 8, 8)[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel()


@pytest.mark.parametrize("reduce", [1, 2])
def test_targets_are_the_contents_of_the_hidden_cells(reduce):
    scales = {"gps_scale": 12.0, "power_mean": 0.3, "power_scale": 2.0, "reduce": reduce}
    objective, batch = make(model=SMALL.model_copy(update=scales)), windows(seed=2)
    encoder, held = objective.encoder, objective.contents.raw(objective.encoder, batch)
    assert {name: tuple(part.shape[2:]) for name, part in held.items()} == SIZES
    frame = (0, 9, 25, 41, 42)
    masks = objective.masks(IDS, 1, 3)
    hidden = objective._hidden(masks)
    for row in (0, 1):
        for token in masks.target[row, ::11].tolist():
            t, m, p = encoder._coords[token].tolist()
            assert token == 43 * t + frame[m] + p
            name = encoder.block.modalities[m]
            assert hidden[name][row, t, p]
            np.testing.assert_allclose(held[name][row, t, p], cell(encoder, batch, row, token), rtol=1e-4, atol=1e-5)
    assert sum(int(marks.sum()) for marks in hidden.values()) == masks.target.numel()


def test_contents_are_in_units_of_the_training_frames():
    objective = make(looked=True)
    seen = [objective.contents(objective.encoder, windows(count, seed=seed)) for count, seed in ((3, 7), (2, 8))]
    for name in SIZES:
        values = torch.cat([part[name].flatten(0, 1) for part in seen]).double()
        assert values.mean(0).abs().max() < 1e-5
        assert values.square().mean().sqrt().item() == pytest.approx(1, abs=1e-5)


def test_a_sensor_that_never_changes_keeps_its_unit():
    objective = make()
    still = windows(2).map(lambda part: part[:1, :1].expand_as(part))
    objective.look([still])
    found = objective.contents(objective.encoder, still)
    assert all(part.abs().max() < 1e-5 for part in found.values())
    assert objective.contents.deviation_gps == 1


def test_the_loss_is_the_mean_over_sensors_of_the_mean_over_hidden_tokens():
    objective, batch = make(looked=True, weights={"radar": 0.5, "lidar": 0}).eval(), windows(seed=2)
    parts = objective(batch, IDS, KEY)
    encoder, masks = objective.encoder, objective.masks(IDS, 1, 3)
    grid = encoder.tokenize(batch)
    with torch.no_grad():
        latents = encoder.predict(encoder.encode(grid, masks.context), grid.coords, masks.target)
        raw, errors = objective.contents.raw(encoder, batch), {name: [] for name in SIZES}
        for row in (0, 1):
            for k, token in enumerate(masks.target[row].tolist()):
                t, m, p = encoder._coords[token].tolist()
                name = encoder.block.modalities[m]
                mean, deviation = (objective.contents.get_buffer(f"{part}_{name}") for part in ("mean", "deviation"))
                truth = (raw[name][row, t, p] - mean[p]) / deviation
                errors[name].append((objective.heads[name](latents[row, k]) - truth).square().mean())
    means = {name: float(torch.stack(values).mean()) for name, values in errors.items()}
    wanted = (means["image"] + 0.5 * means["radar"] + means["gps"] + means["power"]) / 3.5
    assert (parts.total.detach() / parts.count).item() == pytest.approx(wanted, rel=1e-4)
    assert parts.count == 2
    for name, value in means.items():
        assert (parts.logs[f"loss_{name}"][0] / parts.logs[f"loss_{name}"][1]).item() == pytest.approx(value, rel=1e-4)
    assert torch.equal(parts.logs["loss_block"][0], parts.total.detach())


def test_the_loss_is_zero_when_predictions_equal_contents(monkeypatch):
    objective, batch = make(looked=True).eval(), windows()
    truth = objective.contents(objective.encoder, batch)
    monkeypatch.setattr(objective, "predict", lambda grid, masks: truth)
    assert objective(batch, IDS, KEY).total == 0
    found = objective.evaluate(batch, IDS, KEY)
    assert all(found[name].abs().max() == 0 for name in ("nmse", "nmse_future", "share_nmse_gps"))


def test_gradients_reach_everything_that_is_trained():
    objective = make(looked=True)
    objective(windows(), IDS, KEY).total.backward()
    without = [name for name, p in objective.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Softmax does not see what is added to all keys alike.
    assert [name for name in without if "qkv.bias" not in name] == []
    assert {name.split(".")[1] for name, _ in objective.named_parameters() if name.startswith("heads.")} == set(SIZES)


def test_hidden_frames_do_not_leak():
    objective, batch = make().eval(), windows()
    encoder, masks = objective.encoder, objective.masks(IDS, 1, 3)
    hidden = objective._hidden(masks)
    before = objective.predict(encoder.tokenize(batch), masks)
    changed = batch.map(torch.clone)
    for name, part in changed.items():
        frames = hidden[name].all(2)
        assert torch.equal(frames, hidden[name].any(2))
        part[frames] = (part[frames] * 3 + 1).to(part.dtype)
    after = objective.predict(encoder.tokenize(changed), masks)
    assert all(torch.equal(before[name], after[name]) for name in SIZES)
    seen = changed.map(torch.clone)
    seen["gps"][~hidden["gps"].all(2)] += 5
    assert not torch.allclose(objective.predict(encoder.tokenize(seen), masks)["power"], before["power"], atol=1e-6)


@pytest.mark.parametrize("pattern", ["block", "random", "checkerboard"])
def test_micro_batches_add_up(pattern):
    objective, batch, ids = make(ModalityMask(pattern=pattern, future=0.5), looked=True), windows(5), torch.arange(5)
    for step in range(3):
        key = StepKey(1, step, 0)
        whole = objective(batch, ids, key)
        pieces = [objective(part, own, key) for part, own in zip(split(batch, 2), torch.split(ids, 2), strict=True)]
        assert sum(piece.count for piece in pieces) == whole.count
        torch.testing.assert_close(sum(piece.total for piece in pieces), whole.total)
        for name, (total, count) in whole.logs.items():
            torch.testing.assert_close(sum(piece.logs[name][0] for piece in pieces), total)
            assert sum(piece.logs[name][1] for piece in pieces) == count


def test_references_are_the_nearest_frame_and_the_training_mean():
    objective, batch = make(looked=True).eval(), windows()
    found = objective.evaluate(batch, IDS, KEY)
    assert set(found) == {
        "nmse", "nmse_future", *objective.references,
        *(f"share_nmse_{name}{what}" for name in SIZES for what in ("", "_nearest")),
    }  # fmt: skip
    assert all(values.shape == (2,) and torch.isfinite(values).all() for values in found.values())
    truth, masks = objective.contents(objective.encoder, batch), objective.masks(IDS, 1, 3, kind="block")
    hidden = objective._hidden(masks)
    error, power = np.zeros(2), np.zeros(2)
    for name in SIZES:
        frames = hidden[name].all(2)
        for row in (0, 1):
            gone = [t for t in range(13) if frames[row, t]]
            seen = [t for t in range(13) if not frames[row, t]]
            near = [min(seen, key=lambda s: (abs(s - t), s)) for t in gone]
            own = (truth[name][row, gone] - truth[name][row, near]).square().mean().item()
            assert found[f"share_nmse_{name}_nearest"][row].item() == pytest.approx(own, rel=1e-4)
            error[row] += own
            power[row] += truth[name][row, gone].square().mean().item()
    np.testing.assert_allclose(found["nmse_nearest"], error / power, rtol=1e-4)
    assert torch.equal(found["nmse_mean"], torch.ones(2))
    assert objective.telemetry({"share_nmse_gps": np.array([1.0, 3.0])}) == {"nmse_gps": 2.0}


def test_a_sensor_without_a_visible_frame_repeats_its_mean():
    truth = {"gps": torch.ones(1, 3, 1, 2)}
    hidden = {"gps": torch.ones(1, 3, 1, dtype=torch.bool)}
    assert module._nearest(truth, hidden)["gps"].abs().sum() == 0


def test_training_reconstructs():
    """Windows that repeat one frame each: what is hidden is also seen."""
    objective = make(ModalityMask(future=0.5))
    batch, ids = windows(4).map(lambda part: part[:, :1].expand_as(part)), torch.arange(4)
    objective.look([batch])
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    first = objective.eval().evaluate(batch, ids, KEY)
    for step in range(40):
        objective.train()(batch, ids, StepKey(1, step, 0)).total.backward()
        optimiser.step()
        optimiser.zero_grad()
    last = objective.eval().evaluate(batch, ids, KEY)
    assert first["nmse"].mean() == pytest.approx(1, abs=0.1)
    assert last["nmse"].mean() < 0.6
    assert last["nmse_future"].mean() < 0.6
    assert last["nmse_nearest"].max() < 1e-6


def test_the_backbone_has_the_parameters_of_table_iv():
    """`Recon. backbone`: 5.00 M, tokenizers, context encoder and position tables of width 128."""
    pytest.importorskip("transformers")
    block = JEPAMSACModel(vision=VisionBlock(weights="random"))
    encoder = build_encoder(block, (13,))
    tables = sum(table.numel() for table in (encoder.time, encoder.modality, encoder.patch))
    backbone = parameters(encoder.tokenizers) + parameters(encoder.blocks) + tables
    assert backbone == 4_997_116
    assert f"{backbone / 1e6:.2f} M" == "5.00 M"
    objective = build(SensorReconstructionBlock(), ModalityMask(), encoder)
    numbers = {"image": 192, "radar": 16, "lidar": 16, "gps": 2, "power": 64}
    assert parameters(objective.heads) == sum(129 * size for size in numbers.values())
    # Beside the heads there is what JEPA-MSAC has: the predictor, two norms, the mask token.
    assert parameters(objective) - parameters(objective.heads) == backbone + 793_088 + 2 * 256 + 128
    assert all(value.dtype == torch.float32 for name, value in objective.weights().items() if "batches" not in name)
    assert {"encoder.predictor.0.fc1.weight", "heads.gps.bias", "contents.mean_image"} <= objective.weights().keys()


def test_some_sensors_alone():
    few = SMALL.model_copy(update={"modalities": ("gps", "power")})
    objective = make(model=few)
    found = objective.evaluate(windows(modalities=("gps", "power")), IDS, KEY)
    assert {name for name in found if name.startswith("share")} == {
        f"share_nmse_{name}{what}" for name in ("gps", "power") for what in ("", "_nearest")
    }
    with pytest.raises(RecipeError, match=r"objective.weights: the model has no image"):
        make(model=few, weights={"image": 2})
    with pytest.raises(RecipeError, match="every sensor has weight 0"):
        make(model=few, weights={"gps": 0, "power": 0})


def test_what_does_not_go_together_is_refused():
    block, encoder = SensorReconstructionBlock(), build_encoder(SMALL, (13,))
    with pytest.raises(RecipeError, match="hides frames of modalities"):
        build(block, MaskBlock(), encoder)
    with pytest.raises(RecipeError, match="'lwm' has no predictor of frames"):
        build(block, ModalityMask(), SimpleNamespace(kind="lwm"))


@pytest.mark.parametrize("kind", ["reconstruction", "jepa", "jepa_sigreg"])
def test_objectives_of_single_arrays_do_not_take_windows(kind):
    recipe = parse_recipe(
        {
            "data": {"store": "x", "array": "windows/index"},
            "model": SMALL.model_dump(),
            "objective": {"kind": kind},
            "train": {"steps": 1},
        },
        PretrainRecipe,
    )
    with pytest.raises(RecipeError, match=f"'{kind}': does not know the windows"):
        build_objective(recipe, build_encoder(SMALL, (13,)))
