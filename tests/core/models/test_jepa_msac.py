from __future__ import annotations

import csv

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wfm_cli.core.models.blocks.sensors import EfficientNetTokens, MapTokens, VectorTokens
from wfm_cli.core.models.bundle import Bundle, count, rows, split
from wfm_cli.core.models.counting import operations, parameters, transformer_operations
from wfm_cli.core.models.jepa_msac import build
from wfm_cli.core.recipe.msac import JEPAMSACModel, VisionBlock
from wfm_cli.errors import InputError

SMALL = JEPAMSACModel(width=32, layers=2, predictor_layers=2, heads=4, vision=VisionBlock(network="cnn"))
PRINTED = {
    "Radar tokenizer": ("9.34 K", "7.62 M"),
    "LiDAR tokenizer": ("9.34 K", "7.62 M"),
    "GPS tokenizer": ("640", "1.54 K"),
    "RF tokenizer": ("8.58 K", "17.41 K"),
    "Vision tokenizer": ("4.17 M", "0.83 G"),
    "D=64": ("0.40 M", "37.60 M"),
    "D=128": ("1.59 M", "0.14 G"),
    "D=256": ("6.32 M", "0.56 G"),
    "D=512": ("25.22 M", "2.19 G"),
    "Tar. Enc. (D=128)": ("0.79 M", ""),
}
"""Table IV: parameters and operations as printed."""


def windows(batch=2, steps=13, seed=0, modalities=("image", "radar", "lidar", "gps", "power")):
    g = torch.Generator().manual_seed(seed)
    parts = {
        "image": torch.randint(0, 256, (batch, steps, 3, 16, 16), generator=g, dtype=torch.uint8),
        "radar": torch.rand(batch, steps, 8, 32, generator=g),
        "lidar": torch.rand(batch, steps, 8, 32, generator=g),
        "gps": torch.randn(batch, steps, 2, generator=g) * 20,
        "power": torch.rand(batch, steps, 64, generator=g),
    }
    return Bundle({name: parts[name] for name in modalities})


def same(printed, computed):
    """Whether a number rounds to what the paper prints."""
    digits, _, unit = printed.partition(" ")
    places = len(digits.partition(".")[2])
    scale = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[unit]
    return f"{computed / scale:.{places}f}" == digits


@pytest.mark.parametrize(
    ("name", "module", "given", "params", "ops"),
    [
        ("Radar tokenizer", MapTokens(1, 128), (1, 1, 64, 256), 9344, 7_620_608),
        ("GPS tokenizer", VectorTokens(2, 128), (1, 2), 640, 1536),
        ("RF tokenizer", VectorTokens(64, 128), (1, 64), 8576, 17_408),
    ],
)
def test_tokenizers_of_table_iv(name, module, given, params, ops):
    assert (parameters(module), operations(module, torch.zeros(given))) == (params, ops)
    assert same(PRINTED[name][0], params)
    assert same(PRINTED[name][1], ops)


def test_vision_tokenizer_of_table_iv():
    pytest.importorskip("transformers")
    module = EfficientNetTokens(VisionBlock(weights="random"), 128)
    assert parameters(module) == 4_171_772
    assert same(PRINTED["Vision tokenizer"][0], 4_171_772)
    assert same(PRINTED["Vision tokenizer"][1], operations(module, torch.zeros(1, 3, 224, 224)))
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 9, 128)
    assert not module.train().network.training


@pytest.mark.parametrize(("width", "params"), [(64, 399_872), (128, 1_586_176), (256, 6_318_080), (512, 25_219_072)])
def test_backbone_of_table_iv(width, params):
    model = build(JEPAMSACModel(width=width, vision=VisionBlock(network="cnn")), (13,))
    backbone = nn.ModuleList([model.blocks, model.predictor])
    assert parameters(backbone) == params
    assert same(PRINTED[f"D={width}"][0], params)
    assert same(PRINTED[f"D={width}"][1], transformer_operations(width, 8, 43))
    assert width != 128 or same(PRINTED["Tar. Enc. (D=128)"][0], parameters(model.blocks))
    assert width != 64 or transformer_operations(width, 8, 43) == 37_603_328


