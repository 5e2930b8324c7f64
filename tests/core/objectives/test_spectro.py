"""Masked spectrogram modelling, views and contrast against slow forms written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks.moe import top_k
from wfm_cli.core.objectives import StepKey, build_objective
from wfm_cli.core.objectives.contrastive import contrast
from wfm_cli.core.objectives.frames import fillings
from wfm_cli.core.objectives.routing import Routed
from wfm_cli.core.objectives.spectro import Spectro
from wfm_cli.core.objectives.spectrogram_views import echo_db, noisy, shifted, view
from wfm_cli.core.recipe.objectives import SpectrogramViewsBlock
from wfm_cli.core.recipe.pretrain import PretrainRecipe
from wfm_cli.errors import RecipeError

KEY = StepKey(seed=3, step=7, epoch=0)
MODEL = {"kind": "lwm_spectro", "layers": 1, "width": 16, "heads": 2, "dropout": 0.0}
MIXTURE = {
    "kind": "lwm_spectro_moe",
    "expert": {**MODEL},
    "router": {"channels": [8, 8, 8, 8], "dropout": 0.0},
}
OFF = {"time_shift": 0.0, "tilt_db": 0.0, "echo": 0.0, "noise_db": None}


def objective(shape: tuple[int, ...] = (1, 16, 24), **parts: object) -> Spectro:
    torch.manual_seed(0)
    fields = {"data": {"store": "x"}, "model": MODEL, "train": {"steps": 1}, "objective": {}, **parts}
    fields["objective"] = {"kind": "spectro", **fields["objective"]}  # type: ignore[dict-item]
    recipe = PretrainRecipe.model_validate(fields)
    built = build_objective(recipe, build_encoder(recipe.model, shape))
    assert isinstance(built, Spectro)
    return built


def spectrograms(count: int, shape: tuple[int, ...] = (1, 16, 24), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator).cumsum(-1) * 2 - 80


# ---- contrast


@pytest.mark.parametrize("loss", ["ntxent", "infonce"])
def test_contrast_equals_a_double_loop(loss: str) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.nn.functional.normalize(torch.randn(2, 5, 4, generator=generator), dim=2)
    found = contrast(points[0], points[1], 0.3, loss)
    for sample in range(5):
        losses, hits = [], []
        for side in (0, 1):
            anchor = points[side, sample]
            others = {}
            for other in range(5):
                others[1 - side, other] = float(anchor @ points[1 - side, other]) / 0.3
                if loss == "ntxent" and other != sample:
                    others[side, other] = float(anchor @ points[side, other]) / 0.3
            whole = math.log(sum(math.exp(v) for v in others.values()))
            losses.append(whole - others[1 - side, sample])
            hits.append(max(others, key=lambda k: others[k]) == (1 - side, sample))
        assert math.isclose(float(found.loss[sample]), sum(losses) / 2, rel_tol=1e-5)
        assert float(found.hits[sample]) == sum(hits) / 2
    assert found.chance == pytest.approx(1 / (9 if loss == "ntxent" else 5))


# ---- views


def test_views_are_pure_functions_of_seed_step_view_and_sample() -> None:
    images, ids = spectrograms(4)[:, 0], torch.tensor([5, 9, 2, 7])
    block = SpectrogramViewsBlock(frequency_shift=0.2)
    one = view(images, ids, 1, 2, 0, block)
    assert torch.equal(one, view(images, ids, 1, 2, 0, block))
    order = torch.tensor([2, 0])
    torch.testing.assert_close(view(images[order], ids[order], 1, 2, 0, block), one[order])
    for other in (
        view(images, ids, 1, 2, 1, block),
        view(images, ids, 1, 3, 0, block),
        view(images, ids, 2, 2, 0, block),
    ):
        assert not torch.allclose(one, other)
    assert torch.equal(view(images, ids, 1, 2, 0, SpectrogramViewsBlock.model_validate(OFF)), images)


def test_a_time_shift_moves_whole_frames() -> None:
    images, ids = spectrograms(6)[:, 0], torch.arange(6)
    block = SpectrogramViewsBlock.model_validate({**OFF, "time_shift": 0.5})
    moved = view(images, ids, 0, 0, 0, block)
    shifts = []
    for sample in range(6):
        fits = [s for s in range(24) if torch.equal(moved[sample], images[sample].roll(-s, 1))]
        assert len(fits) == 1
        shifts += fits
    assert max(shifts) <= 12
    assert len(set(shifts)) > 1


def test_shifts_wrap_or_reflect() -> None:
    images = torch.arange(5.0).view(1, 1, 5)
    assert shifted(images, torch.tensor([2.0]), 2, "wrap").flatten().tolist() == [2, 3, 4, 0, 1]
    assert shifted(images, torch.tensor([2.0]), 2, "reflect").flatten().tolist() == [2, 3, 4, 3, 2]
    assert shifted(images, torch.tensor([-2.0]), 2, "reflect").flatten().tolist() == [2, 1, 0, 1, 2]
    assert shifted(images.transpose(1, 2), torch.tensor([-1.0]), 1, "wrap").flatten().tolist() == [4, 0, 1, 2, 3]


def test_a_channel_changes_levels_over_frequency_alone() -> None:
    images, ids = spectrograms(5)[:, 0], torch.arange(5)
    block = SpectrogramViewsBlock.model_validate({**OFF, "tilt_db": 6.0, "echo": 0.5})
    gain = view(images, ids, 0, 0, 0, block) - images
    assert float((gain - gain[:, :, :1]).abs().max()) < 1e-4
    assert float(gain.abs().max()) <= 6.0 + 20 * math.log10(2)
    assert float(gain.std(1).min()) > 0.1


def test_an_echo_is_the_squared_sum_of_two_paths() -> None:
    place = torch.linspace(-0.5, 0.5, 9)
    got = echo_db(torch.tensor([[0.4]]), torch.tensor([[2.0]]), torch.tensor([[0.7]]), place)
    response = 1 + 0.4 * torch.exp(1j * (2 * math.pi * 2.0 * place + 0.7))
    torch.testing.assert_close(got[0], 20 * response.abs().log10())


def test_noise_has_the_power_that_was_drawn() -> None:
    images = torch.full((2, 64, 64), -80.0)
    draws = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0))
    got = noisy(images, torch.tensor([0.0, 10.0]).view(2, 1, 1), draws)
    added = 10 ** (got / 10) - 10 ** (images / 10)
    level = 10 * added.mean((1, 2)).log10()
    torch.testing.assert_close(level, torch.tensor([-80.0, -90.0]), atol=0.15, rtol=0)
    assert float((got - images).min()) >= -1e-4


# ---- masked modelling


def test_loss_is_the_mean_squared_error_of_hidden_numbers() -> None:
    target = objective(objective={"contrastive": None, "replace": [1, 0, 0]}).train()
    batch, ids = spectrograms(3), torch.tensor([4, 8, 1])
    parts = target(batch, ids, KEY)
    grid = target.encoder.tokenize(batch)
    (shown,) = target.views(ids, KEY)
    assert shown.target.shape[1] == round(0.7 * 24)
    total = 0.0
    for row in range(3):
        values = grid.values[row : row + 1].clone()
        values[0, shown.target[row]] = 0.1
        with torch.no_grad():
            guess = target.encoder.fill(grid.with_values(values), shown.target[row : row + 1])[0]
        total += float((guess - grid.values[row, shown.target[row]]).square().mean())
    assert float(parts.total.detach()) == pytest.approx(total, rel=1e-5)
    assert float(parts.count) == 3


@pytest.mark.parametrize("kind", ["random", "region", "frequency", "time", "temporal"])
def test_every_geometry_trains_and_is_judged(kind: str) -> None:
    target = objective(masks={"kind": kind})
    batch, ids = spectrograms(4), torch.arange(4)
    parts = target.train()(batch, ids, KEY)
    parts.total.backward()
    assert f"loss_{kind}" in parts.logs
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in target.parameters())
    values = target.eval().evaluate(batch, ids, KEY)
    assert set(values) == {"nmse", *target.references, "share_retrieval", "share_retrieval_chance"}
    assert all(v.shape == (4,) and torch.isfinite(v).all() for v in values.values())


def test_micro_batches_add_up_without_contrast() -> None:
    target = objective(objective={"contrastive": None}, masks={"kind": "region"}).train()
    batch, ids = spectrograms(6), torch.arange(6) * 3
    whole = target(batch, ids, KEY)
    parts = [target(batch[rows], ids[rows], KEY) for rows in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total)
    assert sum(float(p.count) for p in parts) == float(whole.count)


def test_stages_come_one_after_the_other_and_leave_no_gradient_out() -> None:
    target = objective(objective={"masked_first": 0.5}).train()
    batch, ids = spectrograms(4), torch.arange(4)
    for progress, names in ((0.0, {"loss_masked"}), (0.6, {"loss_contrastive"})):
        target.zero_grad()
        parts = target(batch, ids, StepKey(3, 7, 0, progress))
        assert names == set(parts.logs) & {"loss_masked", "loss_contrastive"}
        parts.total.backward()
        assert all(p.grad is not None for p in target.parameters())
    assert target.weights_at(0.4) == (1.0, 0.0)
    assert target.weights_at(0.5) == (0.0, 0.1)


def test_joint_loss_is_the_weighted_sum() -> None:
    batch, ids = spectrograms(4), torch.arange(4)
    joint = objective(objective={"masked": 2.0, "contrastive": {"weight": 0.3}}).train()
    parts = joint(batch, ids, KEY)
    want = 2.0 * parts.logs["loss_masked"][0] + 0.3 * parts.logs["loss_contrastive"][0]
    torch.testing.assert_close(parts.total.detach(), want)


def test_other_encoders_are_refused() -> None:
    with pytest.raises(RecipeError, match="objective 'spectro'"):
        objective((32, 32, 2), model={"kind": "lwm", "layers": 1})


# ---- references


def test_references_against_their_definitions() -> None:
    rows, columns, high, wide = 3, 5, 2, 2
    values = torch.randn(1, rows * columns, high * wide, generator=torch.Generator().manual_seed(2))
    hidden = torch.tensor([[0, 2, 3, 5, 6, 7, 8, 9, 13]])  # row 1 is hidden altogether
    found = fillings(values, hidden, (rows, columns), (high, wide))
    picture = values.view(rows, columns, high, wide)
    visible = [t for t in range(15) if t not in hidden[0].tolist()]
    mean = values[0, visible].mean()
    for slot, token in enumerate(hidden[0].tolist()):
        row, column = divmod(token, columns)
        seen = [c for c in range(columns) if row * columns + c in visible]
        torch.testing.assert_close(found["visible"][0, slot], mean.expand(4))
        for bin_ in range(high):
            here = found["frequency"][0, slot].view(high, wide)[bin_]
            near = found["nearest"][0, slot].view(high, wide)[bin_]
            if not seen:
                want_frequency = want_near = mean
            else:
                want_frequency = picture[row, seen, bin_].mean()
                best = min(seen, key=lambda c: (abs(c - column), c))
                want_near = picture[row, best, bin_, wide - 1 if best < column else 0]
            torch.testing.assert_close(here, want_frequency.expand(wide))
            torch.testing.assert_close(near, want_near.expand(wide))


def test_references_are_exact_where_they_should_be() -> None:
    steady = torch.linspace(-90, -50, 16).view(1, 1, 16, 1).expand(2, 1, 16, 24).contiguous()
    values = objective(objective={"contrastive": None}).eval().evaluate(steady, torch.arange(2), KEY)
    assert float(values["nmse_frequency"].max()) < 1e-6
    assert float(values["nmse_nearest"].max()) < 1e-6
    assert float(values["nmse_visible"].min()) > 0.5


# ---- routing


def labelled(**routing: object) -> Spectro:
    fields = {"label": "labels/standard", "warmup": 0.5, **routing}
    target = objective((1, 16, 16), model=MIXTURE, objective={"routing": fields})
    target.take_labels(torch.tensor([0, 1, 2, 1, -1, 0]), ("WiFi", "LTE", "NR"))
    return target


def test_labels_route_while_the_router_warms_up() -> None:
    target = labelled().train()
    batch, ids = spectrograms(4, (1, 16, 16)), torch.tensor([3, 0, 2, 5])
    warm = target(batch, ids, StepKey(3, 7, 0, 0.0))
    assert [float(warm.logs[f"expert_{name}"][0]) for name in ("wifi", "lte", "nr")] == [2.0, 1.0, 1.0]
    later = target(batch, ids, StepKey(3, 7, 0, 0.6))
    routing = target.encoder.route(target.encoder.tokenize(batch))  # type: ignore[union-attr, operator]
    assert [float(later.logs[f"expert_{n}"][0]) for n in ("wifi", "lte", "nr")] == routing.shares.sum(0).tolist()
    errors = torch.nn.functional.cross_entropy(routing.logits, torch.tensor([1, 0, 2, 0]), reduction="sum")
    uneven = (routing.logits.softmax(1).mean(0) - 1 / 3).square().mean()
    others = later.logs["loss_masked"][0] + 0.1 * later.logs["loss_contrastive"][0]
    torch.testing.assert_close(later.total, others + 0.05 * errors + 0.05 * uneven * 4)
    torch.testing.assert_close(later.logs["router_loss"][0], errors.detach())
    split = sum(float(later.logs[f"loss_masked_{name}"][0]) for name in ("wifi", "lte", "nr"))
    assert split == pytest.approx(float(later.logs["loss_masked"][0]), rel=1e-5)


@pytest.mark.parametrize(("logits", "want"), [((0.0, 0.0, 0.0), 0.0), ((99.0, 0.0, 0.0), (4 / 9 + 1 / 9 + 1 / 9) / 3)])
def test_balance_is_the_mean_squared_distance_from_equal_gates(logits: tuple[float, ...], want: float) -> None:
    target = labelled()
    assert target.router is not None
    total, logs = target.router.loss(Routed(top_k(torch.tensor([logits, logits]), 1), None, False))
    assert float(logs["router_uneven"][0] / logs["router_uneven"][1]) == pytest.approx(want, abs=1e-7)
    assert float(total) == pytest.approx(0.05 * 2 * want, abs=1e-7)


def test_samples_without_a_label_do_not_teach_the_router() -> None:
    target = labelled(balance=0.0).train()
    batch = spectrograms(2, (1, 16, 16))
    parts = target(batch, torch.tensor([4, 4]), StepKey(3, 7, 0, 0.9))
    assert [float(v) for v in parts.logs["router_loss"]] == [0.0, 0.0]


def test_label_classes_must_name_the_experts() -> None:
    target = objective((1, 16, 16), model=MIXTURE, objective={"routing": {"label": "labels/standard"}})
    with pytest.raises(RecipeError, match=r"no class lte, nr"):
        target.take_labels(torch.tensor([0]), ("WiFi", "Bluetooth"))


def test_telemetry_of_a_mixture() -> None:
    target = labelled().eval()
    values = target.evaluate(spectrograms(5, (1, 16, 16)), torch.tensor([3, 0, 2, 5, 4]), KEY)
    assert values["share_router_accuracy"].isnan().tolist() == [False] * 4 + [True]  # the last sample has no label
    found = target.telemetry({name: value.double().numpy() for name, value in values.items()})
    shares = [found[f"expert_{name}"] for name in ("wifi", "lte", "nr")]
    assert sum(shares) == pytest.approx(1.0)
    assert 0 <= found["expert_entropy"] <= 1
    assert {"retrieval", "retrieval_chance", "router_accuracy", "router_entropy"} <= set(found)
    assert found["router_accuracy"] in (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize("model", [MODEL, MIXTURE])
@pytest.mark.parametrize("kind", ["masked_modelling", "jepa"])
def test_other_objectives_take_these_encoders(model: dict[str, object], kind: str) -> None:
    """A context encoder sees visible tokens alone; a head fills in hidden ones, each expert's its own."""
    torch.manual_seed(0)
    block: dict[str, object] = {"kind": kind}
    if kind == "jepa":
        block["predictor"] = {"width": 16, "depth": 1, "heads": 2}
    recipe = PretrainRecipe.model_validate(
        {"data": {"store": "x"}, "model": model, "train": {"steps": 1}, "objective": block, "masks": {"kind": "random"}}
    )
    made = build_objective(recipe, build_encoder(recipe.model, (1, 16, 16))).train()
    parts = made(spectrograms(4, (1, 16, 16)), torch.arange(4), KEY)
    parts.total.backward()
    assert torch.isfinite(parts.total.detach())
    assert all(
        torch.isfinite(v).all()
        for v in made.eval().evaluate(spectrograms(4, (1, 16, 16)), torch.arange(4), KEY).values()
    )
