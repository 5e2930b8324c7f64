from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tests.core.models.test_jepa_msac import SMALL, windows
from wfm_cli.core.models.jepa_msac import build as build_encoder
from wfm_cli.core.objectives.base import StepKey
from wfm_cli.core.objectives.jepa_msac import build
from wfm_cli.core.recipe.masks import MaskBlock
from wfm_cli.core.recipe.msac import JepaMSACBlock, ModalityMask
from wfm_cli.errors import RecipeError

KEY = StepKey(seed=1, step=3, epoch=0)
IDS = torch.tensor([4, 9])


def make(masks=None, **settings):
    torch.manual_seed(0)
    return build(JepaMSACBlock(**settings), masks or ModalityMask(), build_encoder(SMALL, (13,)))


def test_the_loss_is_the_mean_over_hidden_tokens():
    objective = make().eval()
    batch = windows()
    parts = objective(batch, IDS, KEY)
    grid = objective.encoder.tokenize(batch)
    masks = objective.masks(IDS, 1, 3)
    x = grid.values + objective.encoder.positions(grid.coords)
    for block in objective.encoder.blocks:
        x = block(x)
    targets = F.layer_norm(objective.encoder.norm(x), (32,))
    guess = objective.encoder.predict(objective.encoder.encode(grid, masks.context), grid.coords, masks.target)
    wanted = sum(
        F.smooth_l1_loss(guess[row, k], targets[row, token])
        for row in (0, 1)
        for k, token in enumerate(masks.target[row])
    )
    assert parts.count == 2 * 6 * 43
    assert parts.total.item() == pytest.approx(wanted.item(), rel=1e-4)


@pytest.mark.parametrize("tokenizers", ["shared", "slow"])
def test_gradients_reach_the_encoder_and_never_the_target(tokenizers):
    objective = make(tokenizers=tokenizers)
    objective(windows(), IDS, KEY).total.backward()
    without = [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert all(p.grad is None for p in objective.target.parameters())
    assert ("tokenizers" in objective.target) == (tokenizers == "slow")


def test_the_target_follows_slowly():
    objective = make(momentum=(0.9, 1.0))
    before = objective.target["norm"].weight.clone()
    with torch.no_grad():
        objective.encoder.norm.weight += 1
    objective.after_step(0, 100)
    assert torch.allclose(objective.target["norm"].weight, before + 0.1)
    assert objective.monitors()["ema_gap"] == 0
    assert objective.weights().keys() >= {"encoder.mask_token", "target.norm.weight", "encoder.predictor.0.fc1.weight"}


def test_the_nearest_visible_frame():
    objective = make(ModalityMask(pattern="random")).eval()
    masks = objective.masks(IDS, 1, 3)
    targets = torch.arange(559.0).expand(2, -1)[..., None].clone()
    made = objective._nearest_visible(targets, masks)
    for row in (0, 1):
        context = {tuple(c) for c in objective.encoder._coords[masks.context[row]].tolist()}
        for k, token in enumerate(masks.target[row].tolist()):
            t, m, p = objective.encoder._coords[token].tolist()
            options = sorted((abs(s - t) * 2 + (s > t), s) for s in range(13) if (s, m, p) in context)
            assert made[row, k, 0] == token + (options[0][1] - t) * 43


def test_references_stand_beside_the_error():
    objective = make(ModalityMask(future=0.5)).eval()
    found = objective.evaluate(windows(), IDS, KEY)
    assert set(found) == {"nmse_latent", "nmse_latent_future", *objective.references}
    assert all(values.shape == (2,) and torch.isfinite(values).all() for values in found.values())


def test_training_beats_the_references():
    """Windows that repeat one frame: every sensor's future is its past."""
    objective = make(ModalityMask(future=0.5), momentum=(0.99, 1.0))
    batch = windows(4).map(lambda part: part[:, :1].expand_as(part))
    optimiser = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=2e-3)
    ids = torch.arange(4)
    first = objective.eval().evaluate(batch, ids, KEY)["nmse_latent"].mean()
    for step in range(20):
        objective.train()(batch, ids, StepKey(1, step, 0)).total.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.after_step(step, 20)
    found = {name: float(values.mean()) for name, values in objective.eval().evaluate(batch, ids, KEY).items()}
    assert found["nmse_latent"] < 0.5 * first


def test_what_does_not_go_together_is_refused():
    with pytest.raises(RecipeError, match="hides frames of modalities"):
        build(JepaMSACBlock(), MaskBlock(), build_encoder(SMALL, (13,)))
    with pytest.raises(RecipeError, match="no predictor of frames"):
        build(JepaMSACBlock(), ModalityMask(), SimpleNamespace(kind="lwm"))