def test_the_closed_form_is_what_a_profiler_counts():
    model = build(SMALL, (13,))
    for block in [*model.blocks, *model.predictor]:
        block.attention.backend = "math"
    x = torch.randn(1, 43, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for block in [*model.blocks, *model.predictor]:
            x = block(x)
    assert counter.get_total_flops() == transformer_operations(32, 4, 43)


@pytest.mark.real
def test_table_iv_as_published(real_data):
    with (real_data / "jepa-msac" / "table4.csv").open() as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    for name, printed in PRINTED.items():
        assert (table[name]["params_printed"], table[name]["flops_printed"]) == printed


def test_tokens_of_a_window_and_their_places():
    model = build(SMALL, (13,))
    grid = model.tokenize(windows())
    assert model.frame_tokens == 43
    assert grid.values.shape == (2, 559, 32)
    assert grid.axes == ("time", "modality", "patch")
    assert grid.coords[0].tolist() == [0, 0, 0]
    assert grid.coords[-1].tolist() == [12, 4, 0]
    assert [int((grid.coords[:43, 1] == m).sum()) for m in range(5)] == [9, 16, 16, 1, 1]
    assert len({tuple(row) for row in grid.coords.tolist()}) == 559


def test_a_token_depends_on_its_own_frame_alone():
    model = build(SMALL, (13,)).eval()
    one = windows()
    changed = one.map(torch.clone)
    changed["gps"][:, 5] += 3
    difference = (model.tokenize(one).values - model.tokenize(changed).values).abs().sum((0, 2))
    hit = difference.nonzero().squeeze(1)
    assert hit.tolist() == [5 * 43 + 41]


def test_encode_takes_the_visible_tokens_alone():
    model = build(SMALL, (13,)).eval()
    batch = windows()
    grid = model.tokenize(batch)
    keep = torch.stack([torch.randperm(559, generator=torch.Generator().manual_seed(s))[:100] for s in (1, 2)])
    seen = model.encode(grid, keep)
    noisy = grid.values.clone()
    hidden = torch.ones(2, 559, dtype=torch.bool).scatter(1, keep, False)
    noisy[hidden] = 1e3
    assert torch.allclose(model.encode(grid.with_values(noisy), keep), seen, atol=1e-5)


def test_without_positions_all_hidden_tokens_are_predicted_alike():
    """Equation 14 as printed."""
    model = build(SMALL.model_copy(update={"place_mask_tokens": False}), (13,)).eval()
    literal = model.forecast(windows())
    assert torch.allclose(literal, literal[:, :1, :1].expand_as(literal), atol=1e-5)
    placed = build(SMALL, (13,)).eval().forecast(windows())
    assert placed.flatten(1, 2).std(1).mean() > 1e-3


def test_a_forecast_sees_no_future_and_no_failed_sensor():
    model = build(SMALL, (13,)).eval()
    batch = windows()
    made = model.forecast(batch)
    assert made.shape == (2, 5, 43, 32)
    other = batch.map(torch.clone)
    for part in other.values():
        part[:, 8:] = 0
    assert torch.equal(model.forecast(other), made)
    without = model.forecast(batch, without=("power",))
    assert not torch.allclose(without, made)
    other["power"][:] = 7.0
    assert torch.allclose(model.forecast(other, without=("power",)), without, atol=1e-6)


def test_embeddings_and_their_gradients():
    model = build(SMALL, (13,))
    embedded = model.embed(windows(), "last")
    assert embedded.shape == (2, 32)
    (model.embed(windows()).square().sum() + model.forecast(windows()).square().sum() + embedded.sum()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    with pytest.raises(InputError, match="no pooling 'cls'"):
        model.embed(windows(), "cls")


def test_save_and_load():
    model = build(SMALL, (13,))
    again = build(model.block, (13,))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval().embed(windows()), model.eval().embed(windows()))


def test_fewer_sensors():
    model = build(SMALL.model_copy(update={"modalities": ("gps", "power")}), (13,))
    assert model.tokenize(windows(modalities=("gps", "power"))).count == 26
    with pytest.raises(InputError, match="needs the modality power"):
        model.tokenize(windows(modalities=("gps",)))
    with pytest.raises(InputError, match="windows of 13 frames"):
        build(SMALL, (10,))
    assert JEPAMSACModel(modalities=("power", "image")).modalities == ("image", "power")
    with pytest.raises(ValueError, match="each once"):
        JEPAMSACModel(modalities=("gps", "gps"))


def test_bundles_are_cut_like_tensors():
    batch = windows(5)
    assert count(batch) == 5
    assert [count(piece) for piece in split(batch, 2)] == [2, 2, 1]
    assert torch.equal(rows(batch, slice(1, 3))["gps"], batch["gps"][1:3])
    with pytest.raises(ValueError, match="one length"):
        Bundle({"a": torch.zeros(2), "b": torch.zeros(3)})


def test_weights_that_do_not_exist(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="there is no"):
        EfficientNetTokens(VisionBlock(weights=str(tmp_path / "x.pt")), 16)
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="tensors are missing"):
        EfficientNetTokens(VisionBlock(weights=str(tmp_path / "x.pt")), 16)


def test_weights_from_a_file(tmp_path):
    pytest.importorskip("transformers")
    one = EfficientNetTokens(VisionBlock(weights="random"), 16).eval()
    prefixed = {f"efficientnet.{key}": value for key, value in one.network.state_dict().items()}
    torch.save(prefixed | {"classifier.weight": torch.zeros(2)}, tmp_path / "x.pt")
    two = EfficientNetTokens(VisionBlock(weights=str(tmp_path / "x.pt")), 16).eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(one.network(x).last_hidden_state, two.network(x).last_hidden_state)


def test_maps_can_be_averaged_first():
    model = build(SMALL.model_copy(update={"reduce": 2}), (13,)).eval()
    batch = windows()
    doubled = Bundle(
        {
            name: part.repeat_interleave(2, -1).repeat_interleave(2, -2) if name == "lidar" else part
            for name, part in batch.items()
        }
    )
    plain = build(SMALL, (13,)).eval()
    plain.load_state_dict(model.state_dict())
    lidar = model.tokenize(doubled).coords[:, 1] == 2
    assert torch.allclose(model.tokenize(doubled).values[:, lidar], plain.tokenize(batch).values[:, lidar], atol=1e-5)


@pytest.mark.parametrize(("width", "giga"), [(64, "0.80"), (128, "2.30"), (256, "7.45"), (512, "26.3")])
def test_a_forecast_takes_more_than_the_table_prints(width, giga):
    sizes = build(JEPAMSACModel(width=width, vision=VisionBlock(network="cnn")), (13,)).sizes()
    assert f"{sizes['backbone']['sequence'] / 1e9:.{len(giga.partition('.')[2])}f}" == giga
    assert same(PRINTED[f"D={width}"][1], sizes["backbone"]["operations"])
    if width == 128:
        for part, name in (("radar", "Radar"), ("lidar", "LiDAR"), ("gps", "GPS"), ("power", "RF")):
            params, ops = PRINTED[f"{name} tokenizer"]
            assert same(params, sizes[f"{part} tokenizer"]["parameters"])
            assert same(ops, sizes[f"{part} tokenizer"]["operations"])
