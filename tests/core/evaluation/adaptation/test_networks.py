"""What LoRA, attention and freezing compute, against their equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.fakes.evaluation import ANTENNAS, SUBCARRIERS
from wfm_cli.core.evaluation.adaptation.lora import LowRank, add_lora, projections
from wfm_cli.core.evaluation.adaptation.networks import Attentive, build, check, freeze_unused, trainable
from wfm_cli.core.evaluation.adaptation.standardise import Standardise
from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.base import Encoder
from wfm_cli.core.models.tokens import TokenGrid
from wfm_cli.core.recipe.models import LWMModel
from wfm_cli.core.recipe.probes import AttentiveProbe, FinetuneProbe, LoraProbe, named
from wfm_cli.errors import InputError

SHAPE = (ANTENNAS, SUBCARRIERS, 2)


class Apart(nn.Module):
    """Attention with projections of their own, named as elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(4, 4) for _ in range(3))


class Toy(Encoder):
    """An encoder whose blocks are given."""

    kind = "toy"

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks, self.dim, self.prefix = nn.ModuleList(blocks), 4, 0

    def tokenize(self, batch: Tensor) -> TokenGrid:
        return TokenGrid(batch, torch.zeros(batch.shape[1], 1, dtype=torch.int64), ("antenna",))

    def encode(self, tokens: TokenGrid, keep: Tensor | None = None) -> Tensor:
        return tokens.values


def lwm(layers: int = 2) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(LWMModel(layers=layers, width=16, heads=2, ffn=16, dropout=0.0), SHAPE).eval()


def test_lora_adds_the_product_of_its_factors_to_queries_and_values() -> None:
    encoder, batch = lwm(), torch.randn(3, *SHAPE)
    qkv: nn.Linear = encoder.blocks[1].attention.qkv  # type: ignore[assignment, union-attr]
    plain, before = qkv.weight.detach().clone(), encoder.embed(batch)
    add_lora(encoder, rank=2, factor=3.0)
    torch.testing.assert_close(encoder.embed(batch), before)
    added: LowRank = qkv.parametrizations.weight[0]  # type: ignore[assignment, index, union-attr]
    for b in added.b:
        nn.init.normal_(b)
    change = (qkv.weight - plain).detach()
    third = len(plain) // 3
    assert not change[third : 2 * third].any()
    for part, a, b in zip((change[:third], change[2 * third :]), added.a, added.b, strict=True):
        torch.testing.assert_close(part, 3.0 * (b @ a).detach(), atol=1e-6, rtol=0)
        assert torch.linalg.matrix_rank(part) == 2
    assert not torch.allclose(encoder.embed(batch), before)
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4
    assert all("parametrizations" in name for name in trained)
    with torch.no_grad():  # shortcuts of inference read the adapted weights, and notice changes
        quick = encoder.embed(batch)
        torch.testing.assert_close(quick, encoder.embed(batch.clone()))
        nn.init.zeros_(added.b[0])
        nn.init.zeros_(added.b[1])
        torch.testing.assert_close(encoder.embed(batch), before.detach())


@pytest.mark.parametrize(
    ("block", "count"),
    [(Apart(), 2), (nn.Sequential(nn.MultiheadAttention(4, 2)), 1), (nn.TransformerEncoderLayer(4, 2), 1)],
)
def test_projections_are_found_whoever_wrote_the_blocks(block: nn.Module, count: int) -> None:
    encoder = Toy(block)
    assert len(list(projections(encoder))) == count
    add_lora(encoder, 1, 1.0)
    trained = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert len(trained) == 4
    assert not any("k_proj" in name or "out" in name for name in trained)


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(InputError, match="no query and value projections in the blocks of encoder 'toy'"):
        check(named("lora"), Toy(nn.Linear(4, 4)))
    with pytest.raises(InputError, match="3 blocks are to be tuned, encoder 'lwm' has 2"):
        check(FinetuneProbe(kind="finetune", blocks=3), lwm())


def test_the_attentive_probe_is_cross_attention() -> None:
    torch.manual_seed(0)
    probe = Attentive(12, 5, 3)
    assert probe.heads == 4  # the next number that divides the width
    tokens = 3 + torch.randn(6, 7, 12)
    probe.standardise.settle(tokens)
    nn.init.normal_(probe.head.weight)
    x = (tokens - tokens.mean((0, 1))) / tokens.std((0, 1), correction=0)
    key = (x @ probe.key.weight.T).view(6, 7, 4, 3)
    value = probe.value(x).view(6, 7, 4, 3)
    scores = torch.einsum("hd,bthd->bth", probe.query_token, key) / 3**0.5
    expected = probe.head(torch.einsum("bth,bthd->bhd", scores.softmax(1), value).flatten(1))
    torch.testing.assert_close(probe.train()(tokens), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(probe(tokens[:1]), expected[:1], atol=1e-4, rtol=1e-4)


def test_standardised_features_have_unit_deviation_and_flat_ones_stay_flat() -> None:
    layer, x = Standardise(3), torch.randn(100, 3) * torch.tensor([1e-4, 1e3, 0.0]) + torch.tensor([0.0, 5.0, 100.0])
    inside = layer.train()(x)
    torch.testing.assert_close(inside[:, :2].std(0, correction=0), torch.ones(2), atol=1e-3, rtol=0)
    assert inside[:, 2].abs().max() < 0.01
    layer.settle(x)
    torch.testing.assert_close(layer.eval()(x[:4]), inside[:4])


@pytest.mark.parametrize(
    ("kind", "blocks"), [("finetune", {1}), ("full", {0, 1}), ("lora", {0, 1}), ("attentive", set())]
)
def test_only_what_a_probe_may_change_trains(kind: str, blocks: set[int]) -> None:
    encoder = lwm()
    choice = FinetuneProbe(kind="finetune", blocks=1) if kind == "finetune" else named(kind)
    network = build(choice, encoder, "mean", 3)
    frozen = isinstance(choice, AttentiveProbe)
    tokens = encoder.encode(encoder.tokenize(torch.randn(2, *SHAPE))).detach()
    freeze_unused(network, tokens if frozen else torch.randn(2, *SHAPE))
    names = {name for name, p in network.named_parameters() if p.requires_grad}
    assert {int(name.split(".")[2]) for name in names if name.startswith("encoder.blocks.")} == blocks
    assert not any(name.startswith("encoder.head") or "stored_norms" in name for name in names)
    assert any(name.startswith("encoder.embedding") for name in names) == (kind == "full")
    head = 16 * 3 + 3
    qkv, rank = 3 * 16, LoraProbe(kind="lora").rank
    block = (16 + 1) * qkv + (16 + 1) * 16 + 2 * 16 + 2 * (16 + 1) * 16
    embedding = (16 + 1) * 16 + encoder.embedding.position.numel() + 2 * 16  # type: ignore[operator, union-attr]
    expected = {
        "finetune": block + head,
        "full": 2 * block + embedding + head,
        "lora": 2 * 2 * rank * (16 + 16) + head,
        "attentive": 16 + 16 * 16 + (16 + 1) * 16 + head,
    }
    assert trainable(network) == expected[kind]
    assert all(p.requires_grad for p in encoder.head.parameters())  # type: ignore[union-attr]
