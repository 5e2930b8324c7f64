from __future__ import annotations

import csv

import pytest
import torch

from wfm_cli.core.evaluation.forecast.heads import BeamHead, PositionHead, PowerHead
from wfm_cli.core.evaluation.forecast.sequence_models import (
    Autoregression,
    BeamAutoregression,
    RecurrentForecast,
    TransformerForecast,
)
from wfm_cli.core.models.counting import operations, parameters

WIDTHS = (64, 128, 256, 512)
PARAMETERS = {
    "Loc.": (462_980, 495_748, 561_284, 692_356),
    "Beam Prediction": (1_759_552, 1_792_320, 1_857_856, 1_988_928),
    "RSSI Prediction": (1_826_688, 1_892_224, 2_023_296, 2_285_440),
}
OPERATIONS = {
    "Loc.": (4_510_720, 4_707_328, 5_100_544, 5_886_976),
    "Beam Prediction": (17_638_400, 17_966_080, 18_621_440, 19_932_160),
}
BASELINES = {
    ("Loc.", "AR"): lambda: Autoregression(2),
    ("Loc.", "GRU"): lambda: RecurrentForecast(2),
    ("Loc.", "Transformer"): lambda: TransformerForecast(2),
    ("Beam Prediction", "AR"): lambda: BeamAutoregression(64),
    ("Beam Prediction", "GRU"): lambda: RecurrentForecast(1, 64),
    ("Beam Prediction", "Transformer"): lambda: TransformerForecast(1, 64),
    ("RSSI Prediction", "AR"): lambda: Autoregression(1),
    ("RSSI Prediction", "GRU"): lambda: RecurrentForecast(1),
    ("RSSI Prediction", "Transformer"): lambda: TransformerForecast(1),
}
BASELINE_PARAMETERS = (18, 26_242, 234_242, 4448, 134_752, 242_048, 9, 25_793, 234_049)


@pytest.mark.parametrize("index", range(4))
def test_heads_have_the_sizes_of_table_iv(index):
    width = WIDTHS[index]
    made = PositionHead(width), BeamHead(width, 64), PowerHead(width, 64)
    assert tuple(parameters(head) for head in made) == tuple(numbers[index] for numbers in PARAMETERS.values())
    latents, position = torch.zeros(1, 5, width), torch.zeros(1, 5, 2)
    assert operations(made[1], latents, position) == OPERATIONS["Beam Prediction"][index]
    assert operations(made[2], latents, position, torch.zeros(1, 5, 64)) == OPERATIONS["Beam Prediction"][index]
    assert operations(made[0], latents, None) == OPERATIONS["Loc."][index]


def test_baselines_have_the_sizes_of_table_iv():
    assert tuple(parameters(make()) for make in BASELINES.values()) == BASELINE_PARAMETERS


@pytest.mark.real
def test_the_sizes_round_to_the_published_ones(real_data):
    with (real_data / "jepa-msac" / "table4.csv").open() as file:
        table = {(row["task"], row["method"]): row for row in csv.DictReader(file)}
    for task, numbers in PARAMETERS.items():
        for width, number in zip(WIDTHS, numbers, strict=True):
            assert f"{number / 1e6:.2f} M" == table[task, f"Proposed (D={width})"]["params_printed"]
    for task, numbers in OPERATIONS.items():
        for width, number in zip(WIDTHS, numbers, strict=True):
            assert f"{number / 1e6:.2f} M" == table[task, f"Proposed (D={width})"]["flops_printed"]
    for key, number in zip(BASELINES, BASELINE_PARAMETERS, strict=True):
        printed = table[key]["params_printed"]
        assert printed == (str(number) if number < 1000 else f"{number / 1e3:.2f} K")


def test_corrections_start_at_the_coarse_estimate():
    latents, coarse = torch.randn(3, 5, 16), torch.randn(3, 5, 2)
    assert torch.equal(PositionHead(16)(latents, coarse), coarse)
    last = torch.randn(3, 5, 8)
    assert torch.equal(PowerHead(16, 8)(latents, coarse, last), last)


def test_the_bootstrap_is_constant_over_the_steps():
    made = PositionHead(16)(torch.randn(3, 5, 16), None)
    assert made.shape == (3, 5, 2)
    assert torch.equal(made, made[:, :1].expand_as(made))
    assert made.std(0).min() > 0


def test_steps_do_not_see_later_steps():
    head = BeamHead(16, 8).eval()
    latents, position = torch.randn(2, 5, 16), torch.randn(2, 5, 2)
    changed = latents.clone()
    changed[:, 3:] += 1
    one, two = head(latents, position), head(changed, position)
    assert torch.allclose(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3:], two[:, 3:])


def test_autoregression_starts_as_persistence_and_learns_a_line():
    model = Autoregression(2)
    history = torch.randn(4, 8, 2)
    assert torch.equal(model(history, 5), history[:, -1:].expand(-1, 5, -1))
    assert torch.equal(model(history[:, -3:], 5), history[:, -1:].expand(-1, 5, -1))
    with torch.no_grad():
        model.weight[:, -1], model.weight[:, -2] = 2, -1
    line = torch.arange(13.0)[None, :, None] * torch.tensor([1.0, -0.5])
    assert torch.allclose(model(line[:, :8], 5), line[:, 8:])


@pytest.mark.parametrize("make", [RecurrentForecast, TransformerForecast])
def test_sequence_models_learn_to_continue(make):
    torch.manual_seed(0)
    start = torch.randint(0, 16, (64, 1))
    beams = (start + torch.arange(13)) % 16
    model = make(1, 16)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        scores = model(beams[:, :8], 5)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), beams[:, 8:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (model(beams[:, :8], 5).argmax(-1) == beams[:, 8:]).float().mean() > 0.9
    values = make(2)(torch.randn(3, 8, 2), 4)
    assert values.shape == (3, 4, 2)
