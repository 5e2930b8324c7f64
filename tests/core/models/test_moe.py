"""The mixture against a loop over samples, and what its router may and may not see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks.moe import Routing, dispatch, one_of, top_k
from wfm_cli.core.models.lwm_spectro_moe import LWMSpectroMoE, Router
from wfm_cli.core.recipe.models import LWMSpectroMoEModel, RouterBlock
from wfm_cli.core.store.run import load_tensors, save_tensors
from wfm_cli.errors import InputError

SMALL = {"layers": 1, "width": 16, "heads": 2, "dropout": 0.0}


def mixture(shape: tuple[int, ...] = (1, 16, 16), **fields: object) -> LWMSpectroMoE:
    torch.manual_seed(0)
    router = {"channels": (8, 8, 16, 16), "dropout": 0.0}
    block = LWMSpectroMoEModel.model_validate({"expert": SMALL, "router": router, **fields})
    made = build_encoder(block, shape)
    assert isinstance(made, LWMSpectroMoE)
    with torch.no_grad():
        made.router.scores.weight.mul_(30)  # a fresh router sends all samples to one expert
        for number, norm in enumerate(e.embedding.norm for e in made.experts.values()):
            norm.alpha.mul_(1 + number)  # type: ignore[union-attr]
    return made


def naive(made: LWMSpectroMoE, batch: Tensor) -> Tensor:
    """Sample by sample, expert by expert."""
    rows = []
    for sample in batch:
        tokens = made.tokenize(sample[None])
        gates = made.route(tokens).logits.softmax(1)[0]
        best = sorted(range(len(made.names)), key=lambda i: -float(gates[i].detach()))[: made.top]
        whole = sum(gates[i] for i in best)
        rows.append(sum(made.expert(i).encode(tokens)[0] * gates[i] / whole for i in best))
    return torch.stack(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("top", [1, 2])
def test_dispatch_equals_a_loop_over_samples(top: int) -> None:
    made = mixture(top=top).eval()
    batch = torch.randn(12, 1, 16, 16) * torch.linspace(1, 9, 12).view(-1, 1, 1, 1)
    batch[::2] = batch[::2].cumsum(3)
    with torch.no_grad():
        used = made.route(made.tokenize(batch)).index.unique()
        got, want = made.encode(made.tokenize(batch)), naive(made, batch)
    assert len(used) > 1
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_loop() -> None:
    made = mixture(top=2).train()
    batch = torch.randn(6, 1, 16, 16).cumsum(2)
    wants = torch.autograd.grad(naive(made, batch).square().sum(), list(made.parameters()), allow_unused=True)
    gots = torch.autograd.grad(
        made.encode(made.tokenize(batch)).square().sum(), list(made.parameters()), allow_unused=True
    )
    for (name, _), got, want in zip(made.named_parameters(), gots, wants, strict=True):
        if ".head." in name:
            assert got is None
            continue
        assert got is not None, name  # an expert without samples has a gradient of zero, not none
        torch.testing.assert_close(got, torch.zeros_like(got) if want is None else want, atol=2e-4, rtol=1e-3)


def test_top_k_weights_add_up_to_one() -> None:
    logits = torch.randn(50, 4)
    one, two = top_k(logits, 1), top_k(logits, 2)
    assert torch.equal(one.weights, torch.ones(50, 1))
    gates = logits.softmax(1)
    best = gates.sort(dim=1, descending=True).values[:, :2]
    torch.testing.assert_close(two.weights, best / best.sum(1, keepdim=True))
    torch.testing.assert_close(two.shares.sum(1), torch.ones(50))
    assert int((two.shares > 0).sum()) == 100


def test_a_given_expert_takes_its_samples_alone() -> None:
    logits, chosen = torch.randn(40, 3), torch.arange(40) % 4 - 1
    routing = one_of(logits, chosen, 2)
    free = top_k(logits, 2)
    for row in range(40):
        assert len(set(routing.index[row].tolist())) == 2
        if chosen[row] < 0:
            assert torch.equal(routing.shares[row], free.shares[row])
        else:
            assert routing.shares[row].tolist() == torch.eye(3)[chosen[row]].tolist()


def test_entropy_is_between_certain_and_undecided() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [99.0, 0.0, 0.0]])
    torch.testing.assert_close(top_k(logits, 1).entropy, torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)


def test_experts_without_samples_run_where_asked() -> None:
    routing = Routing(torch.zeros(3, 4), torch.tensor([[2], [2], [0]]), torch.ones(3, 1))
    calls: list[tuple[int, int]] = []

    def run(expert: int, rows: Tensor) -> Tensor:
        calls.append((expert, len(rows)))
        return torch.full((len(rows), 2), float(expert))

    assert dispatch(routing, 4, run)[:, 0].tolist() == [2.0, 2.0, 0.0]
    assert calls == [(0, 1), (2, 2)]
    calls.clear()
    dispatch(routing, 4, run, every=True)
    assert calls == [(0, 1), (1, 0), (2, 2), (3, 0)]


def test_router_has_the_published_layout() -> None:
    router = Router(RouterBlock(norm="batch"), 3)
    shapes = [tuple(p.shape) for p in router.features.parameters() if p.ndim == 4]
    assert shapes == [(32, 1, 5, 5), (64, 32, 3, 3), (96, 64, 3, 3), (128, 96, 3, 3)]
    assert router.features(torch.randn(1, 1, 128, 128)).shape == (1, 128, 8, 8)
    state = {name: value.clone() for name, value in router.train().state_dict().items()}
    router(torch.randn(4, 1, 32, 32) * 9)
    assert all(torch.equal(value, state[name]) for name, value in router.state_dict().items())


def test_the_router_does_not_see_left_out_tokens() -> None:
    made = mixture().eval()
    near = made.tokenize(torch.randn(2, 1, 16, 16))
    keep = torch.tensor([[0, 3, 5], [1, 2, 9]])
    other = torch.randn_like(near.values)
    index = keep.unsqueeze(-1).expand(-1, -1, 16)
    far = near.with_values(other.scatter(1, index, near.values.gather(1, index)))
    with torch.no_grad():
        assert torch.equal(made.route(near, keep).logits, made.route(far, keep).logits)
        assert torch.equal(made.encode(near, keep), made.encode(far, keep))


def test_frozen_experts_have_no_gradient_and_no_dropout() -> None:
    made = mixture(freeze=True, top=2, expert={**SMALL, "dropout": 0.5}).train()
    batch = torch.randn(4, 1, 16, 16)
    first, second = made.embed(batch), made.embed(batch)
    assert torch.equal(first, second)
    first.sum().backward()
    assert all(p.grad is None for p in made.experts.parameters())
    assert all(p.grad is not None for p in made.router.parameters())


def test_saves_loads_and_rebuilds_from_its_block(tmp_path: Path) -> None:
    made = mixture(experts={"wifi": "run.zarr", "lte": None}).eval()
    assert made.block.experts == {"wifi": None, "lte": None}
    save_tensors(tmp_path / "w", made.state_dict())
    again = build_encoder(LWMSpectroMoEModel.model_validate(made.block.model_dump(mode="json")), (1, 16, 16)).eval()
    again.load_state_dict(load_tensors(tmp_path / "w"))
    batch = torch.randn(3, 1, 16, 16)
    with torch.no_grad():
        for pooling in made.poolings:
            got = again.embed(batch, pooling)
            assert got.shape[1] == again.embedding_dim(pooling)
            assert torch.equal(got, made.embed(batch, pooling))
    assert len(again.blocks) == 1
    assert len({id(p) for p in again.blocks.parameters()}) == len(
        {id(p) for e in again.experts.values() for p in e.blocks.parameters()}
    )  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"experts": {"a.b": None, "c": None}}, "model.experts"),
        ({"router": {"channels": (12, 16, 16, 16)}}, "model.router.channels"),
    ],
)
def test_impossible_mixtures_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_encoder(LWMSpectroMoEModel.model_validate({"expert": SMALL, **fields}), (1, 16, 16))


def test_probes_tune_the_last_blocks_of_all_experts() -> None:
    from wfm_cli.core.evaluation.adaptation.networks import build, freeze_unused
    from wfm_cli.core.recipe.probes import FinetuneProbe, LoraProbe

    made = mixture(expert={**SMALL, "layers": 2}, top=2)
    batch = torch.randn(4, 1, 16, 16)
    for choice in (FinetuneProbe(kind="finetune", blocks=1), LoraProbe(kind="lora")):
        network = build(choice, made, "mean_std", 5)
        freeze_unused(network, batch)
        assert network(batch).shape == (4, 5)
        tuned = {
            name.split(".")[2] for name, p in network.named_parameters() if p.requires_grad and ".experts." in name
        }
        assert tuned == set(made.names)
