"""SIGReg against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from wfm_cli.core.objectives.sigreg import directions, sigreg


def gauss(rate: float) -> float:
    """Integral of exp(-rate t^2) over [-3, 3]."""
    return math.sqrt(math.pi / rate) * math.erf(3 * math.sqrt(rate))


@pytest.mark.parametrize("count", [128, 1024])
def test_normal_data_score_the_same_however_many(count: int) -> None:
    # E|phi_N - phi|^2 = (1 - exp(-t^2)) / N for independent normal numbers
    expected = gauss(0.5) - gauss(1.5)
    axes = directions(0, 0, 64, 64, torch.device("cpu"))
    draws = [sigreg(torch.randn(count, 64, generator=torch.Generator().manual_seed(s)), axes) for s in range(20)]
    assert float(torch.stack(draws).mean()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("count", [64, 1024])
def test_collapsed_data_score_their_number(count: int) -> None:
    expected = count * (gauss(0.5) - 2 * gauss(1.0) + gauss(1.5))
    axes = directions(0, 0, 16, 32, torch.device("cpu"))
    assert float(sigreg(torch.zeros(count, 16), axes)) == pytest.approx(expected, rel=1e-3)


def test_its_gradient_spreads_embeddings() -> None:
    torch.manual_seed(0)
    embeddings = (0.05 * torch.randn(256, 8)).requires_grad_()
    optimiser = torch.optim.Adam([embeddings], lr=0.05)
    for step in range(150):
        optimiser.zero_grad()
        sigreg(embeddings, directions(0, step, 8, 64, embeddings.device)).backward()
        optimiser.step()
    deviation = embeddings.detach().std(0)
    assert deviation.min() > 0.8
    assert deviation.max() < 1.2


def test_directions_are_unit_vectors_of_seed_and_step() -> None:
    first = directions(3, 5, 16, 8, torch.device("cpu"))
    torch.testing.assert_close(first.norm(dim=0), torch.ones(8))
    torch.testing.assert_close(first, directions(3, 5, 16, 8, torch.device("cpu")))
    assert not torch.allclose(first, directions(3, 6, 16, 8, torch.device("cpu")))
