"""Angle-delay domain and log magnitudes: isometry, inverse, where a path lands, and what they are good for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wfm_cli.core.models import build_encoder
from wfm_cli.core.models.blocks.domain import FLOOR_DB, SPREAD_DB, angle_delay, elements, log_magnitude
from wfm_cli.core.models.vit import PatchEncoder
from wfm_cli.core.recipe.models import LatentWaveModel, WavesFMModel
from wfm_cli.errors import InputError

SMALL = {"layers": 1, "width": 32, "heads": 4, "patch": (4, 2), "domain": "angle_delay"}


def build(block: LatentWaveModel | WavesFMModel, shape: tuple[int, ...] = (8, 6, 2)) -> PatchEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(block, shape)
    assert isinstance(encoder, PatchEncoder)
    return encoder


@pytest.mark.parametrize("shape", [(3, 8, 6, 2), (2, 3, 5, 7, 2)])
def test_power_is_kept_and_nothing_is_lost(shape: tuple[int, ...]) -> None:
    h = torch.randn(shape)
    grid = angle_delay(h)
    assert grid.shape == (*shape[:-3], 2 * shape[-3], *shape[-2:])
    torch.testing.assert_close(grid.square().sum(), h.square().sum())
    torch.testing.assert_close(elements(grid), h)


def test_every_bin_is_a_slow_double_sum() -> None:
    h = torch.randn(1, 4, 3, 2)
    channel, grid = torch.view_as_complex(h)[0].numpy(), torch.view_as_complex(angle_delay(h))[0].numpy()
    m, k = np.arange(4), np.arange(3)
    for row in range(8):
        for delay in range(3):
            wave = np.exp(-2j * np.pi * (row - 4) * m / 8)[:, None] * np.exp(2j * np.pi * delay * k / 3)
            np.testing.assert_allclose(grid[row, delay], (wave * channel).sum() / np.sqrt(24), rtol=1e-4, atol=1e-6)


def test_a_single_path_stands_at_its_angle_and_delay() -> None:
    m, k = torch.arange(8)[:, None], torch.arange(6)
    path = torch.exp(2j * torch.pi * (3 * m / 16 - 2 * k / 6))
    level = torch.view_as_complex(angle_delay(torch.view_as_real(path)[None]))[0].abs()
    assert divmod(int(level.argmax()), 6) == (8 + 3, 2)


def test_magnitudes_of_all_angles_give_the_covariance_of_the_array() -> None:
    h = torch.randn(1, 8, 1, 2)
    power = torch.view_as_complex(angle_delay(h))[0, :, 0].abs().square()
    lags = torch.fft.ifft(torch.fft.ifftshift(power)) * 16
    v = torch.view_as_complex(h)[0, :, 0]
    for lag in range(8):
        torch.testing.assert_close(lags[lag], (v[lag:] * v[: 8 - lag].conj()).sum(), rtol=1e-4, atol=1e-4)


def test_log_magnitude_is_relative_to_the_mean_power() -> None:
    images = torch.zeros(1, 2, 2, 2)
    images[0, 0, 0] = torch.tensor([2.0, 0.0])
    level = log_magnitude(images)
    assert level.shape == (1, 1, 2, 2)
    assert level.max().item() == pytest.approx((10 * np.log10(4) + SPREAD_DB) / SPREAD_DB, rel=1e-5)
    assert level.min().item() == pytest.approx((FLOOR_DB + SPREAD_DB) / SPREAD_DB)
    noise = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(log_magnitude(noise), log_magnitude(1000 * noise), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(log_magnitude(torch.zeros(1, 2, 2, 2))).all()


@pytest.mark.parametrize("system", [LatentWaveModel, WavesFMModel])
def test_tokens_of_angles_and_delays(system: type[LatentWaveModel] | type[WavesFMModel]) -> None:
    batch = torch.randn(3, 8, 6, 2)
    parts = build(system(**SMALL, normalise="none"))
    grid = parts.tokenize(batch)
    cells = (16 // 4) * (6 // 2)
    assert grid.count == cells * (2 if system is LatentWaveModel else 1)
    torch.testing.assert_close(parts.untokenize(grid.values), batch)
    levels = build(system(**SMALL, values="log_magnitude", power_token=True))
    grid = levels.tokenize(batch)
    assert grid.values.shape == (3, cells, 8)
    torch.testing.assert_close(grid.values, levels.tokenize(batch * 10).values, rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="no way back"):
        levels.untokenize(grid.values)


def test_images_have_no_angles() -> None:
    with pytest.raises(InputError, match="complex samples"):
        build_encoder(LatentWaveModel(**SMALL), (3, 8, 6), ("sample", "channel", "frequency", "time"))


def test_blocks_start_small_or_with_glorots_deviation() -> None:
    small, glorot = (build(LatentWaveModel(**SMALL, start=how)) for how in ("small", "glorot"))
    spread = [encoder.blocks[0].get_submodule("fc1").weight.std().item() for encoder in (small, glorot)]  # type: ignore[operator]
    assert spread[0] < 0.025 < 0.08 < spread[1]
