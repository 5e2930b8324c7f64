"""Norms, attention kernels, dropout and patches against slow definitions."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wfm_cli.core.models.blocks import native
from wfm_cli.core.models.blocks.attention import SelfAttention, attend, padded_sdpa
from wfm_cli.core.models.blocks.dropout import dropout
from wfm_cli.core.models.blocks.norms import StdNorm
from wfm_cli.core.models.blocks.patches import join_patches, join_rows, split_patches, split_rows
from wfm_cli.core.models.blocks.uniform import TOLERANCE, logit_spread, plan_heads


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.floats(-9, 4), st.integers(2, 65), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_norm_is_the_published_one_at_every_scale(exponent: float, width: int, seed: int) -> None:
    """Deviations far below epsilon included, where a plain layer norm would differ by orders of magnitude."""
    norm = StdNorm(width)
    norm.alpha.data = rand(width, seed=seed).float()
    norm.bias.data = rand(width, seed=seed + 1).float()
    x = (rand(5, width, seed=seed + 2) * 10.0**exponent).float()
    wide = x.double()
    std = wide.std(-1, keepdim=True)
    want = norm.alpha.double() * (wide - wide.mean(-1, keepdim=True)) / (std + 1e-6) + norm.bias.double()
    got = norm(x)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)
    assert float(got.detach().norm(dim=-1).max()) <= norm.radius() * (1 + 1e-6)


def test_norm_gradient() -> None:
    norm = StdNorm(16)
    norm.alpha.data = rand(16).float()
    x = rand(4, 16, seed=1).float().requires_grad_()
    upstream = rand(4, 16, seed=2)
    norm(x).backward(upstream.float())
    wide = x.detach().double().requires_grad_()
    alpha = norm.alpha.detach().double().requires_grad_()
    want = alpha * (wide - wide.mean(-1, keepdim=True)) / (wide.std(-1, keepdim=True) + 1e-6)
    want.backward(upstream)
    assert wide.grad is not None
    assert x.grad is not None
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=0, atol=1e-5)
    torch.testing.assert_close(norm.alpha.grad, alpha.grad, rtol=0, atol=1e-5, check_dtype=False)


def test_norm_of_constant_tokens_is_the_bias() -> None:
    norm = StdNorm(8)
    x = torch.full((2, 8), 3.0, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert torch.equal(y.detach(), torch.zeros(2, 8))
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def slow_attention(qkv: Tensor) -> Tensor:
    query, key, value = qkv.unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", query, key) * qkv.shape[-1] ** -0.5
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), value).flatten(2)


@pytest.mark.parametrize("backend", ["native", "sdpa", "math", "auto"])
@pytest.mark.parametrize("depth", [4, 5, 8, 16])
@pytest.mark.parametrize("tokens", [1, 16, 33])
def test_attention_kernels_and_their_gradients(backend: str, depth: int, tokens: int) -> None:
    wide = rand(2, tokens, 3, 3, depth).requires_grad_()
    narrow = wide.detach().float().requires_grad_()
    upstream = rand(2, tokens, 3 * depth, seed=1)
    want, got = slow_attention(wide), attend(narrow, backend)
    want.backward(upstream)
    got.backward(upstream.float())
    assert wide.grad is not None
    assert narrow.grad is not None
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)
    torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=0, atol=1e-5)


def test_native_survives_large_logits() -> None:
    if not native.available():
        pytest.skip("no compiler")
    wide = rand(1, 40, 3, 2, 5) * 30
    torch.testing.assert_close(attend(wide.float(), "native").double(), slow_attention(wide), rtol=0, atol=1e-3)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_native_does_not_hide_overflow(part: int, bad: float) -> None:
    """A step that overflows must stay visible to the engine, which refuses it."""
    if not native.available():
        pytest.skip("no compiler")
    qkv = rand(1, 20, 3, 2, 5).float()
    qkv[0, 3, part, 1, 2] = bad
    assert not bool(torch.isfinite(attend(qkv, "native")).all())


def test_native_operator_is_registered_as_torch_wants_it() -> None:
    """Schema, shapes without data (for `torch.compile`) and the gradient."""
    if not native.available():
        pytest.skip("no compiler")
    qkv = rand(2, 5, 3, 2, 5).float().requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.wfm.attention_forward.default, (qkv,), test_utils=checks)


def test_native_splits_over_threads_without_change() -> None:
    if not native.available():
        pytest.skip("no compiler")
    qkv = rand(5, 20, 3, 7, 5).float()
    one = attend(qkv, "native")
    torch.set_num_threads(2)
    try:
        assert torch.equal(attend(qkv, "native"), one)
    finally:
        torch.set_num_threads(1)


def test_attention_for_cuda_alignment_is_exact() -> None:
    query, key, value = (rand(2, 3, 9, 5, seed=seed) for seed in range(3))
    want = (query @ key.mT * 5**-0.5).softmax(-1) @ value
    torch.testing.assert_close(padded_sdpa(query, key, value), want)


@pytest.mark.parametrize("backend", ["auto", "sdpa", "math"])
@pytest.mark.parametrize("depth", [5, 16])
def test_training_under_bf16_attends_in_float32(backend: str, depth: int) -> None:
    """On CPU neither the forward nor the backward of attention may see bfloat16."""
    layer = SelfAttention(32, 2, depth, backend)
    seen: list[torch.dtype] = []
    original = layer.out.forward
    layer.out.forward = lambda x: (seen.append(x.dtype), original(x))[1]  # type: ignore[method-assign]
    x = rand(2, 9, 32).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert seen == [torch.float32]
    assert y.dtype == torch.bfloat16
    assert x.grad is not None


@pytest.fixture
def fresh_native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("WFM_CACHE_DIR", str(tmp_path))
    native._loaded.cache_clear()
    yield tmp_path
    native._loaded.cache_clear()


@pytest.mark.parametrize("reason", ["switched off", "no compiler", "broken compiler"])
def test_attention_falls_back_when_the_kernel_cannot_be_built(
    fresh_native: Path, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiler = fresh_native / "cxx"
    compiler.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'no such header' >&2\nexit 1\n")
    compiler.chmod(0o755)
    if reason == "switched off":
        monkeypatch.setenv("WFM_NATIVE", "0")
    else:
        monkeypatch.setenv("CXX", str(compiler if reason == "broken compiler" else fresh_native / "absent"))
    qkv = rand(1, 6, 3, 2, 5)
    with caplog.at_level(logging.INFO):
        torch.testing.assert_close(attend(qkv.float(), "native").double(), slow_attention(qkv), rtol=0, atol=1e-5)
    assert not native.available()
    assert ("torch's own is used" in caplog.text) == (reason != "switched off")


def test_kernel_is_compiled_once(fresh_native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finds the library; nothing half-written stays behind."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        if "-o" in command:
            Path(command[command.index("-o") + 1]).write_bytes(b"library")
        return subprocess.CompletedProcess(command, 0, "compiler 1.0", "")

    monkeypatch.setattr(native.subprocess, "run", run)
    monkeypatch.setenv("CXX", "cxx")
    first, second = native._library(), native._library()
    assert first == second
    assert [path.name for path in fresh_native.iterdir()] == [first.name]
    assert sum("-o" in command for command in calls) == 1


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(200_003, requires_grad=True)
    y = dropout(x, 0.1, True)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
    assert y.unique().tolist() == [0.0, pytest.approx(1 / 0.9, rel=1e-4)]
    assert float((y == 0).float().mean()) == pytest.approx(0.1, abs=4 * (0.09 / 200_003) ** 0.5)
    neighbours = (y[1:] == 0).float() @ (y[:-1] == 0).float() / len(y)
    assert float(neighbours) == pytest.approx(0.01, abs=0.002)


def test_dropout_is_off_outside_training() -> None:
    x = torch.ones(3)
    assert dropout(x, 0.5, False) is x
    assert dropout(x, 0.0, True) is x


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 2), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_patches_round_trip(batch: int, rows: int, columns: int, channels: int, size: int) -> None:
    images = rand(batch, rows, columns, channels)
    patches = split_patches(images, size)
    assert patches.shape == (batch, -(-rows // size) * -(-columns // size), size * size * channels)
    assert torch.equal(join_patches(patches, rows, columns, size), images)


def test_rows_round_trip() -> None:
    batch = rand(2, 4, 8, 2)
    assert torch.equal(join_rows(split_rows(batch, 16), 4, 8), batch)


def collapsed_layer(scale: float = 1e-30) -> SelfAttention:
    """Head 1 of three has a vanishing query projection."""
    torch.manual_seed(0)
    layer = SelfAttention(16, 3, 4, "math")
    weight, bias = layer.qkv.weight.data.view(3, 3, 4, 16), layer.qkv.bias.data.view(3, 3, 4)
    weight[0, 1] *= scale
    bias[0, 1] *= scale
    return layer


def test_collapsed_heads_are_replaced_exactly() -> None:
    layer = collapsed_layer()
    x = rand(3, 11, 16).float() * 5
    plan = plan_heads(layer, float(x.norm(dim=-1).max()))
    assert plan is not None
    assert plan.live == 2
    torch.testing.assert_close(plan.apply(x, "math"), layer(x), rtol=0, atol=1e-6)


def test_all_heads_collapsed() -> None:
    layer = collapsed_layer()
    layer.qkv.weight.data[:12] = 0.0
    layer.qkv.bias.data[:12] = 0.0
    x = rand(3, 11, 16).float()
    plan = plan_heads(layer, 100.0)
    assert plan is not None
    assert plan.live == 0
    torch.testing.assert_close(plan.apply(x, "math"), layer(x), rtol=0, atol=1e-6)


def test_no_shortcut_without_proof() -> None:
    """A head that is only nearly uniform keeps its attention: the bound decides, not the look of it."""
    assert plan_heads(collapsed_layer(1e-4), 5.0) is None


@given(st.floats(-6, 1), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_logit_spread_is_a_bound(exponent: float, seed: int) -> None:
    torch.manual_seed(seed)
    layer = SelfAttention(16, 3, 4).double()
    layer.qkv.weight.data *= 10.0**exponent
    x = rand(2, 9, 16, seed=seed)
    query, key, _ = layer.qkv(x).view(2, 9, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
    logits = query @ key.mT * 4**-0.5
    spread = (logits.amax(-1) - logits.amin(-1)).amax((0, 2))
    assert bool((spread <= logit_spread(layer, float(x.norm(dim=-1).max())) * (1 + 1e-12)).all())
    assert TOLERANCE < 1e-7


def test_sincos_positions_tell_distance_along_each_axis() -> None:
    from wfm_cli.core.models.blocks.patches import grid_coords, grid_sincos

    coords = grid_coords(5, 7)
    table = grid_sincos(coords, 33)
    assert table.shape == (35, 33)
    assert torch.all(table[:, 32:] == 0)
    # cos(a) cos(b) + sin(a) sin(b) = cos(a - b): the products of two rows depend on their distance alone.
    product = (table @ table.T).reshape(5, 7, 5, 7)
    assert torch.allclose(product[0, 0, 2, 3], product[2, 3, 4, 6], atol=1e-5)
    assert torch.allclose(product.diagonal(0, 0, 2).diagonal(0, 0, 1), torch.tensor(16.0), atol=1e-5)
    assert product.reshape(35, 35).fill_diagonal_(-99).max() < 16
